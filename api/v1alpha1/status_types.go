// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PolicyStatus is the part of the status that all kinds have.
type PolicyStatus struct {
	// conditions of the policy as a whole: Accepted, Programmed and, for routes, the state of their queue.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// targets has one entry for each targetRef.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +listMapKey=sectionName
	// +kubebuilder:validation:MaxItems=16
	Targets []TargetStatus `json:"targets,omitempty"`

	// rollout counts the pods of all accepted targets.
	// +optional
	Rollout *RolloutStatus `json:"rollout,omitempty"`
}

// TargetStatus is the state of a policy at one target.
type TargetStatus struct {
	// name of the target.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// sectionName of the target; "" where the policy names none.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=63
	SectionName string `json:"sectionName"`

	// conditions of the policy at this target.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// pods is the number of ready pods behind the target.
	// +optional
	Pods int32 `json:"pods"`
}

// RolloutStatus counts pods by what they enforce. Its numbers are written every 5 s at most.
type RolloutStatus struct {
	// pods is the number of ready pods of the accepted targets.
	// +optional
	Pods int32 `json:"pods"`

	// current is the number of pods that acknowledged this generation.
	// +optional
	Current int32 `json:"current"`

	// stale is the number of pods that enforce an earlier generation or none.
	// +optional
	Stale int32 `json:"stale"`

	// missingSidecar is the number of pods without a sidecar.
	// +optional
	MissingSidecar int32 `json:"missingSidecar"`
}

// ShadowStatus tells what a limit in mode Shadow would have done.
type ShadowStatus struct {
	// limit is the name of the limit.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Limit string `json:"limit"`

	// wouldDeny is the number of requests of the last hour that the limit would have denied.
	// +optional
	WouldDeny int64 `json:"wouldDeny"`
}

// ShadowOutcome tells how often an IdempotencyPolicy in mode Shadow would have done something.
type ShadowOutcome struct {
	// outcome is replay, refuse (with 400, 409, 413 or 422) or wait (for a request that is under way).
	// +required
	// +kubebuilder:validation:MaxLength=63
	Outcome string `json:"outcome"`

	// requests is the number of requests of the last hour that would have had it.
	// +optional
	Requests int64 `json:"requests"`
}

// BacklogStatus counts what a route has accepted and not yet finished.
type BacklogStatus struct {
	// pending is the number of operations that are not finished.
	// +optional
	Pending int64 `json:"pending"`

	// oldestUnackedAge is the age of the oldest delivery that has not been acknowledged.
	// +optional
	OldestUnackedAge Duration `json:"oldestUnackedAge,omitempty"`

	// deadLetters is the number of deliveries that were given up and not redriven.
	// +optional
	DeadLetters int64 `json:"deadLetters"`
}
