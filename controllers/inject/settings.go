// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"weir.dev/weir/api/podspec"
)

// defaultKeepPorts are port names that only monitoring uses.
const defaultKeepPorts = "metrics"

// settings are a profile and a pod's annotations, resolved.
type settings struct {
	capture   string // CaptureRedirect or CaptureNamedPort
	onMissing string
	exclude   map[uint16]bool
	excluded  []uint16 // in the annotation's order
	keep      map[string]bool
	resources corev1.ResourceRequirements
}

// captured says whether connections to a port reach the sidecar under Redirect.
func (s settings) captured(port uint16) bool { return !s.exclude[port] && !podspec.Reserved(port) }

// resolve reads the annotations of a pod. The reasons are refusals of what cannot
// be read, or notes.
func resolve(pod *corev1.Pod, profile Profile) (settings, []Reason) {
	s := settings{exclude: map[uint16]bool{}, keep: map[string]bool{}, resources: profile.resources()}
	var reasons []Reason
	refuse := func(annotation, format string, args ...any) {
		reasons = append(reasons, Reason{
			Code: InvalidAnnotation, Field: annotationPath(annotation), Message: fmt.Sprintf(format, args...),
		})
	}
	get := func(annotation, otherwise string) string {
		if v, ok := pod.Annotations[annotation]; ok {
			return v
		}
		return otherwise
	}

	asked := get(podspec.AnnotationCapture, profile.Capture)
	switch asked {
	case podspec.CaptureAuto, "", podspec.CaptureRedirect, podspec.CaptureNamedPort:
		s.capture = chooseCapture(pod, profile, asked)
	default:
		refuse(podspec.AnnotationCapture, "%q is not a way to capture; write Auto, Redirect or NamedPort.", asked)
	}
	switch s.onMissing = get(podspec.AnnotationOnMissingConfig, profile.OnMissingConfig); s.onMissing {
	case "":
		s.onMissing = podspec.MissingDeny
	case podspec.MissingDeny, podspec.MissingPassThrough:
	default:
		refuse(podspec.AnnotationOnMissingConfig, "%q is not known; write Deny or PassThrough.", s.onMissing)
	}
	for _, word := range words(pod.Annotations[podspec.AnnotationExcludeInboundPorts]) {
		n, err := strconv.ParseUint(word, 10, 16)
		if err != nil || n == 0 {
			refuse(podspec.AnnotationExcludeInboundPorts,
				"%q is not a port; write numbers from 1 to 65535, separated by commas.", word)
			continue
		}
		if !s.exclude[uint16(n)] {
			s.exclude[uint16(n)] = true
			s.excluded = append(s.excluded, uint16(n))
		}
	}
	for _, word := range words(get(podspec.AnnotationKeepPorts, defaultKeepPorts)) {
		s.keep[word] = true
	}
	quantity := func(annotation string, set func(corev1.ResourceRequirements, resource.Quantity) corev1.ResourceRequirements) {
		v, ok := pod.Annotations[annotation]
		if !ok {
			return
		}
		q, err := resource.ParseQuantity(v)
		if err != nil || q.Sign() <= 0 {
			refuse(annotation, "%q is not a positive quantity; write one like 100m or 256Mi.", v)
			return
		}
		s.resources = set(s.resources, q)
	}
	quantity(podspec.AnnotationCPU, withCPU)
	quantity(podspec.AnnotationMemory, withMemory)
	return s, append(reasons, notes(pod, profile, s, asked)...)
}

// chooseCapture resolves Auto. A mesh proxy decrypts before the traffic goes to
// the app's port by name or number inside the pod, which no prerouting rule sees
// as the app's; NamedPort stands behind it.
func chooseCapture(pod *corev1.Pod, profile Profile, asked string) string {
	switch {
	case asked == podspec.CaptureRedirect || asked == podspec.CaptureNamedPort:
		return asked
	case profile.forbidsNetAdmin() || meshed(pod) != "":
		return podspec.CaptureNamedPort
	default:
		return podspec.CaptureRedirect
	}
}

// istioExclude is Istio's annotation of ports that its proxy does not take.
const istioExclude = "traffic.sidecar.istio.io/excludeInboundPorts"

func notes(pod *corev1.Pod, profile Profile, s settings, asked string) []Reason {
	var reasons []Reason
	if asked == podspec.CaptureRedirect && profile.forbidsNetAdmin() {
		reasons = append(reasons, Reason{
			Code: NetAdminForbidden, Field: annotationPath(podspec.AnnotationCapture),
			Message: fmt.Sprintf("Redirect needs an init container with NET_ADMIN, which Pod Security level %q of the namespace "+
				"forbids: the API server will refuse the pod. Write Auto or NamedPort.", profile.NamespaceLabels[podSecurityEnforce]),
		})
	}
	if meshed(pod) == "istio-proxy" {
		status := strconv.Itoa(podspec.PortStatus)
		left := false
		for _, port := range words(pod.Annotations[istioExclude]) {
			left = left || port == status || port == "*"
		}
		if !left {
			reasons = append(reasons, Reason{
				Code: MeshProbes, Field: annotationPath(istioExclude),
				Message: fmt.Sprintf("Under strict mTLS Istio stops the kubelet's probes of the sidecar's port %s. "+
					"Set this annotation to %q.", status, status),
			})
		}
	}
	if pod.Spec.Resources != nil {
		reasons = append(reasons, Reason{
			Code: PodLevelResources, Field: "spec.resources",
			Message: "The pod bounds its resources as a whole, so the sidecar gets no requests and limits of its own. " +
				"Leave room for it.",
		})
	}
	return reasons
}

// meshed is the name of the mesh proxy in the pod, or empty.
func meshed(pod *corev1.Pod) string {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if meshContainer(list[i].Name) {
				return list[i].Name
			}
		}
	}
	return ""
}

func annotationPath(name string) string { return "metadata.annotations[" + name + "]" }

// words are the parts of a comma-separated list, trimmed, without empty ones.
func words(list string) []string {
	var out []string
	for _, w := range strings.Split(list, ",") {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, w)
		}
	}
	return out
}
