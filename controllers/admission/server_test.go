// SPDX-License-Identifier: Apache-2.0

package admission_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/controllers/admission"
	"weir.dev/weir/controllers/inject"
	"weir.dev/weir/controllers/pki"
)

const configuration = "weir"

// webhooks are as the chart has them, but for the URL.
func webhooks(url string) *admissionv1.MutatingWebhookConfiguration {
	in := func(op metav1.LabelSelectorOperator, value string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: podspec.LabelInject, Operator: op, Values: []string{value}},
		}}
	}
	hook := func(name string, namespaces, pods *metav1.LabelSelector) admissionv1.MutatingWebhook {
		return admissionv1.MutatingWebhook{
			Name: name, NamespaceSelector: namespaces, ObjectSelector: pods,
			ClientConfig:            admissionv1.WebhookClientConfig{URL: &url},
			FailurePolicy:           new(admissionv1.Fail),
			SideEffects:             new(admissionv1.SideEffectClassNoneOnDryRun),
			ReinvocationPolicy:      new(admissionv1.IfNeededReinvocationPolicy),
			TimeoutSeconds:          new(int32(5)),
			AdmissionReviewVersions: []string{"v1"},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}
	}
	return &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: configuration},
		Webhooks: []admissionv1.MutatingWebhook{
			hook("namespace.inject.weir.dev", in(metav1.LabelSelectorOpIn, podspec.InjectEnabled), in(metav1.LabelSelectorOpNotIn, podspec.InjectDisabled)),
			hook("pod.inject.weir.dev", in(metav1.LabelSelectorOpNotIn, podspec.InjectEnabled), in(metav1.LabelSelectorOpIn, podspec.InjectEnabled)),
		},
	}
}

func startServer(t *testing.T) *rest.Config {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set: `make test` builds kube-apiserver and etcd and sets it")
	}
	environment := &envtest.Environment{}
	config, err := environment.Start()
	if err != nil {
		t.Fatalf("start API server: %v", err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Errorf("stop API server: %v", err)
		}
	})
	return config
}

func profile() inject.Profile {
	return inject.Profile{Version: "v0.1.0", Image: "weir-sidecar:v0.1.0", Operator: "weir-operator.weir-system.svc:8443"}
}

// startOperator runs the webhook server and the PKI as cmd/weir-operator does, and
// returns the port of the webhook.
func startOperator(t *testing.T, config *rest.Config) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	direct, err := client.New(config, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	issuer := pki.NewIssuer(pki.Options{
		Reader: direct, Writer: direct, Namespace: "default", Service: "weir-operator", Names: []string{"localhost"}, Log: logr.Discard(),
	})
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme.Scheme, Metrics: server.Options{BindAddress: "0"}, Logger: logr.Discard(),
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.ConfigMap{}: {Field: fields.OneTermEqualSelector("metadata.name", podspec.ConfigMapCA)},
		}},
		WebhookServer: webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: port, TLSOpts: []func(*tls.Config){
			func(c *tls.Config) { c.GetCertificate = issuer.GetCertificate },
		}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := admission.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	trust := &pki.Trust{Bundler: issuer, Reader: mgr.GetClient(), Writer: mgr.GetClient()}
	hook := &pki.Webhook{Bundler: issuer, Reader: mgr.GetClient(), Writer: mgr.GetClient(), Name: configuration}
	if err := pki.Setup(mgr, issuer, trust, hook); err != nil {
		t.Fatal(err)
	}
	mgr.GetWebhookServer().Register(admission.Path, &webhook.Admission{Handler: &admission.Handler{
		Profile: profile(), Cache: mgr.GetClient(), Live: mgr.GetAPIReader(), Trust: trust,
		Events: mgr.GetEventRecorder("weir-operator"), Metrics: metrics, Log: logr.Discard(),
	}})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("manager: %v", err)
		}
	})
	return port
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func makePod(namespace, name string, labels, annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels, Annotations: annotations},
		// The plugin that fills it in doesn't run here.
		Spec: corev1.PodSpec{ServiceAccountName: "default", Containers: []corev1.Container{{
			Name: "app", Image: "shop", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}}},
			SecurityContext: &corev1.SecurityContext{
				RunAsNonRoot: new(true), AllowPrivilegeEscalation: new(false),
				Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
		}}},
	}
}

