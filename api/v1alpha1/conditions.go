// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// ConditionType is the type of a condition in a policy's status.
type ConditionType string

const (
	// ConditionAccepted says whether the operator took the policy.
	ConditionAccepted ConditionType = "Accepted"
	// ConditionProgrammed says whether the pods enforce it. Only acknowledgements of sidecars make it True.
	ConditionProgrammed ConditionType = "Programmed"
	// ConditionTopicsReady says whether a route's topics are as durable as promised.
	ConditionTopicsReady ConditionType = "TopicsReady"
	// ConditionDispatcherReady says whether the namespace's dispatcher serves the route.
	ConditionDispatcherReady ConditionType = "DispatcherReady"
	// ConditionDestinationHealthy says whether a route's destinations answer.
	ConditionDestinationHealthy ConditionType = "DestinationHealthy"
	// ConditionDeadLetterEmpty says whether nothing was given up.
	ConditionDeadLetterEmpty ConditionType = "DeadLetterEmpty"
)

// ConditionReason is the reason of a condition in a policy's status.
type ConditionReason string

// ReasonPending is the reason of every condition that is Unknown because the operator has only just seen the policy.
const ReasonPending ConditionReason = "Pending"

// Reasons of Accepted. The first two go with True, the rest with False.
const (
	// ReasonAccepted: every target took the policy.
	ReasonAccepted ConditionReason = "Accepted"
	// ReasonPartiallyAccepted: at least one target took it, and at least one did not; the message says which.
	ReasonPartiallyAccepted ConditionReason = "PartiallyAccepted"
	// ReasonInvalid: the policy contradicts itself, the configuration or its target.
	ReasonInvalid ConditionReason = "Invalid"
	// ReasonUnsupported: a field asks for what this version does not do; the message has its path.
	ReasonUnsupported ConditionReason = "Unsupported"
	// ReasonTargetNotFound: the Service or its port is not there.
	ReasonTargetNotFound ConditionReason = "TargetNotFound"
	// ReasonConflicted: another policy governs the port; the message names it.
	ReasonConflicted ConditionReason = "Conflicted"
	// ReasonRefNotPermitted: a Secret, store or cluster may not be used from this namespace.
	ReasonRefNotPermitted ConditionReason = "RefNotPermitted"
)

// Reasons of Programmed.
const (
	// ReasonProgrammed (True): every ready pod of the accepted targets acknowledged this generation.
	ReasonProgrammed ConditionReason = "Programmed"
	// ReasonPartiallyProgrammed (True): one did, others lag, refuse or are disconnected; the message has counts.
	ReasonPartiallyProgrammed ConditionReason = "PartiallyProgrammed"
	// ReasonReconciling (False): acknowledgements of this generation are awaited.
	ReasonReconciling ConditionReason = "Reconciling"
	// ReasonRejected (False): every pod refused it; the message has their reason.
	ReasonRejected ConditionReason = "Rejected"
	// ReasonNoSidecars (False): the pods have no sidecar; the message says how to get one.
	ReasonNoSidecars ConditionReason = "NoSidecars"
	// ReasonTrafficBypassesSidecar (False): the port is reached around the sidecar.
	ReasonTrafficBypassesSidecar ConditionReason = "TrafficBypassesSidecar"
	// ReasonEncryptedTraffic (False): the port receives TLS, which the sidecar cannot read.
	ReasonEncryptedTraffic ConditionReason = "EncryptedTraffic"
	// ReasonNoPods (Unknown): the targets select no ready pod.
	ReasonNoPods ConditionReason = "NoPods"
)
