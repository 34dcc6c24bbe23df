// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/controllers/inject"
)

// recorder keeps events as text.
type recorder struct{ events []string }

func (r *recorder) Eventf(on, _ runtime.Object, kind, reason, action, _ string, _ ...any) {
	ref := on.(*corev1.ObjectReference)
	r.events = append(r.events, strings.Join([]string{ref.Kind, ref.Namespace + "/" + ref.Name, kind, reason, action}, " "))
}

type trust struct {
	ensured []string
	err     error
}

func (t *trust) Ensure(_ context.Context, namespace string) error {
	t.ensured = append(t.ensured, namespace)
	return t.err
}

func namespace(name string, labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

func reader(objects ...client.Object) client.Reader {
	return fake.NewClientBuilder().WithObjects(objects...).Build()
}

func enabled() map[string]string {
	return map[string]string{podspec.LabelInject: podspec.InjectEnabled}
}

type outcome struct {
	Allowed  bool
	Code     int32
	Sidecar  bool
	Patched  bool
	Ensured  []string
	Events   []string
	Warnings int
	Metric   string
}

func TestHandle(t *testing.T) {
	owned := metav1.ObjectMeta{
		GenerateName:    "shop-",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "shop-1", UID: "u", Controller: new(true)}},
	}
	labelled := func(value string) metav1.ObjectMeta {
		m := *owned.DeepCopy()
		m.Labels = map[string]string{podspec.LabelInject: value}
		return m
	}
	annotated := *owned.DeepCopy()
	annotated.Annotations = map[string]string{podspec.AnnotationCapture: "magic"}

	for name, tc := range map[string]struct {
		meta        metav1.ObjectMeta
		hostNetwork bool
		cache, live client.Reader
		op          admissionv1.Operation
		dryRun      bool
		trust       error
		want        outcome
	}{
		"injected": {
			meta: owned, cache: reader(namespace("pay", enabled())),
			want: outcome{Allowed: true, Patched: true, Sidecar: true, Ensured: []string{"pay"}, Metric: "injected/"},
		},
		"dry run": {
			meta: owned, cache: reader(namespace("pay", enabled())), dryRun: true,
			want: outcome{Allowed: true, Patched: true, Sidecar: true},
		},
		"cache knows no namespace": {
			meta: owned, cache: reader(), live: reader(namespace("pay", enabled())),
			want: outcome{Allowed: true, Patched: true, Sidecar: true, Ensured: []string{"pay"}, Metric: "injected/"},
		},
		"cache is behind": {
			meta: owned, cache: reader(namespace("pay", nil)), live: reader(namespace("pay", enabled())),
			want: outcome{Allowed: true, Patched: true, Sidecar: true, Ensured: []string{"pay"}, Metric: "injected/"},
		},
		"not enabled": {
			meta: owned, cache: reader(namespace("pay", nil)), live: reader(namespace("pay", nil)),
			want: outcome{Allowed: true, Metric: "skipped/NotEnabled"},
		},
		"disabled, and no namespace is read": {
			meta: labelled("disabled"), cache: reader(), live: reader(),
			want: outcome{Allowed: true, Metric: "skipped/Disabled"},
		},
		"pod asks": {
			meta: labelled("enabled"), cache: reader(namespace("pay", nil)),
			want: outcome{Allowed: true, Patched: true, Sidecar: true, Ensured: []string{"pay"}, Metric: "injected/"},
		},
		"skipped": {
			meta: owned, hostNetwork: true, cache: reader(namespace("pay", enabled())),
			want: outcome{
				Allowed: true, Warnings: 1, Metric: "skipped/HostNetwork",
				Events: []string{"ReplicaSet pay/shop-1 Warning HostNetwork SkipInjection"},
			},
		},
		"skipped on a dry run": {
			meta: owned, hostNetwork: true, cache: reader(namespace("pay", enabled())), dryRun: true,
			want: outcome{Allowed: true, Warnings: 1},
		},
		"skipped without an owner": {
			meta: metav1.ObjectMeta{Name: "shop"}, hostNetwork: true, cache: reader(namespace("pay", enabled())),
			want: outcome{Allowed: true, Warnings: 1, Metric: "skipped/HostNetwork"},
		},
		"refused": {
			meta: annotated, cache: reader(namespace("pay", enabled())),
			want: outcome{
				Code: 422, Metric: "refused/InvalidAnnotation",
				Events: []string{"ReplicaSet pay/shop-1 Warning InvalidAnnotation RefusePod"},
			},
		},
		"no trust bundle": {
			meta: owned, cache: reader(namespace("pay", enabled())), trust: errors.New("forbidden"),
			want: outcome{Code: 500, Ensured: []string{"pay"}, Metric: "failed/"},
		},
		"no namespace": {
			meta: owned, cache: reader(), live: reader(),
			want: outcome{Code: 500, Metric: "failed/"},
		},
		"not a create": {
			meta: owned, cache: reader(namespace("pay", enabled())), op: admissionv1.Update,
			want: outcome{Allowed: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewPedanticRegistry()
			metrics, err := NewMetrics(registry)
			if err != nil {
				t.Fatal(err)
			}
			events, tr := &recorder{}, &trust{err: tc.trust}
			h := &Handler{Cache: tc.cache, Live: tc.live, Trust: tr, Events: events, Metrics: metrics, Log: logr.Discard()}
			pod := &corev1.Pod{ObjectMeta: tc.meta}
			pod.Spec.HostNetwork = tc.hostNetwork
			pod.Spec.Containers = []corev1.Container{{Name: "app", Image: "app"}}
			raw, err := json.Marshal(pod)
			if err != nil {
				t.Fatal(err)
			}
			op := tc.op
			if op == "" {
				op = admissionv1.Create
			}
			response := h.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
				UID: "x", Namespace: "pay", Operation: op, DryRun: &tc.dryRun, Object: runtime.RawExtension{Raw: raw},
			}})
			got := outcome{
				Allowed: response.Allowed, Patched: len(response.Patches) > 0, Sidecar: hasSidecar(t, raw, response),
				Ensured: tr.ensured, Events: events.events, Warnings: len(response.Warnings), Metric: counted(t, registry),
			}
			if !response.Allowed {
				got.Code = response.Result.Code
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func hasSidecar(t *testing.T, raw []byte, response admission.Response) bool {
	t.Helper()
	ops, err := json.Marshal(response.Patches)
	if err != nil {
		t.Fatal(err)
	}
	if len(response.Patches) == 0 {
		return false
	}
	patch, err := jsonpatch.DecodePatch(ops)
	if err != nil {
		t.Fatal(err)
	}
	after, err := patch.Apply(raw)
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := json.Unmarshal(after, &pod); err != nil {
		t.Fatal(err)
	}
	return len(pod.Spec.InitContainers) > 0 && pod.Spec.InitContainers[0].Name == podspec.ContainerSidecar
}

// counted is the one series of weir_injection_total, "" without any.
func counted(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) == 0 {
		return ""
	}
	if n := len(families[0].Metric); n != 1 {
		t.Fatalf("%d series", n)
	}
	labels := map[string]string{}
	for _, l := range families[0].Metric[0].Label {
		labels[l.GetName()] = l.GetValue()
	}
	if v := families[0].Metric[0].Counter.GetValue(); v != 1 {
		t.Errorf("counted %v times", v)
	}
	return labels["result"] + "/" + labels["reason"]
}

func TestNoteFits(t *testing.T) {
	for _, text := range []string{"short", strings.Repeat("x", 2*noteBytes), "x" + strings.Repeat("é", noteBytes)} {
		got := note(inject.Reason{Message: text})
		if len(got) > noteBytes || !utf8.ValidString(got) || !strings.HasPrefix(text, got) {
			t.Errorf("%d bytes, valid %v", len(got), utf8.ValidString(got))
		}
	}
}
