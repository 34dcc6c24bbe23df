// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/config/crd"
	"weir.dev/weir/controllers/config"
)

var update = flag.Bool("update", false, "write the golden files")

func TestLint(t *testing.T) {
	for name, file := range valueSets(t) {
		t.Run(name, func(t *testing.T) {
			if _, err := helm(t, "lint", "--strict", "--kube-version", "1.33", chart, "--values", file); err != nil {
				t.Error(err)
			}
		})
	}
}

// What helm makes of each value set, but for the CRDs, which TestCRDs has.
func TestGolden(t *testing.T) {
	for name, file := range valueSets(t) {
		t.Run(name, func(t *testing.T) {
			got := render(t, "--values", file, "--set", "crds.enabled=false")
			golden := "testdata/" + name + ".golden.yaml"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("go test ./test/chart -update writes it anew (-want +got):\n%s", diff)
			}
		})
	}
}

// The operator reads what the chart writes, and starts with the flags it is given.
func TestOperatorUnderstands(t *testing.T) {
	needHelm(t)
	help, err := exec.CommandContext(t.Context(), "go", "run", "../../cmd/weir-operator", "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, help)
	}
	for name, file := range valueSets(t) {
		t.Run(name, func(t *testing.T) {
			all := objects(t, render(t, "--values", file))
			var m corev1.ConfigMap
			find(t, all, "ConfigMap", "weir-config", &m)
			if _, err := config.Parse([]byte(m.Data["config.yaml"])); err != nil {
				t.Errorf("config.yaml: %v", err)
			}
			var d appsv1.Deployment
			find(t, all, "Deployment", "weir-operator", &d)
			for _, arg := range d.Spec.Template.Spec.Containers[0].Args {
				name, _, _ := strings.Cut(arg, "=")
				if !strings.Contains(string(help), " "+name+" ") {
					t.Errorf("weir-operator has no flag %s", name)
				}
			}
		})
	}
}

// The rate limit service is one that the sidecar's program knows, and that the operator
// is told of.
func TestRateLimitService(t *testing.T) {
	needHelm(t)
	help, err := exec.CommandContext(t.Context(), "go", "run", "../../cmd/weir-sidecar", "rls", "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, help)
	}
	all := objects(t, render(t, "--set", "rls.enabled=true,rls.replicas=3"))
	var d, operator appsv1.Deployment
	find(t, all, "Deployment", "weir-rls", &d)
	c := d.Spec.Template.Spec.Containers[0]
	for _, arg := range c.Args {
		name, _, _ := strings.Cut(arg, "=")
		if !strings.Contains(string(help), " "+name+" ") {
			t.Errorf("weir-sidecar rls has no flag %s", name)
		}
	}
	if *d.Spec.Replicas != 3 || !slices.Contains(c.Args, "--replicas=3") || !slices.Contains(c.Args, "--operator=weir-operator.weir-system.svc:8443") {
		t.Errorf("%d replicas, arguments %v", *d.Spec.Replicas, c.Args)
	}
	find(t, all, "Deployment", "weir-operator", &operator)
	if arg := "--rls-service-account=" + d.Spec.Template.Spec.ServiceAccountName; !slices.Contains(operator.Spec.Template.Spec.Containers[0].Args, arg) {
		t.Errorf("the operator has no argument %s", arg)
	}
	for _, o := range objects(t, render(t)) {
		if strings.Contains(o.GetName(), "rls") {
			t.Errorf("%s %s is there by default", o.GetKind(), o.GetName())
		}
	}
}

// Trial backends become the store "default", unless there is one.
func TestDevBackends(t *testing.T) {
	for name, test := range map[string]struct {
		set  string
		want []string
	}{
		"no store":       {`[]`, []string{"default weir-dev-backends.weir-system.svc:6379"}},
		"another store":  {`[{"name":"x","redis":{"addresses":["r:1"]}}]`, []string{"x r:1", "default weir-dev-backends.weir-system.svc:6379"}},
		"its own store":  {`[{"name":"default","redis":{"addresses":["r:1"]}}]`, []string{"default r:1"}},
		"several stores": {`[{"name":"x","redis":{"addresses":["r:1"]}},{"name":"default","redis":{"addresses":["r:2"]}}]`, []string{"x r:1", "default r:2"}},
	} {
		t.Run(name, func(t *testing.T) {
			var m corev1.ConfigMap
			find(t, objects(t, render(t, "--set", "devBackends.enabled=true", "--set-json", "stores="+test.set)), "ConfigMap", "weir-config", &m)
			c, err := config.Parse([]byte(m.Data["config.yaml"]))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range c.Stores {
				got = append(got, s.Name+" "+s.Redis.Addresses[0])
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("stores (-want +got):\n%s", diff)
			}
		})
	}
}

