// SPDX-License-Identifier: Apache-2.0

package attach

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"weir.dev/weir/api/podspec"
)

// podView is a pod as Services and clients see it.
type podView struct {
	Pod
	labels map[string]string
	// byName are the app's TCP ports, whoever carries the name now.
	byName map[string]uint16
	// taken are the names that the sidecar carries, by the app's port.
	taken map[uint16]string
	// listens are the app's ports, by the sidecar's that stand for them.
	listens  map[uint16]uint16
	capture  string
	excluded map[uint16]bool
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func view(pod *corev1.Pod) *podView {
	v := &podView{
		Pod:      Pod{Name: pod.Name, UID: string(pod.UID)},
		labels:   pod.Labels,
		byName:   map[string]uint16{},
		taken:    map[uint16]string{},
		listens:  map[uint16]uint16{},
		excluded: map[uint16]bool{},
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			v.Ready = c.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
			v.ReadySince = c.LastTransitionTime.UTC()
		}
	}
	// The order is that of FindPort in Kubernetes: containers, then sidecars.
	for i := range pod.Spec.Containers {
		v.addPorts(pod.Spec.Containers[i].Ports)
	}
	_, injected := pod.Annotations[podspec.AnnotationInjected]
	for i := range pod.Spec.InitContainers {
		switch c := &pod.Spec.InitContainers[i]; {
		case injected && c.Name == podspec.ContainerSidecar:
			v.addSidecar(c)
		case injected && c.Name == podspec.ContainerCapture:
			v.addCapture(c)
		case c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways:
			v.addPorts(c.Ports)
		}
	}
	return v
}

func (v *podView) addPorts(ports []corev1.ContainerPort) {
	for _, p := range ports {
		if p.Name == "" || p.Protocol != corev1.ProtocolTCP && p.Protocol != "" {
			continue
		}
		if _, found := v.byName[p.Name]; !found {
			v.byName[p.Name] = uint16(p.ContainerPort)
		}
	}
}

func (v *podView) addSidecar(c *corev1.Container) {
	v.Sidecar = true
	v.capture = env(c, podspec.EnvCapture)
	// The list was written by the injector; one that cannot be read is no list.
	named, _ := podspec.DecodeNamedPorts(env(c, podspec.EnvNamedPorts))
	for _, n := range named {
		v.taken[n.Port] = n.Name
		v.listens[n.Listen] = n.Port
		if _, found := v.byName[n.Name]; !found {
			v.byName[n.Name] = n.Port
		}
	}
}

func (v *podView) addCapture(c *corev1.Container) {
	for s := range strings.SplitSeq(env(c, podspec.EnvExcludePorts), ",") {
		if n, err := strconv.ParseUint(s, 10, 16); err == nil {
			v.excluded[uint16(n)] = true
		}
	}
}

func env(c *corev1.Container, name string) string {
	i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name })
	if i < 0 {
		return ""
	}
	return c.Env[i].Value
}

// resolve returns the app's container port that a Service's port leads to; 0 when
// the pod has no port of that name.
func (v *podView) resolve(p *corev1.ServicePort) uint16 {
	if p.TargetPort.Type == intstr.String {
		return v.byName[p.TargetPort.StrVal]
	}
	n := uint16(p.TargetPort.IntVal)
	if n == 0 {
		n = uint16(p.Port)
	}
	if app, ok := v.listens[n]; ok {
		return app
	}
	return n
}

// bypass says how traffic to a container port through a Service's port goes around
// the sidecar; empty when it does not.
func (v *podView) bypass(s *service, p *corev1.ServicePort, number uint16) string {
	if !v.Sidecar {
		return ""
	}
	name, taken := v.taken[number]
	switch {
	case v.capture == podspec.CaptureRedirect && v.excluded[number]:
		return "Container port " + strconv.Itoa(int(number)) + " is named in " + podspec.AnnotationExcludeInboundPorts +
			" of the pods: take it out, and restart them."
	case v.capture != podspec.CaptureNamedPort:
		return ""
	case s.headless:
		return "Service " + s.name + " is headless, so its clients connect to the pods by address, around the sidecar: " +
			"give it a cluster IP, or set " + podspec.AnnotationCapture + ": Redirect on the pods."
	case taken && p.TargetPort.Type == intstr.String && p.TargetPort.StrVal == name:
		return ""
	case taken && p.TargetPort.Type == intstr.Int && v.listens[uint16(p.TargetPort.IntVal)] == number:
		return ""
	case taken:
		return "Service " + s.name + " leads port " + strconv.Itoa(int(p.Port)) + " to container port " + strconv.Itoa(int(number)) +
			" by number, around the sidecar: set its targetPort to " + strconv.Quote(name) + ", or " +
			podspec.AnnotationCapture + ": Redirect on the pods."
	default:
		return "Container port " + strconv.Itoa(int(number)) + " behind Service " + s.name + " has no name, or one that " +
			podspec.AnnotationKeepPorts + " or " + podspec.AnnotationExcludeInboundPorts + " leaves to the app, so the sidecar " +
			"does not take it: name the port and use the name as targetPort, or set " + podspec.AnnotationCapture + ": Redirect on the pods."
	}
}
