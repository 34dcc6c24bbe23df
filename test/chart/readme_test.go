// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// The README's table has every value of values.yaml, and no other.
func TestReadmeListsValues(t *testing.T) {
	text, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	leaves("", values, want)

	readme, err := os.ReadFile(chart + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for line := range strings.Lines(string(readme)) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		first := strings.Split(line, "|")[1]
		for name := range strings.SplitSeq(first, ",") {
			got[strings.Trim(name, " `")] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !got[name] {
			t.Errorf("README.md does not list %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if !want[name] {
			t.Errorf("README.md lists %s, which values.yaml has not", name)
		}
	}
}

// leaves are the paths of what is no object with members. What a user passes to
// Kubernetes as it is counts as one value.
func leaves(path string, v any, into map[string]bool) {
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 || path == "resources" || path == "rls.resources" {
		into[path] = true
		return
	}
	for name, child := range m {
		if path != "" {
			name = path + "." + name
		}
		leaves(name, child, into)
	}
}
