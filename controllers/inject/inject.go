// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"weir.dev/weir/api/podspec"
)

// Inject returns the pod with a sidecar, and why it has none or what else is to
// be said; Outcome(reasons) tells which. The pod given is never changed.
//
// A pod that is skipped comes back without anything of Weir's, one that is
// refused as it was, and one that already is as profile wants it with
// AlreadyInjected.
func Inject(pod *corev1.Pod, profile Profile) (*corev1.Pod, []Reason) {
	base, reasons := uninject(pod)
	if len(reasons) > 0 {
		return pod.DeepCopy(), reasons
	}
	reasons = append(optedIn(base, profile), unfit(base)...)
	if r, ok := Outcome(reasons); !ok {
		if r.Code.Effect() == EffectRefuse {
			return pod.DeepCopy(), []Reason{r}
		}
		return base, []Reason{r}
	}
	s, reasons := resolve(base, profile)
	if _, ok := Outcome(reasons); !ok {
		return pod.DeepCopy(), reasons
	}
	out := base.DeepCopy()
	changes, more := takeOver(out, s)
	reasons = append(reasons, more...)
	if _, ok := Outcome(reasons); !ok {
		return base, reasons
	}
	if err := build(out, profile, s, changes); err != nil {
		return pod.DeepCopy(), append(reasons, Reason{Code: InvalidAnnotation, Message: err.Error()})
	}
	if equality.Semantic.DeepEqual(out, pod) {
		reasons = append(reasons, Reason{Code: AlreadyInjected, Message: "The pod already has the sidecar of this profile."})
	}
	return out, reasons
}

// changes are what takeOver did to the app's containers, and what the sidecar has
// to know of it.
type changes struct {
	original original
	named    []podspec.NamedPort
	probes   []podspec.Probe
}

// takeOver leads the app's traffic and probes to the sidecar.
func takeOver(pod *corev1.Pod, s settings) (changes, []Reason) {
	if s.capture == podspec.CaptureNamedPort {
		return takePorts(pod, s)
	}
	return takeProbes(pod, s), nil
}

// build adds Weir's own entries.
func build(pod *corev1.Pod, profile Profile, s settings, c changes) error {
	sidecar, err := sidecarContainer(pod, profile, s, c)
	if err != nil {
		return fmt.Errorf("encode what the sidecar has to know: %w", err)
	}
	added := []corev1.Container{sidecar}
	if s.capture == podspec.CaptureRedirect {
		added = append(added, captureContainer(pod, profile, s))
	}
	pod.Spec.InitContainers = append(added, pod.Spec.InitContainers...)
	pod.Spec.Volumes = append(pod.Spec.Volumes, volumes()...)
	for _, name := range profile.PullSecrets {
		ref := corev1.LocalObjectReference{Name: name}
		if !slices.Contains(pod.Spec.ImagePullSecrets, ref) {
			pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, ref)
			c.original.PullSecrets = append(c.original.PullSecrets, name)
		}
	}
	record, err := c.original.encode()
	if err != nil {
		return fmt.Errorf("encode what was replaced: %w", err)
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[podspec.AnnotationInjected] = profile.Version
	pod.Annotations[podspec.AnnotationImage] = profile.Image
	if record != "" {
		pod.Annotations[podspec.AnnotationOriginal] = record
	}
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[podspec.LabelSidecar] = podspec.SidecarInjected
	return nil
}

// optedIn is empty if the pod's label or else its namespace's asks for a sidecar.
func optedIn(pod *corev1.Pod, profile Profile) []Reason {
	value, field := pod.Labels[podspec.LabelInject], "metadata.labels["+podspec.LabelInject+"]"
	if value == "" {
		value, field = profile.NamespaceLabels[podspec.LabelInject], ""
	}
	switch {
	case value == podspec.InjectEnabled:
		return nil
	case field == "" || value == "":
		return []Reason{{
			Code: NotEnabled,
			Message: fmt.Sprintf("Neither the pod nor its namespace has the label %s: %s.",
				podspec.LabelInject, podspec.InjectEnabled),
		}}
	case value == podspec.InjectDisabled:
		return []Reason{{Code: Disabled, Field: field, Message: "The pod's label asks for no sidecar."}}
	default:
		return []Reason{{
			Code: InvalidLabel, Field: field,
			Message: fmt.Sprintf("%q is not known; write %s or %s.", value, podspec.InjectEnabled, podspec.InjectDisabled),
		}}
	}
}

