// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"weir.dev/weir/api/podspec"
)

// original is what the injector replaced, in podspec.AnnotationOriginal.
type original struct {
	Ports       []originalPort      `json:"ports,omitempty"`
	ProbePorts  []originalProbePort `json:"probePorts,omitempty"`
	Actions     []originalAction    `json:"actions,omitempty"`
	PullSecrets []string            `json:"pullSecrets,omitempty"`
}

// originalPort of a container was called Name and is now called As.
type originalPort struct {
	Container string `json:"container"`
	Name      string `json:"name"`
	As        string `json:"as"`
	Port      int32  `json:"port"`
}

// originalProbePort was Name and is now Port.
type originalProbePort struct {
	Container string            `json:"container"`
	Kind      podspec.ProbeKind `json:"kind"`
	Name      string            `json:"name"`
	Port      int32             `json:"port"`
}

// originalAction is where a probe or hook led before it led to the sidecar.
type originalAction struct {
	Container string                  `json:"container"`
	Kind      podspec.ProbeKind       `json:"kind"`
	HTTPGet   *corev1.HTTPGetAction   `json:"httpGet,omitempty"`
	TCPSocket *corev1.TCPSocketAction `json:"tcpSocket,omitempty"`
	GRPC      *corev1.GRPCAction      `json:"grpc,omitempty"`
}

func (o original) encode() (string, error) {
	if o.Ports == nil && o.ProbePorts == nil && o.Actions == nil && o.PullSecrets == nil {
		return "", nil
	}
	b, err := json.Marshal(o)
	return string(b), err
}

// Uninject returns the pod as it was before Inject, apart from what others have
// changed since. The pod given is never changed; one that was not injected comes
// back as it is.
func Uninject(pod *corev1.Pod) (*corev1.Pod, []Reason) {
	out, reasons := uninject(pod)
	if len(reasons) > 0 {
		return pod.DeepCopy(), reasons
	}
	return out, nil
}

func uninject(pod *corev1.Pod) (*corev1.Pod, []Reason) {
	out := pod.DeepCopy()
	if _, ok := pod.Annotations[podspec.AnnotationInjected]; !ok {
		return out, nil
	}
	var o original
	if record := pod.Annotations[podspec.AnnotationOriginal]; record != "" {
		if err := json.Unmarshal([]byte(record), &o); err != nil {
			return nil, []Reason{{
				Code: InvalidAnnotation, Field: annotationPath(podspec.AnnotationOriginal),
				Message: fmt.Sprintf("Weir's record of what it replaced cannot be read (%v). Remove Weir's annotations, containers "+
					"and volumes, and write the probes and port names anew.", err),
			}}
		}
	}
	out.Spec.InitContainers = without(out.Spec.InitContainers, func(c corev1.Container) bool { return weirContainer(c.Name) })
	out.Spec.Volumes = without(out.Spec.Volumes, func(v corev1.Volume) bool { return weirVolume(v.Name) })
	out.Spec.ImagePullSecrets = without(out.Spec.ImagePullSecrets, func(r corev1.LocalObjectReference) bool {
		return slices.Contains(o.PullSecrets, r.Name)
	})
	eachApp(out, o.restore)
	for _, a := range []string{podspec.AnnotationInjected, podspec.AnnotationImage, podspec.AnnotationOriginal} {
		delete(out.Annotations, a)
	}
	delete(out.Labels, podspec.LabelSidecar)
	if len(out.Annotations) == 0 {
		out.Annotations = nil
	}
	if len(out.Labels) == 0 {
		out.Labels = nil
	}
	return out, nil
}

// restore puts back what still is as the injector left it: what somebody has
// changed since is theirs.
func (o original) restore(_ string, c *corev1.Container) {
	for _, was := range o.Ports {
		for i := range c.Ports {
			if p := &c.Ports[i]; was.Container == c.Name && p.Name == was.As && p.ContainerPort == was.Port {
				p.Name = was.Name
			}
		}
	}
	eachAction(c, func(kind podspec.ProbeKind, a action) {
		for _, was := range o.ProbePorts {
			ref := a.port()
			if was.Container == c.Name && was.Kind == kind && ref != nil && *ref == intstr.FromInt32(was.Port) {
				*ref = intstr.FromString(was.Name)
			}
		}
		for _, was := range o.Actions {
			if was.Container != c.Name || was.Kind != kind || !toSidecar(c.Name, kind, a) {
				continue
			}
			*a.httpGet, *a.tcp = was.HTTPGet, was.TCPSocket
			if a.grpc != nil {
				*a.grpc = was.GRPC
			}
		}
	})
}

func toSidecar(container string, kind podspec.ProbeKind, a action) bool {
	get := *a.httpGet
	return get != nil && get.Port == intstr.FromInt32(podspec.PortStatus) && get.Path == podspec.ProbePath(container, kind)
}

// without is list less the entries that are dropped; nil when none are left.
func without[T any](list []T, drop func(T) bool) []T {
	list = slices.DeleteFunc(list, drop)
	if len(list) == 0 {
		return nil
	}
	return list
}
