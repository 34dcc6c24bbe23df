// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/api/podspec"
)

// Result is what became of one object of a manifest that has pods.
type Result struct {
	Kind, Namespace, Name string
	Reasons               []Reason
	// Changed says that the object is not as it was.
	Changed bool
}

// InjectManifest injects the pods and pod templates of a stream of YAML or JSON
// documents; profile gives the profile of a namespace, empty where the object
// names none. Whoever calls it opts in: a template without the label
// podspec.LabelInject gets it, so that the webhook keeps it up to date. Documents
// in which nothing changes are passed through byte by byte.
func InjectManifest(in []byte, profile func(namespace string) Profile) ([]byte, []Result, error) {
	return eachDocument(in, func(namespace string, pod *corev1.Pod) (*corev1.Pod, []Reason) {
		asked := pod.DeepCopy()
		if asked.Labels[podspec.LabelInject] == "" {
			if asked.Labels == nil {
				asked.Labels = map[string]string{}
			}
			asked.Labels[podspec.LabelInject] = podspec.InjectEnabled
		}
		out, reasons := Inject(asked, profile(namespace))
		if r, ok := Outcome(reasons); !ok && r.Code != Disabled {
			return pod, reasons
		}
		return out, reasons
	})
}

// UninjectManifest takes out what InjectManifest has put in.
func UninjectManifest(in []byte) ([]byte, []Result, error) {
	return eachDocument(in, func(_ string, pod *corev1.Pod) (*corev1.Pod, []Reason) {
		out, reasons := Uninject(pod)
		if len(reasons) > 0 {
			return pod, reasons
		}
		if out.Labels[podspec.LabelInject] == podspec.InjectEnabled {
			delete(out.Labels, podspec.LabelInject)
		}
		return out, nil
	})
}

type podFunc func(namespace string, pod *corev1.Pod) (*corev1.Pod, []Reason)

func eachDocument(in []byte, f podFunc) ([]byte, []Result, error) {
	var out bytes.Buffer
	var results []Result
	for i, doc := range splitDocuments(in) {
		raw, err := yaml.YAMLToJSONStrict(doc.body)
		if err != nil {
			return nil, nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		var tree map[string]any
		if bytes.HasPrefix(raw, []byte("{")) {
			if tree, err = decodeTree(raw); err != nil {
				return nil, nil, fmt.Errorf("document %d: %w", i+1, err)
			}
		}
		here, err := object(tree, f)
		if err != nil {
			return nil, nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		changed := false
		for _, r := range here {
			changed = changed || r.Changed
		}
		results = append(results, here...)
		out.Write(doc.separator)
		if !changed {
			out.Write(doc.body)
			continue
		}
		body, err := yaml.Marshal(tree)
		if err != nil {
			return nil, nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		if n := len(doc.separator); n > 0 && doc.separator[n-1] != '\n' {
			out.WriteByte('\n')
		}
		out.Write(leadingComments(doc.body))
		out.Write(body)
	}
	return out.Bytes(), results, nil
}

// object changes one object in place; lists are entered.
func object(tree map[string]any, f podFunc) ([]Result, error) {
	kind, _ := tree["kind"].(string)
	version, _ := tree["apiVersion"].(string)
	if items, ok := tree["items"].([]any); ok && strings.HasSuffix(kind, "List") {
		var results []Result
		for i := range items {
			item, ok := items[i].(map[string]any)
			if !ok {
				continue
			}
			// Items of a typed list may leave out what the list says.
			if item["kind"] == nil && kind != "List" {
				item = withKind(item, version, strings.TrimSuffix(kind, "List"))
			}
			r, err := object(item, f)
			if err != nil {
				return nil, fmt.Errorf("items[%d]: %w", i, err)
			}
			results = append(results, r...)
		}
		return results, nil
	}
	path, ok := templatePath(version, kind)
	if !ok {
		return nil, nil
	}
	template := tree
	for i, field := range path {
		next, ok := template[field].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s has no %s", kind, strings.Join(path[:i+1], "."))
		}
		template = next
	}
	result := Result{Kind: kind, Namespace: metaString(tree, "namespace"), Name: metaString(tree, "name")}
	before, err := decodePod(template)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, result.Name, err)
	}
	after, reasons := f(result.Namespace, before)
	result.Reasons = reasons
	was, err := json.Marshal(template)
	if err != nil {
		return nil, err
	}
	if err := overlay(template, before, after); err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, result.Name, err)
	}
	now, err := json.Marshal(template)
	if err != nil {
		return nil, err
	}
	result.Changed = !bytes.Equal(was, now)
	return []Result{result}, nil
}

// withKind shares the item's metadata and spec, so that changes reach it.
func withKind(item map[string]any, version, kind string) map[string]any {
	child(item, "metadata")
	child(item, "spec")
	out := map[string]any{"apiVersion": version, "kind": kind}
	for k, v := range item {
		out[k] = v
	}
	return out
}

// templatePath is where an object of a kind has a pod's metadata and spec.
func templatePath(version, kind string) ([]string, bool) {
	switch version + "/" + kind {
	case "v1/Pod":
		return nil, true
	case "apps/v1/Deployment", "apps/v1/StatefulSet", "apps/v1/DaemonSet", "apps/v1/ReplicaSet",
		"batch/v1/Job", "v1/ReplicationController":
		return []string{"spec", "template"}, true
	case "batch/v1/CronJob":
		return []string{"spec", "jobTemplate", "spec", "template"}, true
	}
	return nil, false
}

func metaString(tree map[string]any, field string) string {
	meta, _ := tree["metadata"].(map[string]any)
	s, _ := meta[field].(string)
	return s
}

func decodePod(template map[string]any) (*corev1.Pod, error) {
	b, err := json.Marshal(map[string]any{"metadata": template["metadata"], "spec": template["spec"]})
	if err != nil {
		return nil, err
	}
	pod := &corev1.Pod{}
	return pod, json.Unmarshal(b, pod)
}

// document is a part of a stream: its "---" line, if any, and what follows.
type document struct{ separator, body []byte }

// In block scalars every line is indented, so that "---" at the start of a line is
// always the marker. What stands on its line belongs to the document.
func splitDocuments(in []byte) []document {
	var docs []document
	var doc document
	for line := range bytes.Lines(in) {
		rest, ok := bytes.CutPrefix(line, []byte("---"))
		if !ok || len(rest) > 0 && !bytes.ContainsAny(rest[:1], " \t\r\n") {
			doc.body = append(doc.body, line...)
			continue
		}
		if len(doc.separator)+len(doc.body) > 0 {
			docs = append(docs, doc)
		}
		if content := bytes.TrimSpace(rest); len(content) == 0 || content[0] == '#' {
			doc = document{separator: line}
		} else {
			doc = document{separator: line[:3], body: slices.Clone(rest)}
		}
	}
	return append(docs, doc)
}

// leadingComments are worth keeping: tools say there where a document is from.
func leadingComments(body []byte) []byte {
	n := 0
	for line := range bytes.Lines(body) {
		if trimmed := bytes.TrimSpace(line); len(trimmed) > 0 && trimmed[0] != '#' {
			break
		}
		n += len(line)
	}
	return body[:n]
}
