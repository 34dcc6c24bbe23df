// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/test/api"
)

const policy = `
apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: payments, namespace: shop}
spec:
  targetRefs: [{name: payments}]
  limits: [{name: pay, limit: 5, window: 60s}]
`

func TestDecodeAppliesDefaults(t *testing.T) {
	result, errs := newDecoder(t).Decode(t.Context(), "a.yaml", []byte(policy))
	if len(errs) > 0 || len(result.Objects) != 1 {
		t.Fatalf("got %v with errors %v, want one object", result.Objects, errs)
	}
	want := &v1alpha1.RateLimitPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "weir.dev/v1alpha1", Kind: "RateLimitPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: "payments", Namespace: "shop"},
		Spec: v1alpha1.RateLimitPolicySpec{
			TargetRefs: []v1alpha1.TargetRef{{Kind: "Service", Name: "payments"}},
			Mode:       v1alpha1.ModeEnforce,
			Limits: []v1alpha1.Limit{{
				Name: "pay", Limit: 5, Window: "60s",
				OnMissingKey: v1alpha1.OnMissingKeyClientIP,
				Algorithm:    v1alpha1.AlgorithmSlidingWindow,
				Scope:        v1alpha1.LimitScopeCluster,
				Accuracy:     v1alpha1.AccuracyAuto,
				Replays:      v1alpha1.ReplaysCount,
				Headers:      v1alpha1.LimitHeadersEmit,
			}},
			StoreRef:      v1alpha1.StoreRef{Name: "default"},
			FailurePolicy: v1alpha1.FailurePolicyLocalFallback,
			Response:      v1alpha1.RateLimitResponse{Headers: v1alpha1.ResponseHeadersIETF},
		},
	}
	if diff := cmp.Diff(want, result.Objects[0]); diff != "" {
		t.Errorf("decoded policy (-want +got):\n%s", diff)
	}
}

func TestDecodeNullIsAbsent(t *testing.T) {
	text := strings.Replace(policy, "spec:", "spec:\n  mode: null\n  exempt: null", 1)
	result, errs := newDecoder(t).Decode(t.Context(), "a.yaml", []byte(text))
	if len(errs) > 0 || len(result.Objects) != 1 {
		t.Fatalf("got %v with errors %v, want one object", result.Objects, errs)
	}
	if got := result.Objects[0].(*v1alpha1.RateLimitPolicy).Spec.Mode; got != v1alpha1.ModeEnforce {
		t.Errorf("mode: null became %q, want the default", got)
	}
}

func TestDecodeErrors(t *testing.T) {
	const header = "apiVersion: weir.dev/v1alpha1\nkind: RateLimitPolicy\n"
	cases := map[string]struct {
		text string
		want []string
	}{
		"rule with path": {
			text: strings.Replace(policy, "window: 60s", "window: 60s, burst: 5", 1),
			want: []string{"f.yaml:7: RateLimitPolicy shop/payments: spec.limits[0].burst: Invalid value: " +
				"Only TokenBucket has a burst: remove burst, or set algorithm to TokenBucket."},
		},
		"unknown field": {
			text: strings.Replace(policy, "window: 60s", "windwo: 60s, window: 60s", 1),
			want: []string{"f.yaml:7: RateLimitPolicy shop/payments: spec.limits[0].windwo: Forbidden: " + unknownField},
		},
		"unknown field of metadata": {
			text: strings.Replace(policy, "namespace: shop", "namespace: shop, lables: {}", 1),
			want: []string{"f.yaml:4: RateLimitPolicy shop/payments: metadata.lables: " + unknownField},
		},
		"field twice": {
			text: strings.Replace(policy, "spec:", "spec:\n  mode: Shadow\n  mode: Enforce", 1),
			want: []string{`key "mode" already set in map`},
		},
		"second document, all errors": {
			text: policy + "---\n# nothing\n---\n" + header + "metadata: {name: B_}\nspec: {targetRefs: [{name: a}], limits: [{name: a, limit: 0, window: 1s}]}\n",
			want: []string{"f.yaml:13: RateLimitPolicy B_: metadata.name: Invalid value", "f.yaml:14: RateLimitPolicy B_: spec.limits[0].limit: Invalid value: 0"},
		},
		"no name": {
			text: strings.Replace(policy, "name: payments, namespace", "namespace", 1),
			want: []string{"metadata.name: Required value"},
		},
		"no metadata": {
			text: strings.Replace(policy, "metadata: {name: payments, namespace: shop}\n", "", 1),
			want: []string{"f.yaml:2: RateLimitPolicy: metadata.name: Required value"},
		},
		"no kind": {
			text: "a: 1",
			want: []string{"f.yaml:1: The object has no apiVersion or no kind"},
		},
		"not an object": {
			text: "- a",
			want: []string{"f.yaml:1: The document is not an object"},
		},
		"not YAML": {
			text: "a: [",
			want: []string{"f.yaml:1: The document is not valid YAML"},
		},
		"not YAML in the second document": {
			text: "# nothing\n---\na: 1\nb: [c\nd",
			want: []string{"f.yaml:5: The document is not valid YAML: did not find expected"},
		},
		"item of a list, CRLF": {
			text: strings.ReplaceAll("apiVersion: v1\nkind: List\nitems:\n- "+strings.ReplaceAll(strings.TrimSpace(strings.Replace(policy, "limit: 5", "limit: 0", 1)), "\n", "\n  "), "\n", "\r\n"),
			want: []string{"f.yaml:9: RateLimitPolicy shop/payments: spec.limits[0].limit"},
		},
		"unknown kind of ours": {
			text: "apiVersion: weir.dev/v1alpha1\nkind: RatelimitPolicy\nmetadata: {name: a}\n",
			want: []string{"f.yaml:1: RatelimitPolicy a: There is no kind RatelimitPolicy in weir.dev/v1alpha1"},
		},
		"unknown version of ours": {
			text: strings.Replace(policy, "v1alpha1", "v1", 1),
			want: []string{"There is no kind RateLimitPolicy in weir.dev/v1"},
		},
		"twice": {
			text: policy + "---" + policy,
			want: []string{"f.yaml:11: RateLimitPolicy shop/payments: metadata.name: Line 2 has an object of this kind and name too"},
		},
		"wrong type": {
			text: strings.Replace(policy, "limit: 5", `limit: "5"`, 1),
			want: []string{"spec.limits[0].limit: Invalid value: \"string\""},
		},
		"Service with an unknown field": {
			text: "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {port: 80}\n",
			want: []string{"f.yaml:4: Service a: spec.port: " + unknownField},
		},
	}
	decoder := newDecoder(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, errs := decoder.Decode(t.Context(), "f.yaml", []byte(c.text))
			if len(errs) != len(c.want) {
				t.Fatalf("got %d errors %v, want %d", len(errs), errs, len(c.want))
			}
			for i, want := range c.want {
				if got := errs[i].Error(); !strings.Contains(got, want) {
					t.Errorf("got error %q, want %q in it", got, want)
				}
			}
		})
	}
}

