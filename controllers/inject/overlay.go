// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// Overlay is raw, the JSON that before was decoded from, with what differs between
// before and after. What this version's types do not know survives, as it would not
// if after were encoded: a newer cluster's pods have newer fields.
func Overlay(raw []byte, before, after *corev1.Pod) ([]byte, error) {
	tree, err := decodeTree(raw)
	if err != nil {
		return nil, err
	}
	if err := overlay(tree, before, after); err != nil {
		return nil, err
	}
	return json.Marshal(tree)
}

// overlay changes tree, which has a pod's or a pod template's metadata and spec.
func overlay(tree map[string]any, before, after *corev1.Pod) error {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	meta, spec := child(tree, "metadata"), child(tree, "spec")
	for _, field := range []struct {
		in            map[string]any
		name          string
		before, after any
	}{
		{meta, "labels", before.Labels, after.Labels},
		{meta, "annotations", before.Annotations, after.Annotations},
		{spec, "imagePullSecrets", before.Spec.ImagePullSecrets, after.Spec.ImagePullSecrets},
	} {
		if equality.Semantic.DeepEqual(field.before, field.after) {
			continue
		}
		v, err := toTree(field.after)
		if err != nil {
			return err
		}
		set(field.in, field.name, v)
	}
	if err := overlayList(spec, "volumes", before.Spec.Volumes, after.Spec.Volumes,
		func(v corev1.Volume) string { return v.Name }); err != nil {
		return err
	}
	containerName := func(c corev1.Container) string { return c.Name }
	if err := overlayList(spec, "containers", before.Spec.Containers, after.Spec.Containers, containerName); err != nil {
		return err
	}
	return overlayList(spec, "initContainers", before.Spec.InitContainers, after.Spec.InitContainers, containerName)
}

// overlayList makes in[name] a list like after: of the raw elements, with those
// fields replaced that have changed, and of new ones.
func overlayList[T any](in map[string]any, name string, before, after []T, key func(T) string) error {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	raw, _ := in[name].([]any)
	if len(raw) != len(before) {
		return fmt.Errorf("%s has %d elements in one reading and %d in another", name, len(before), len(raw))
	}
	old := map[string]int{}
	for i := range before {
		old[key(before[i])] = i
	}
	var list []any
	for i := range after {
		now, err := toTree(after[i])
		if err != nil {
			return err
		}
		j, ok := old[key(after[i])]
		if !ok || weirVolume(key(after[i])) || weirContainer(key(after[i])) {
			list = append(list, now)
			continue
		}
		was, err := toTree(before[j])
		if err != nil {
			return err
		}
		element, ok := raw[j].(map[string]any)
		if !ok {
			return fmt.Errorf("%s[%d] is not an object", name, j)
		}
		replaceFields(element, was.(map[string]any), now.(map[string]any))
		list = append(list, element)
	}
	set(in, name, list)
	return nil
}

func replaceFields(element, was, now map[string]any) {
	for field := range was {
		if _, ok := now[field]; !ok {
			delete(element, field)
		}
	}
	for field, v := range now {
		if !reflect.DeepEqual(was[field], v) {
			element[field] = v
		}
	}
}

// child is the object in[name], made if need be.
func child(in map[string]any, name string) map[string]any {
	m, ok := in[name].(map[string]any)
	if !ok {
		m = map[string]any{}
		in[name] = m
	}
	return m
}

// set in[name], or delete it where v is empty.
func set(in map[string]any, name string, v any) {
	if v == nil || reflect.ValueOf(v).Len() == 0 {
		delete(in, name)
		return
	}
	in[name] = v
}

func toTree(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return out, d.Decode(&out)
}

func decodeTree(raw []byte) (map[string]any, error) {
	var tree map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	return tree, nil
}
