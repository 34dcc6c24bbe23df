// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"os/exec"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "weir.dev/weir"

// deps lists what packages need, themselves included.
func deps(t *testing.T, patterns ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps"}, patterns...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Fields(string(out))
}

func TestDirectionOfImports(t *testing.T) {
	kubernetes := []string{"k8s.io/", "sigs.k8s.io/", module + "/api/v1alpha1"}
	for name, test := range map[string]struct {
		from  string
		never []string
	}{
		"controllers never import the sidecar":  {"./controllers/...", []string{module + "/sidecar", module + "/cmd"}},
		"the sidecar never imports controllers": {"./sidecar/...", append([]string{module + "/controllers", module + "/cmd"}, kubernetes...)},
		"the sidecar's binary is as lean":       {"./cmd/weir-sidecar/...", append([]string{module + "/controllers"}, kubernetes...)},
		"snapshots know no Kubernetes":          {"./api/snapshot/...", kubernetes},
		"the stream knows no Kubernetes":        {"./api/stream/...", kubernetes},
		"what is in a pod knows no Kubernetes":  {"./api/podspec/...", kubernetes},
		"the operator's binary has no proxy":    {"./cmd/weir-operator/...", []string{module + "/sidecar"}},
		"types know nothing of Weir":            {"./api/v1alpha1/...", []string{module + "/controllers", module + "/sidecar", "k8s.io/client-go", "sigs.k8s.io/controller-runtime"}},
		"attach and compile are pure": {"./controllers/compile/...", []string{
			"k8s.io/client-go", "sigs.k8s.io/controller-runtime", module + "/controllers/hub", module + "/controllers/policy",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, dep := range deps(t, test.from) {
				for _, prefix := range test.never {
					if strings.HasPrefix(dep, prefix) {
						t.Errorf("%s needs %s", test.from, dep)
					}
				}
			}
		})
	}
}

// The sidecar runs in every pod: what it is made of is a decision each time.
func TestModulesOfTheSidecar(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/weir-sidecar")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	got := strings.Fields(string(out))
	sort.Strings(got)
	got = slices.Compact(got)
	if diff := cmp.Diff(sidecarModules, got); diff != "" {
		t.Errorf("modules of weir-sidecar (-want +got):\n%s", diff)
	}
}