// A real API server calls the webhook under the CA that the operator has made.
func TestOnAnAPIServer(t *testing.T) {
	ctrl.SetLogger(logr.Discard())
	config := startServer(t)
	c, err := client.New(config, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for name, labels := range map[string]map[string]string{
		"on":         {podspec.LabelInject: podspec.InjectEnabled},
		"restricted": {podspec.LabelInject: podspec.InjectEnabled, "pod-security.kubernetes.io/enforce": "restricted"},
		"off":        nil,
		"off2":       nil,
	} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
		if err := c.Create(ctx, ns); err != nil {
			t.Fatal(err)
		}
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "default"}}
		if err := c.Create(ctx, sa); err != nil {
			t.Fatal(err)
		}
	}
	port := startOperator(t, config)
	if err := c.Create(ctx, webhooks(fmt.Sprintf("https://localhost:%d%s", port, admission.Path))); err != nil {
		t.Fatal(err)
	}
	caBundles := func() error {
		conf := &admissionv1.MutatingWebhookConfiguration{}
		if err := c.Get(ctx, client.ObjectKey{Name: configuration}, conf); err != nil {
			return err
		}
		for _, h := range conf.Webhooks {
			if len(h.ClientConfig.CABundle) == 0 {
				return fmt.Errorf("%s has no caBundle", h.Name)
			}
		}
		return nil
	}
	eventually(t, "caBundle", caBundles)
	configMap := func(namespace string) (string, error) {
		cm := &corev1.ConfigMap{}
		err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: podspec.ConfigMapCA}, cm)
		return cm.Data[podspec.KeyCA], err
	}
	inject1 := func(t *testing.T, pod *corev1.Pod, opts ...client.CreateOption) *corev1.Pod {
		t.Helper()
		pod.Spec.Containers[0].ReadinessProbe.TCPSocket.Port.IntVal = 8080
		// The API server may be slow to see the caBundle.
		eventually(t, "create "+pod.Name, func() error {
			out := pod.DeepCopy()
			err := c.Create(ctx, out, opts...)
			if err == nil {
				*pod = *out
			}
			return err
		})
		return pod
	}

	t.Run("Redirect", func(t *testing.T) {
		pod := inject1(t, makePod("on", "a", nil, nil))
		if got := pod.Spec.InitContainers[0].Name + " " + pod.Spec.InitContainers[1].Name; got != "weir-sidecar weir-capture" {
			t.Errorf("init containers are %s", got)
		}
		again, reasons := inject.Inject(dropAPIToken(pod), withLabels("on"))
		if d := cmp.Diff(dropAPIToken(pod).Spec, again.Spec); d != "" {
			t.Errorf("what the API server defaults is changed by a second injection (-stored +again), %v:\n%s", reasons, d)
		}
	})
	t.Run("restricted Pod Security takes the NamedPort pod", func(t *testing.T) {
		pod := inject1(t, makePod("restricted", "a", nil, nil))
		if got := pod.Spec.InitContainers[0].Ports[1].Name; got != "http" {
			t.Errorf("the sidecar's port is called %q", got)
		}
		again, _ := inject.Inject(dropAPIToken(pod), withLabels("restricted"))
		if d := cmp.Diff(dropAPIToken(pod).Spec, again.Spec); d != "" {
			t.Errorf("second injection (-stored +again):\n%s", d)
		}
	})
	t.Run("ConfigMap before the pod, also where only the pod asks", func(t *testing.T) {
		if _, err := configMap("off"); !apierrors.IsNotFound(err) {
			t.Fatalf("before: %v", err)
		}
		pod := inject1(t, makePod("off", "dry", map[string]string{podspec.LabelInject: podspec.InjectEnabled}, nil), client.DryRunAll)
		if len(pod.Spec.InitContainers) == 0 {
			t.Error("a dry run shows no sidecar")
		}
		if _, err := configMap("off"); !apierrors.IsNotFound(err) {
			t.Fatalf("after a dry run: %v", err)
		}
		inject1(t, makePod("off", "a", map[string]string{podspec.LabelInject: podspec.InjectEnabled}, nil))
		if bundle, err := configMap("off"); err != nil || !strings.Contains(bundle, "BEGIN CERTIFICATE") {
			t.Errorf("got %q, %v", bundle, err)
		}
	})
	t.Run("no opt-in, no call", func(t *testing.T) {
		pod := inject1(t, makePod("off2", "a", nil, map[string]string{podspec.AnnotationCapture: "magic"}))
		if len(pod.Spec.InitContainers) > 0 {
			t.Error("injected")
		}
	})
	t.Run("refused with the annotation's path", func(t *testing.T) {
		pod := makePod("on", "wrong", nil, map[string]string{podspec.AnnotationCapture: "magic"})
		pod.Spec.Containers[0].ReadinessProbe = nil
		err := c.Create(ctx, pod)
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "metadata.annotations[weir.dev/capture]") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a reset caBundle comes back", func(t *testing.T) {
		conf := &admissionv1.MutatingWebhookConfiguration{}
		if err := c.Get(ctx, client.ObjectKey{Name: configuration}, conf); err != nil {
			t.Fatal(err)
		}
		for i := range conf.Webhooks {
			conf.Webhooks[i].ClientConfig.CABundle = nil
		}
		if err := c.Update(ctx, conf); err != nil {
			t.Fatal(err)
		}
		eventually(t, "caBundle", caBundles)
	})
	t.Run("a damaged ConfigMap comes back, a deleted one too", func(t *testing.T) {
		for _, harm := range []func(*corev1.ConfigMap) error{
			func(cm *corev1.ConfigMap) error { cm.Data = nil; return c.Update(ctx, cm) },
			func(cm *corev1.ConfigMap) error { return c.Delete(ctx, cm) },
		} {
			cm := &corev1.ConfigMap{}
			eventually(t, "ConfigMap", func() error {
				return c.Get(ctx, client.ObjectKey{Namespace: "on", Name: podspec.ConfigMapCA}, cm)
			})
			want := cm.Data[podspec.KeyCA]
			if err := harm(cm); err != nil {
				t.Fatal(err)
			}
			eventually(t, "ConfigMap", func() error {
				got, err := configMap("on")
				if err == nil && !bytes.Equal([]byte(got), []byte(want)) {
					err = fmt.Errorf("got %q, want %q", got, want)
				}
				return err
			})
		}
	})
	t.Run("a namespace that is labelled gets it", func(t *testing.T) {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "off2", Labels: map[string]string{podspec.LabelInject: podspec.InjectEnabled}}}
		if err := c.Patch(ctx, ns, client.Merge); err != nil {
			t.Fatal(err)
		}
		eventually(t, "ConfigMap", func() error { _, err := configMap("off2"); return err })
	})
	t.Run("a skip is an event on the owner", func(t *testing.T) {
		pod := makePod("on", "host", nil, nil)
		pod.Spec.HostNetwork = true
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "shop-1", UID: "u", Controller: new(true)}}
		inject1(t, pod)
		eventually(t, "event", func() error {
			var list corev1.EventList
			if err := c.List(ctx, &list, client.InNamespace("on")); err != nil {
				return err
			}
			for _, e := range list.Items {
				if e.Reason == string(inject.HostNetwork) && e.InvolvedObject.Name == "shop-1" {
					return nil
				}
			}
			return fmt.Errorf("%d events, none of it", len(list.Items))
		})
	})
}

func withLabels(namespace string) inject.Profile {
	p := profile()
	p.NamespaceLabels = map[string]string{podspec.LabelInject: podspec.InjectEnabled}
	if namespace == "restricted" {
		p.NamespaceLabels["pod-security.kubernetes.io/enforce"] = "restricted"
	}
	return p
}

// dropAPIToken takes the mounts away that the ServiceAccount admission adds to
// every container after the webhook.
func dropAPIToken(pod *corev1.Pod) *corev1.Pod {
	out := pod.DeepCopy()
	for i := range out.Spec.InitContainers {
		c := &out.Spec.InitContainers[i]
		var kept []corev1.VolumeMount
		for _, m := range c.VolumeMounts {
			if !strings.HasPrefix(m.Name, "kube-api-access") {
				kept = append(kept, m)
			}
		}
		c.VolumeMounts = kept
	}
	return out
}
