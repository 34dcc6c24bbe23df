// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type unstructuredObject = unstructured.Unstructured

const kindCRD = "CustomResourceDefinition"

// `kubectl apply -k config/default` installs what `helm install` does by default,
// and the namespace, which Helm makes by a flag.
func TestKustomizeIsTheSame(t *testing.T) {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set: hack/verify/chart.sh (make verify) sets it")
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(assets, "kubectl"), "kustomize", "../../config/default").Output()
	if err != nil {
		t.Fatal(err)
	}
	want, got := byName(objects(t, render(t))), byName(objects(t, string(out)))
	delete(got, "Namespace "+system)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what kustomize makes (-helm +kustomize):\n%s", diff)
	}
}

// byName leaves out what only says who has made an object, or is for Helm alone.
func byName(all []*unstructured.Unstructured) map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, o := range all {
		strip(o.Object)
		out[o.GetKind()+" "+o.GetName()] = o.Object
	}
	return out
}

func strip(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range []string{
			"helm.sh/chart", "helm.sh/resource-policy", "checksum/config",
			"app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "app.kubernetes.io/version",
		} {
			delete(v, key)
		}
		if a, ok := v["annotations"].(map[string]any); ok {
			if strip(a); len(a) == 0 {
				delete(v, "annotations")
			}
		}
		for _, child := range v {
			strip(child)
		}
	case []any:
		for _, child := range v {
			strip(child)
		}
	}
}
