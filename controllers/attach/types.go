// SPDX-License-Identifier: Apache-2.0

package attach

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/config"
)

// PolicyID names a policy within its namespace.
type PolicyID = snapshot.PolicyID

// Policy is what attachment needs to know of one.
type Policy struct {
	ID      PolicyID
	Created time.Time
	Targets []v1alpha1.TargetRef
	// Matches is the protocol that the policy's matches are about; AUTO when they
	// do not say. It is what a port speaks that says nothing itself.
	Matches snapshot.Protocol
	// Only is HTTP or THRIFT where the policy matches nothing else: at a port that speaks
	// the other it is Invalid.
	Only snapshot.Protocol
	// Enforceable are the protocols under which this version can enforce the
	// policy; at other ports it is Unsupported.
	Enforceable []snapshot.Protocol
}

// Input is what one namespace has.
type Input struct {
	Services []corev1.Service
	Pods     []corev1.Pod
	Policies []Policy
	// Identity holds where no Service has an annotation.
	Identity config.Identity
}

// Result is everything that follows from an Input.
type Result struct {
	// Workloads by key.
	Workloads []Workload
	// Unselected are the pods that no Service selects, by name.
	Unselected []Pod
	// Targets of each policy, by name and section.
	Targets map[PolicyID][]Target
}

// Workload is pods that get one snapshot.
type Workload struct {
	// Key names the workload: a hash of what makes its pods one.
	Key string
	// Services that select it, by name.
	Services []string
	// Pods by name.
	Pods []Pod
	// Ports that are governed or opaque, by number.
	Ports []Port
}

// Port is a container port of the app.
type Port struct {
	Number   uint16
	Protocol snapshot.Protocol
	// Policies that govern it: names by kind.
	Policies map[string]string
	// Identity is canonical.
	Identity config.Identity
	// PassEncodedSlashes is weir.dev/encoded-slashes: pass.
	PassEncodedSlashes bool
	// Timeouts are in the order of a snapshot's.
	Timeouts []Timeout
	// MaxBody bounds request bodies; 0: not bounded.
	MaxBody int64
	// IDL makes requests into calls of a Thrift application; nil: it speaks Protocol.
	IDL *IDL
	// Names lead to it: service/port by name and by number, sorted.
	Names []string
}

// Pod is one that has not ended.
type Pod struct {
	Name, UID string
	// Workload is the key of the one it belongs to; empty where no Service selects it.
	Workload string
	// Ready pods count in status.
	Ready bool
	// ReadySince is when Ready last changed.
	ReadySince time.Time
	// Sidecar says that the pod was injected.
	Sidecar bool
}

// Target is what became of one targetRef.
type Target struct {
	Name, SectionName string
	// Reason of Accepted. ReasonPartiallyAccepted: at some of the ports.
	Reason v1alpha1.ConditionReason
	// Message is empty where there is nothing to say.
	Message string
	// Ports are the container ports at which the policy was accepted, by number.
	Ports []uint16
	// PortsIn are those that the pods of a workload have, by its key.
	PortsIn map[string][]uint16
	// Pods that have one of them, by name.
	Pods []Pod
	// Bypass are sentences about how clients reach these pods around the sidecar.
	Bypass []string
	// IdentityHeaders are believed at every accepted port.
	IdentityHeaders []string
}

// Accepted reports whether the policy governs something at the target, or will
// as soon as there are pods.
func (t *Target) Accepted() bool {
	return t.Reason == v1alpha1.ReasonAccepted || t.Reason == v1alpha1.ReasonPartiallyAccepted
}