func TestDecodeOtherKinds(t *testing.T) {
	text := `
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: payments}
  spec: {ports: [{name: http, port: 80, targetPort: http}]}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: payments}
`
	result, errs := newDecoder(t).Decode(t.Context(), "f.yaml", []byte(text))
	if len(errs) > 0 || len(result.Objects) != 1 {
		t.Fatalf("got %v with errors %v, want one object", result.Objects, errs)
	}
	service, ok := result.Objects[0].(*corev1.Service)
	if !ok || service.Namespace != DefaultNamespace || service.Spec.Ports[0].TargetPort.StrVal != "http" {
		t.Errorf("got %v, want the Service in namespace %s", result.Objects[0], DefaultNamespace)
	}
	want := []Unknown{{File: "f.yaml", Line: 9, Name: "payments",
		Kind: schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}}}
	if diff := cmp.Diff(want, result.Unknown); diff != "" {
		t.Errorf("unknown kinds (-want +got):\n%s", diff)
	}
}

func TestSamplesDecode(t *testing.T) {
	files, err := filepath.Glob("../../../../config/samples/*.yaml")
	if err != nil || len(files) != 6 {
		t.Fatalf("got samples %v and error %v, want six", files, err)
	}
	decoder := newDecoder(t)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		result, errs := decoder.Decode(t.Context(), file, text)
		if len(errs) > 0 || len(result.Objects) == 0 || len(result.Unknown) > 0 {
			t.Errorf("%s: got %d objects, errors %v, unknown %v", file, len(result.Objects), errs, result.Unknown)
		}
	}
}

// A typed object holds all that was written: decoding what it marshals to gives it again.
func TestFullObjectsRoundTrip(t *testing.T) {
	objects, err := api.FullObjects()
	if err != nil {
		t.Fatal(err)
	}
	decoder := newDecoder(t)
	decode := func(object any) client.Object {
		text, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		result, errs := decoder.Decode(t.Context(), "full.yaml", text)
		if len(errs) > 0 || len(result.Objects) != 1 {
			t.Fatalf("got %d objects with errors %v for\n%s", len(result.Objects), errs, text)
		}
		return result.Objects[0]
	}
	for _, object := range objects {
		first := decode(object.Object)
		if diff := cmp.Diff(first, decode(first)); diff != "" {
			t.Errorf("%s %s after a round trip (-first +second):\n%s", object.GetKind(), object.GetName(), diff)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(policy))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: [1, {kind: Pod}]\n---\n- a\n---\n{"))
	f.Add([]byte("apiVersion: weir.dev/v1alpha1\nkind: CallbackRoute\nmetadata: 1\nspec: []\n"))
	decoder, err := NewDecoder()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		result, errs := decoder.Decode(t.Context(), "f.yaml", data)
		for _, object := range result.Objects {
			if object.GetNamespace() == "" {
				t.Errorf("%T without a namespace", object)
			}
		}
		for _, err := range errs {
			var at *Error
			if !errors.As(err, &at) || at.Line < 1 || at.Line > bytes.Count(data, []byte("\n"))+1 {
				t.Errorf("the line of %v is not in the file", err)
			}
		}
	})
}
