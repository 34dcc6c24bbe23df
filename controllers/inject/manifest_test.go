// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/controllers/inject"
)

func inPay(namespace string) inject.Profile {
	p := profile()
	if namespace == "pay" {
		p.NamespaceLabels = map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
	}
	return p
}

func TestManifestGolden(t *testing.T) {
	in, err := os.ReadFile("testdata/manifest/in.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out, results, err := inject.InjectManifest(in, inPay)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "#: %s %s/%s changed=%v %v\n", r.Kind, r.Namespace, r.Name, r.Changed, r.Reasons)
	}
	b.Write(out)
	if *update {
		if err := os.WriteFile("testdata/manifest/out.yaml", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/manifest/out.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}

	again, results, err := inject.InjectManifest(out, inPay)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Changed {
			t.Errorf("second injection changed %s %s", r.Kind, r.Name)
		}
	}
	if d := cmp.Diff(string(out), string(again)); d != "" {
		t.Errorf("second injection (-want +got):\n%s", d)
	}

	back, _, err := inject.UninjectManifest(out)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(decodeAll(t, in), decodeAll(t, back)); d != "" {
		t.Errorf("after removal (-want +got):\n%s", d)
	}
}

// decodeAll reads the documents of a stream; empty maps count as absent.
func decodeAll(t *testing.T, in []byte) []any {
	t.Helper()
	var out []any
	for doc := range strings.SplitSeq("\n"+string(in), "\n---") {
		var v any
		if err := yaml.Unmarshal([]byte(doc), &v); err != nil {
			t.Fatalf("%v in %s", err, doc)
		}
		out = append(out, prune(v))
	}
	return out
}

func prune(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		if list, ok := v.([]any); ok {
			for i := range list {
				list[i] = prune(list[i])
			}
		}
		return v
	}
	for k, e := range m {
		e = prune(e)
		if sub, ok := e.(map[string]any); ok && len(sub) == 0 {
			delete(m, k)
			continue
		}
		m[k] = e
	}
	return m
}

func TestManifestRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"not YAML":    {"a: 1\n---\nb: {", "document 2: "},
		"no template": {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {}", "Deployment has no spec.template"},
		"not a pod":   {"apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: 3}", "Pod x: "},
		"in a list":   {"apiVersion: v1\nkind: List\nitems: [{apiVersion: batch/v1, kind: CronJob}]", "items[0]: CronJob has no spec"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := inject.InjectManifest([]byte(tc.in), inPay)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

// What has no pods comes out byte by byte.
func TestManifestPassesThrough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{
			"---\n", "--- # c\n", "--- {kind: X}\n", "# c\n", "\n", "a: 1\n", "kind: Pod\n", "k: |\n  ---\n  x\n", "...\n", "---",
		})).Draw(t, "lines"), "")
		out, _, err := inject.InjectManifest([]byte(in), inPay)
		if err != nil {
			return // not YAML
		}
		if d := cmp.Diff(in, string(out)); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
	})
}

// Overlay and the typed result are the same pod.
func TestOverlayIsTheInjectedPod(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pod, p := genPod(t), genProfile(t)
		first, _ := inject.Inject(pod, genProfile(t)) // sometimes one that is injected already
		for _, before := range []*corev1.Pod{pod, first} {
			after, _ := inject.Inject(before, p)
			raw, err := yaml.Marshal(before)
			if err != nil {
				t.Fatal(err)
			}
			if raw, err = yaml.YAMLToJSON(raw); err != nil {
				t.Fatal(err)
			}
			merged, err := inject.Overlay(raw, before, after)
			if err != nil {
				t.Fatal(err)
			}
			got := &corev1.Pod{}
			if err := yaml.UnmarshalStrict(merged, got); err != nil {
				t.Fatal(err)
			}
			want, back := mustYAML(t, after), mustYAML(t, got)
			if d := cmp.Diff(want, back); d != "" {
				t.Fatalf("(-want +got):\n%s", d)
			}
		}
	})
}

func mustYAML(t *rapid.T, pod *corev1.Pod) string {
	b, err := yaml.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTemplateGetsTheLabel(t *testing.T) {
	in := "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: a}]}\n"
	out, _, err := inject.InjectManifest([]byte(in), func(string) inject.Profile { return inject.Profile{} })
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := yaml.Unmarshal(out, &pod); err != nil {
		t.Fatal(err)
	}
	if got := pod.Labels[podspec.LabelInject]; got != podspec.InjectEnabled {
		t.Errorf("label is %q, so that the webhook would take the sidecar out", got)
	}
}