// unfit says what makes a pod impossible to inject.
func unfit(pod *corev1.Pod) []Reason {
	var reasons []Reason
	add := func(code Code, field, format string, args ...any) {
		reasons = append(reasons, Reason{Code: code, Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if pod.Spec.HostNetwork {
		add(HostNetwork, "spec.hostNetwork",
			"The pod uses the node's network, where a sidecar would stand in the way of the node's own traffic. "+
				"Remove hostNetwork, or label the pod %s: %s.", podspec.LabelInject, podspec.InjectDisabled)
	}
	if windows(pod) {
		add(Windows, "spec.os", "Weir's sidecar runs on Linux only. Label the pod %s: %s.",
			podspec.LabelInject, podspec.InjectDisabled)
	}
	if _, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]; ok {
		add(StaticPod, annotationPath(corev1.MirrorPodAnnotationKey),
			"The kubelet runs the pod from a file, which no webhook changes. Run it by a Deployment or DaemonSet.")
	}
	eachContainer(pod, func(path string, c *corev1.Container) {
		if weirContainer(c.Name) {
			add(NameTaken, path+".name", "%q is the name of a container of Weir's. Rename it.", c.Name)
		}
		for i, p := range c.Ports {
			if tcp(p) && podspec.Reserved(uint16(p.ContainerPort)) {
				add(ReservedPort, fmt.Sprintf("%s.ports[%d].containerPort", path, i),
					"Port %d is Weir's, as are %d, %d, %d and %d to %d. Let the application listen on another one.", p.ContainerPort,
					podspec.PortStatus, podspec.PortAdmin, podspec.PortCapture, podspec.PortNamedFirst, podspec.PortNamedLast)
			}
		}
	})
	for i, v := range pod.Spec.Volumes {
		if weirVolume(v.Name) {
			add(NameTaken, fmt.Sprintf("spec.volumes[%d].name", i), "%q is the name of a volume of Weir's. Rename it.", v.Name)
		}
	}
	return reasons
}

func windows(pod *corev1.Pod) bool {
	return pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows || pod.Spec.NodeSelector[corev1.LabelOSStable] == "windows"
}

// eachContainer visits init containers too. It is in the order in which
// Kubernetes looks for a port by name: containers first.
func eachContainer(pod *corev1.Pod, visit func(path string, c *corev1.Container)) {
	for i := range pod.Spec.Containers {
		visit(fmt.Sprintf("spec.containers[%d]", i), &pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		visit(fmt.Sprintf("spec.initContainers[%d]", i), &pod.Spec.InitContainers[i])
	}
}

// eachApp visits the containers that run with the sidecar and are neither Weir's
// nor a mesh's.
func eachApp(pod *corev1.Pod, visit func(path string, c *corev1.Container)) {
	eachContainer(pod, func(path string, c *corev1.Container) {
		if weirContainer(c.Name) || meshContainer(c.Name) || !runsOn(pod, c) {
			return
		}
		visit(path, c)
	})
}

// runsOn says that a container runs beside the app: all do but init containers
// without restartPolicy Always.
func runsOn(pod *corev1.Pod, c *corev1.Container) bool {
	for i := range pod.Spec.InitContainers {
		if &pod.Spec.InitContainers[i] == c {
			return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		}
	}
	return true
}

func tcp(p corev1.ContainerPort) bool {
	return (p.Protocol == corev1.ProtocolTCP || p.Protocol == "") && p.ContainerPort > 0 && p.ContainerPort <= math.MaxUint16
}