// An upgrade that rendered a caBundle would reset what the operator has written.
func TestNoCABundle(t *testing.T) {
	for name, file := range valueSets(t) {
		t.Run(name, func(t *testing.T) {
			var w admissionv1.MutatingWebhookConfiguration
			find(t, objects(t, render(t, "--values", file)), "MutatingWebhookConfiguration", "weir-injector", &w)
			for _, h := range w.Webhooks {
				if h.ClientConfig.CABundle != nil {
					t.Errorf("webhook %s has a caBundle", h.Name)
				}
			}
		})
	}
}

// Which pods the API server asks about: one webhook at the most for each.
func TestWebhookScope(t *testing.T) {
	inject := func(value string) map[string]string { return map[string]string{"weir.dev/inject": value} }
	tests := map[string]struct {
		namespace      string
		labels, podSet map[string]string
		want           []string
	}{
		"nobody said anything":            {"shop", nil, nil, nil},
		"namespace":                       {"shop", inject("enabled"), nil, []string{"namespace.inject.weir.dev"}},
		"namespace, pod refuses":          {"shop", inject("enabled"), inject("disabled"), nil},
		"namespace, pod too":              {"shop", inject("enabled"), inject("enabled"), []string{"namespace.inject.weir.dev"}},
		"namespace, pod misspells":        {"shop", inject("enabled"), inject("yes"), []string{"namespace.inject.weir.dev"}},
		"pod alone":                       {"shop", nil, inject("enabled"), []string{"pod.inject.weir.dev"}},
		"pod wins over its namespace":     {"shop", inject("disabled"), inject("enabled"), []string{"pod.inject.weir.dev"}},
		"namespace refuses":               {"shop", inject("disabled"), nil, nil},
		"operator's own, though labelled": {system, inject("enabled"), inject("enabled"), nil},
		"kube-system, though labelled":    {"kube-system", inject("enabled"), inject("enabled"), nil},
		"excluded by a value":             {"monitoring", inject("enabled"), inject("enabled"), nil},
	}
	var w admissionv1.MutatingWebhookConfiguration
	find(t, objects(t, render(t, "--set", "webhook.excludedNamespaces={monitoring}")), "MutatingWebhookConfiguration", "weir-injector", &w)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			namespace := labels.Set{"kubernetes.io/metadata.name": test.namespace}
			for k, v := range test.labels {
				namespace[k] = v
			}
			var got []string
			for _, h := range w.Webhooks {
				if matches(t, h.NamespaceSelector, namespace) && matches(t, h.ObjectSelector, test.podSet) {
					got = append(got, h.Name)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("webhooks (-want +got):\n%s", diff)
			}
		})
	}
}

func matches(t *testing.T, selector *metav1.LabelSelector, set labels.Set) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(set)
}

// The CRDs are those of config/crd, stay on uninstall, and can be left out.
func TestCRDs(t *testing.T) {
	files, err := crd.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	all := objects(t, render(t))
	for _, f := range files {
		text, err := crd.Files.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]any
		if err := yaml.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		name := want["metadata"].(map[string]any)["name"].(string)
		i := slices.IndexFunc(all, func(o *unstructuredObject) bool { return o.GetKind() == kindCRD && o.GetName() == name })
		if i < 0 {
			t.Errorf("%s is not there", name)
			continue
		}
		if diff := cmp.Diff(want["spec"], all[i].Object["spec"]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got := all[i].GetAnnotations()["helm.sh/resource-policy"]; got != "keep" {
			t.Errorf("%s: helm.sh/resource-policy is %q, want keep", name, got)
		}
		if got := all[i].GetLabels()["app.kubernetes.io/name"]; got != "weir" {
			t.Errorf("%s: app.kubernetes.io/name is %q, want weir", name, got)
		}
	}
	for _, o := range objects(t, render(t, "--set", "crds.enabled=false")) {
		if o.GetKind() == kindCRD {
			t.Errorf("crds.enabled=false: %s is there", o.GetName())
		}
	}
}

// Without rbac.readSecrets the operator may get no Secret but its own, and the role is
// there to be bound by namespace; so it is with ConfigMaps.
func TestReads(t *testing.T) {
	for _, test := range []struct {
		name, role string
		flags      []string
		bound      bool
	}{
		{"Secrets by default", "weir-secrets", nil, true},
		{"Secrets unless they are refused", "weir-secrets", []string{"--set", "rbac.readSecrets=false"}, false},
		{"ConfigMaps by default", "weir-configmaps", nil, true},
		{"ConfigMaps unless they are refused", "weir-configmaps", []string{"--set", "rbac.readConfigMaps=false"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var roles, bindings int
			for _, o := range objects(t, render(t, test.flags...)) {
				switch {
				case o.GetKind() == "ClusterRole" && o.GetName() == test.role:
					roles++
				case o.GetKind() == "ClusterRoleBinding" && o.GetName() == test.role:
					bindings++
				}
			}
			if roles != 1 || (bindings == 1) != test.bound {
				t.Errorf("%d roles and %d bindings", roles, bindings)
			}
		})
	}
}
