// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/controllers/inject"
)

var update = flag.Bool("update", false, "write the golden files")

// profile is the one of all tests that say nothing else.
func profile() inject.Profile {
	return inject.Profile{
		Version: "v0.1.0", Image: "registry.example/weir-sidecar@sha256:0123", Operator: "weir-operator.weir-system.svc:8443",
		NamespaceLabels: map[string]string{podspec.LabelInject: podspec.InjectEnabled},
	}
}

// readCase reads a golden input: a Pod, and before it a Namespace whose labels
// count and a Profile whose fields replace those of profile.
func readCase(t *testing.T, path string) (*corev1.Pod, inject.Profile) {
	t.Helper()
	in, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p, pod := profile(), (*corev1.Pod)(nil)
	for doc := range strings.SplitSeq(string(in), "\n---\n") {
		var kind struct{ Kind string }
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			t.Fatal(err)
		}
		switch kind.Kind {
		case "Namespace":
			var ns corev1.Namespace
			if err := yaml.UnmarshalStrict([]byte(doc), &ns); err != nil {
				t.Fatal(err)
			}
			p.NamespaceLabels = ns.Labels
		case "Profile":
			if err := yaml.Unmarshal([]byte(doc), &p); err != nil {
				t.Fatal(err)
			}
		case "Pod":
			pod = &corev1.Pod{}
			if err := yaml.UnmarshalStrict([]byte(doc), pod); err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatalf("%s: a document of kind %q", path, kind.Kind)
		}
	}
	if pod == nil {
		t.Fatalf("%s has no Pod", path)
	}
	return pod, p
}

func render(t *testing.T, pod *corev1.Pod, reasons []inject.Reason) string {
	t.Helper()
	var b strings.Builder
	for _, r := range reasons {
		fmt.Fprintf(&b, "# %s\n", r)
	}
	out, err := yaml.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(out)
	return b.String()
}

func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, in := range cases {
		name := strings.TrimSuffix(filepath.Base(in), ".in.yaml")
		t.Run(name, func(t *testing.T) {
			pod, p := readCase(t, in)
			before := pod.DeepCopy()
			out, reasons := inject.Inject(pod, p)
			if d := cmp.Diff(before, pod); d != "" {
				t.Errorf("Inject changed the pod it was given (-before +after):\n%s", d)
			}
			got := render(t, out, reasons)
			golden := strings.TrimSuffix(in, ".in.yaml") + ".out.yaml"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("%s (-want +got); go test ./controllers/inject -update writes it:\n%s", golden, d)
			}
		})
	}
}
