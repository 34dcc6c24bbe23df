// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// What only a real API server can show, in the order of a release's life.
func TestServer(t *testing.T) {
	server, kubeconfig := startServer(t)
	for _, name := range []string{system, "shop"} {
		create(t, server, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"weir.dev/inject": "enabled"}}})
	}
	run := func(args ...string) {
		t.Helper()
		if _, err := helm(t, append(args, "--namespace", system, "--kubeconfig", kubeconfig)...); err != nil {
			t.Fatal(err)
		}
	}
	for name, file := range valueSets(t) {
		t.Run("takes "+name, func(t *testing.T) { takes(t, server, file) })
	}
	run("install", "weir", chart)
	t.Run("rights", func(t *testing.T) { rights(t, server) })
	t.Run("a pod waits for the operator", func(t *testing.T) {
		if err := server.Create(t.Context(), pod()); !apierrors.IsInternalError(err) {
			t.Errorf("got error %v, want one of the webhook, which nobody serves", err)
		}
	})
	writeCABundle(t, server)
	run("upgrade", "weir", chart, "--set", "devBackends.enabled=true", "--set", "webhook.timeoutSeconds=7")
	t.Run("an upgrade leaves the CA alone", func(t *testing.T) {
		w := webhooks(t, server)
		for _, h := range w.Webhooks {
			if !bytes.Equal(h.ClientConfig.CABundle, bundle) || *h.TimeoutSeconds != 7 {
				t.Errorf("webhook %s: caBundle %q, timeout %d; want %q, 7", h.Name, h.ClientConfig.CABundle, *h.TimeoutSeconds, bundle)
			}
		}
	})
	run("uninstall", "weir")
	t.Run("nothing is left that blocks pods", func(t *testing.T) {
		var list admissionv1.MutatingWebhookConfigurationList
		if err := server.List(t.Context(), &list); err != nil || len(list.Items) > 0 {
			t.Errorf("webhooks: %v, %v; want none", list.Items, err)
		}
		create(t, server, pod())
	})
	t.Run("CRDs stay", func(t *testing.T) {
		var list apiextensionsv1.CustomResourceDefinitionList
		if err := server.List(t.Context(), &list); err != nil || len(list.Items) != 3 {
			t.Errorf("%d CRDs, %v; want 3", len(list.Items), err)
		}
	})
	t.Run("a new release takes over the CRDs", func(*testing.T) { run("install", "weir", chart) })
}

func startServer(t *testing.T) (client.Client, string) {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" || os.Getenv("HELM") == "" {
		t.Skip("KUBEBUILDER_ASSETS and HELM are not both set: hack/verify/chart.sh (make verify) sets them")
	}
	environment := &envtest.Environment{}
	// The API server makes a ServiceAccount for pods only with its controllers.
	environment.ControlPlane.GetAPIServer().Configure().Append("disable-admission-plugins", "ServiceAccount")
	config, err := environment.Start()
	if err != nil {
		t.Fatalf("start API server: %v", err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Errorf("stop API server: %v", err)
		}
	})
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, environment.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	return c, kubeconfig
}

func create(t *testing.T, server client.Client, o client.Object) {
	t.Helper()
	if err := server.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func pod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: "shop"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
}

