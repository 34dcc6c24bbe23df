// SPDX-License-Identifier: Apache-2.0

package inject

// Code says why a pod was not injected, or what its owner should know. It is an
// event's reason and a metric's label.
type Code string

// Codes with EffectSkip: the pod runs without sidecar.
const (
	// NotEnabled: neither the pod nor its namespace is labelled.
	NotEnabled Code = "NotEnabled"
	// Disabled: the pod's label says disabled.
	Disabled Code = "Disabled"
	// HostNetwork: the pod uses the node's network.
	HostNetwork Code = "HostNetwork"
	// Windows: the pod runs on Windows nodes.
	Windows Code = "Windows"
	// StaticPod: the kubelet made the pod from a file and shows a mirror of it.
	StaticPod Code = "StaticPod"
	// ReservedPort: a container listens on a port of Weir.
	ReservedPort Code = "ReservedPort"
	// TooManyPorts: more named ports than the sidecar can take.
	TooManyPorts Code = "TooManyPorts"
	// NameTaken: a container or volume of the pod has a name that is Weir's.
	NameTaken Code = "NameTaken"
)

// Codes with EffectRefuse: the pod asked for something that cannot be done as
// written, and must not run as if it had not asked.
const (
	// InvalidLabel: weir.dev/inject is neither enabled nor disabled.
	InvalidLabel Code = "InvalidLabel"
	// InvalidAnnotation: an annotation of Weir cannot be read.
	InvalidAnnotation Code = "InvalidAnnotation"
)

// Codes with EffectNote: the pod is injected.
const (
	// AlreadyInjected: nothing had to be changed.
	AlreadyInjected Code = "AlreadyInjected"
	// PortUnnamed: under NamedPort, a port without name stays the app's.
	PortUnnamed Code = "PortUnnamed"
	// HostPort: under NamedPort, traffic to the node's port goes to the app.
	HostPort Code = "HostPort"
	// NetAdminForbidden: Redirect was asked for where Pod Security forbids it.
	NetAdminForbidden Code = "NetAdminForbidden"
	// PodLevelResources: the pod's resources are bounded as a whole.
	PodLevelResources Code = "PodLevelResources"
	// MeshProbes: Istio may stop the kubelet's probes of the sidecar.
	MeshProbes Code = "MeshProbes"
)

// Effect is what a Reason means for the pod.
type Effect int

// The effects.
const (
	EffectNote Effect = iota
	EffectSkip
	EffectRefuse
)

// Effect of a code.
func (c Code) Effect() Effect {
	switch c {
	case NotEnabled, Disabled, HostNetwork, Windows, StaticPod, ReservedPort, TooManyPorts, NameTaken:
		return EffectSkip
	case InvalidLabel, InvalidAnnotation:
		return EffectRefuse
	default:
		return EffectNote
	}
}

// Quiet says that nobody has to be told: the pod's owner wanted it so.
func (c Code) Quiet() bool { return c == NotEnabled || c == Disabled || c == AlreadyInjected }

// Reason is one finding about a pod.
type Reason struct {
	Code Code
	// Field is its path in the pod; empty where it is about the whole pod.
	Field string
	// Message is a sentence that says what is so and what to do.
	Message string
}

// String is "Code: field: message".
func (r Reason) String() string {
	if r.Field == "" {
		return string(r.Code) + ": " + r.Message
	}
	return string(r.Code) + ": " + r.Field + ": " + r.Message
}

// Outcome is the first skip or refusal among reasons; ok says that there is
// none, so that the pod has a sidecar.
func Outcome(reasons []Reason) (first Reason, ok bool) {
	for _, r := range reasons {
		if r.Code.Effect() != EffectNote {
			return r, false
		}
	}
	return Reason{}, true
}
