// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/controllers/keys"
)

// ByObject is how the manager's cache keeps what this package reads: pods without
// all that attachment does not need, and of Secrets only those of the operator's
// own namespace that are labelled.
func ByObject(operatorNamespace string) map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&corev1.Pod{}: {Transform: func(o any) (any, error) {
			if p, ok := o.(*corev1.Pod); ok {
				return trim(p), nil
			}
			return o, nil
		}},
		&corev1.Service{}: {Transform: cache.TransformStripManagedFields()},
		&corev1.Secret{}: {
			Namespaces: map[string]cache.Config{operatorNamespace: {}},
			Label:      labels.SelectorFromSet(labels.Set{keys.LabelUse: keys.UseTrue}),
			Transform:  cache.TransformStripManagedFields(),
		},
	}
}

// trim returns of a pod what decides about it: who it is, who selects it, which
// ports it has, how it was injected, whether it is ready.
func trim(p *corev1.Pod) *corev1.Pod {
	out := &corev1.Pod{
		TypeMeta: p.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Name: p.Name, Namespace: p.Namespace, UID: p.UID, ResourceVersion: p.ResourceVersion,
			Labels: p.Labels, DeletionTimestamp: p.DeletionTimestamp,
		},
	}
	for k, v := range p.Annotations {
		if strings.HasPrefix(k, "weir.dev/") && k != podspec.AnnotationOriginal {
			if out.Annotations == nil {
				out.Annotations = map[string]string{}
			}
			out.Annotations[k] = v
		}
	}
	for i := range p.Spec.Containers {
		out.Spec.Containers = append(out.Spec.Containers, trimContainer(&p.Spec.Containers[i]))
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if c.RestartPolicy != nil || c.Name == podspec.ContainerCapture {
			out.Spec.InitContainers = append(out.Spec.InitContainers, trimContainer(c))
		}
	}
	out.Status.Phase = p.Status.Phase
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			out.Status.Conditions = []corev1.PodCondition{{Type: c.Type, Status: c.Status, LastTransitionTime: c.LastTransitionTime}}
		}
	}
	return out
}

func trimContainer(c *corev1.Container) corev1.Container {
	out := corev1.Container{Name: c.Name, Ports: c.Ports, RestartPolicy: c.RestartPolicy}
	if c.Name != podspec.ContainerSidecar && c.Name != podspec.ContainerCapture {
		return out
	}
	read := []string{podspec.EnvCapture, podspec.EnvNamedPorts, podspec.EnvExcludePorts}
	for _, e := range c.Env {
		if slices.Contains(read, e.Name) {
			out.Env = append(out.Env, e)
		}
	}
	return out
}

// Injected reports whether the webhook has injected a pod.
func Injected(pod metav1.Object) bool {
	_, ok := pod.GetAnnotations()[podspec.AnnotationInjected]
	return ok
}