// takes: no field is unknown, every CEL expression compiles, every bound is kept.
func takes(t *testing.T, server client.Client, values string) {
	t.Helper()
	strict := client.WithFieldValidation(server, metav1.FieldValidationStrict)
	for _, o := range objects(t, render(t, "--values", values)) {
		if err := strict.Create(t.Context(), o, client.DryRunAll); err != nil {
			t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

// bundle is anything: the API server reads it when it calls the webhook.
var bundle = []byte("-----BEGIN CERTIFICATE-----\n")

// writeCABundle does it as the operator does.
func writeCABundle(t *testing.T, server client.Client) {
	t.Helper()
	w := webhooks(t, server)
	patch := client.StrategicMergeFrom(w.DeepCopy())
	for i := range w.Webhooks {
		w.Webhooks[i].ClientConfig.CABundle = bundle
	}
	if err := server.Patch(t.Context(), w, patch); err != nil {
		t.Fatal(err)
	}
}

func webhooks(t *testing.T, server client.Client) *admissionv1.MutatingWebhookConfiguration {
	t.Helper()
	w := &admissionv1.MutatingWebhookConfiguration{}
	if err := server.Get(t.Context(), client.ObjectKey{Name: "weir-injector"}, w); err != nil {
		t.Fatal(err)
	}
	return w
}

// rights are what the operator may do, and what it may not.
func rights(t *testing.T, server client.Client) {
	attributes := func(verb, group, resource, namespace, name string) authorizationv1.ResourceAttributes {
		return authorizationv1.ResourceAttributes{Verb: verb, Group: group, Resource: resource, Namespace: namespace, Name: name}
	}
	status := func(resource string) authorizationv1.ResourceAttributes {
		return authorizationv1.ResourceAttributes{Verb: "patch", Group: "weir.dev", Resource: resource, Subresource: "status", Namespace: "shop", Name: "p"}
	}
	for name, test := range map[string]struct {
		what authorizationv1.ResourceAttributes
		want bool
	}{
		"watch policies":                {attributes("watch", "weir.dev", "ratelimitpolicies", "", ""), true},
		"patch a status":                {status("callbackroutes"), true},
		"change a policy":               {attributes("update", "weir.dev", "ratelimitpolicies", "shop", "p"), false},
		"make a policy":                 {attributes("create", "weir.dev", "callbackroutes", "shop", ""), false},
		"watch pods":                    {attributes("watch", "", "pods", "", ""), true},
		"make a pod":                    {attributes("create", "", "pods", "shop", ""), false},
		"change a pod":                  {attributes("patch", "", "pods", "shop", "p"), false},
		"exec into a pod":               {authorizationv1.ResourceAttributes{Verb: "create", Resource: "pods", Subresource: "exec", Namespace: "shop"}, false},
		"watch services":                {attributes("watch", "", "services", "", ""), true},
		"change a service":              {attributes("patch", "", "services", "shop", "p"), false},
		"watch the CA's ConfigMaps":     {attributes("watch", "", "configmaps", "", "weir-ca"), true},
		"list the CA's ConfigMaps":      {attributes("list", "", "configmaps", "", "weir-ca"), true},
		"patch the CA's ConfigMap":      {attributes("patch", "", "configmaps", "shop", "weir-ca"), true},
		"make the CA's ConfigMap":       {attributes("create", "", "configmaps", "shop", ""), true},
		"list all ConfigMaps":           {attributes("list", "", "configmaps", "", ""), false},
		"get a ConfigMap with an IDL":   {attributes("get", "", "configmaps", "shop", "app"), true},
		"watch ConfigMaps":              {attributes("watch", "", "configmaps", "shop", ""), false},
		"patch another ConfigMap":       {attributes("patch", "", "configmaps", "shop", "app"), false},
		"watch the webhook":             {attributes("watch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "weir-injector"), true},
		"patch another webhook":         {attributes("patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "other"), false},
		"make a webhook":                {attributes("create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", ""), false},
		"watch Secrets at home":         {attributes("watch", "", "secrets", system, ""), true},
		"make the CA's Secret":          {attributes("create", "", "secrets", system, ""), true},
		"renew the CA's Secret":         {attributes("update", "", "secrets", system, "weir-ca"), true},
		"change another Secret at home": {attributes("update", "", "secrets", system, "redis"), false},
		"read the root key":             {attributes("get", "", "secrets", system, "weir-keys"), true},
		"change the root key":           {attributes("update", "", "secrets", system, "weir-keys"), false},
		"remove the root key":           {attributes("delete", "", "secrets", system, "weir-keys"), false},
		"read a Secret that is named":   {attributes("get", "", "secrets", "shop", "idem-keys"), true},
		"list Secrets elsewhere":        {attributes("list", "", "secrets", "shop", ""), false},
		"watch Secrets elsewhere":       {attributes("watch", "", "secrets", "", ""), false},
		"make a Secret elsewhere":       {attributes("create", "", "secrets", "shop", ""), false},
		"lead":                          {attributes("update", "coordination.k8s.io", "leases", system, "weir-operator"), true},
		"take another Lease":            {attributes("update", "coordination.k8s.io", "leases", system, "other"), false},
		"take a Lease elsewhere":        {attributes("create", "coordination.k8s.io", "leases", "shop", ""), false},
		"review tokens":                 {attributes("create", "authentication.k8s.io", "tokenreviews", "", ""), true},
		"make tokens":                   {authorizationv1.ResourceAttributes{Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: "shop", Name: "default"}, false},
		"write events":                  {attributes("create", "events.k8s.io", "events", "shop", ""), true},
		"change its own rights":         {attributes("update", "rbac.authorization.k8s.io", "clusterroles", "", "weir-operator"), false},
		"impersonate":                   {attributes("impersonate", "", "users", "", "admin"), false},
	} {
		t.Run(name, func(t *testing.T) {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: "system:serviceaccount:" + system + ":weir-operator", ResourceAttributes: &test.what,
			}}
			create(t, server, review)
			if review.Status.Allowed != test.want {
				t.Errorf("allowed is %v, want %v", review.Status.Allowed, test.want)
			}
		})
	}
}
