// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RateLimitPolicy limits how many requests the ports of its targets take.
//
// Counters belong to the policy and the limit, and are shared by all targets.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=weir,shortName=rlp
// +kubebuilder:metadata:labels="gateway.networking.k8s.io/policy=Direct"
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetRefs[0].name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Pods",type=integer,JSONPath=`.status.rollout.pods`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RateLimitPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what is wanted.
	// +required
	Spec RateLimitPolicySpec `json:"spec"`

	// status is what is so.
	// +optional
	Status RateLimitPolicyStatus `json:"status,omitzero"`
}

// RateLimitPolicyList is a list of RateLimitPolicy.
//
// +kubebuilder:object:root=true
type RateLimitPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RateLimitPolicy `json:"items"`
}

// RateLimitPolicySpec is what a RateLimitPolicy wants.
type RateLimitPolicySpec struct {
	// targetRefs are the Services whose ports are limited.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a.name == b.name && (has(a.sectionName) ? a.sectionName : '') == (has(b.sectionName) ? b.sectionName : '')))",message="A target is named once: remove the repeated targetRef."
	TargetRefs []TargetRef `json:"targetRefs"`

	// mode Shadow counts and reports, and never denies.
	// +optional
	// +kubebuilder:default=Enforce
	Mode Mode `json:"mode,omitempty"`

	// exempt requests are neither counted nor limited.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Exempt []Exemption `json:"exempt,omitempty"`

	// limits that hold side by side: a request must be within all that match it.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Limits []Limit `json:"limits"`

	// storeRef is the store that counts for limits of scope Cluster.
	// +optional
	// +kubebuilder:default={name: default}
	StoreRef StoreRef `json:"storeRef,omitzero"`

	// failurePolicy holds while the store is away: LocalFallback (limit ÷ ready pods, at least 1 per pod), Open, or
	// Closed (503).
	// +optional
	// +kubebuilder:default=LocalFallback
	// +kubebuilder:validation:Enum=LocalFallback;Open;Closed
	FailurePolicy FailurePolicy `json:"failurePolicy,omitempty"`

	// response says how clients learn of limits.
	// +optional
	// +kubebuilder:default={headers: IETF}
	Response RateLimitResponse `json:"response,omitzero"`
}

// Exemption selects requests that are neither counted nor limited.
// +kubebuilder:validation:XValidation:rule="has(self.sourceCIDR) != has(self.header)",message="An exemption has one criterion: set exactly one of sourceCIDR and header."
type Exemption struct {
	// sourceCIDR holds the client's address, as in 10.1.0.0/16.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="Write sourceCIDR as an address and a prefix length, as in 10.1.0.0/16 or fd00::/8."
	SourceCIDR string `json:"sourceCIDR,omitempty"`

	// header that a trusted proxy sets. It counts only if it is one of the identity headers.
	// +optional
	Header *HeaderMatch `json:"header,omitempty"`
}

// Limit bounds how often something may happen.
// +kubebuilder:validation:XValidation:rule="self.algorithm != 'Concurrency' || !(has(self.window) || has(self.calendar))",fieldPath=".algorithm",message="A Concurrency limit bounds requests in progress and has no window: remove window and calendar."
// +kubebuilder:validation:XValidation:rule="self.algorithm == 'Concurrency' || has(self.window) || has(self.calendar)",fieldPath=".window",reason="FieldValueRequired",message="A limit holds within a time: set window, or calendar with algorithm FixedWindow."
// +kubebuilder:validation:XValidation:rule="!(has(self.window) && has(self.calendar))",fieldPath=".calendar",message="A limit has one window: set only one of window and calendar."
// +kubebuilder:validation:XValidation:rule="!has(self.calendar) || self.algorithm == 'FixedWindow' || self.algorithm == 'Concurrency'",fieldPath=".calendar",message="Calendar windows are fixed: set algorithm to FixedWindow, or use window in place of calendar."
// +kubebuilder:validation:XValidation:rule="!has(self.burst) || self.algorithm == 'TokenBucket'",fieldPath=".burst",message="Only TokenBucket has a burst: remove burst, or set algorithm to TokenBucket."
// +kubebuilder:validation:XValidation:rule="!has(self.burst) || self.burst <= 10 * self.limit",fieldPath=".burst",message="A burst is ten times the limit at the most: lower burst."
// +kubebuilder:validation:XValidation:rule="self.limit <= 1000000 * (has(self.window) ? duration(self.window).getSeconds() : !has(self.calendar) ? 1 : self.calendar.period == 'Day' ? 86400 : self.calendar.period == 'Week' ? 604800 : 2419200)",fieldPath=".limit",message="A limit is a million per second of its window at the most (Concurrency: a million): lower limit."
// +kubebuilder:validation:XValidation:rule="!has(self.overrides) || self.overrides.all(o, !has(o.limit) || o.limit <= 1000000 * (has(self.window) ? duration(self.window).getSeconds() : !has(self.calendar) ? 1 : self.calendar.period == 'Day' ? 86400 : self.calendar.period == 'Week' ? 604800 : 2419200))",fieldPath=".overrides",message="The limit of an override is a million per second of the window at the most (Concurrency: a million): lower it."
// +kubebuilder:validation:XValidation:rule="!has(self.overrides) || self.overrides.all(o, has(self.key) && size(o.key) == size(self.key))",fieldPath=".overrides",message="An override's key has one value for each member of the limit's key, in the same order: correct the number of values."
// +kubebuilder:validation:XValidation:rule="self.accuracy != 'Leased' || self.scope == 'Cluster'",fieldPath=".accuracy",message="Leases are taken from the store, which a limit of scope Pod does not use: set scope to Cluster, or remove accuracy."
// +kubebuilder:validation:XValidation:rule="self.accuracy != 'Leased' || self.algorithm == 'TokenBucket'",fieldPath=".accuracy",message="Only tokens can be leased: set algorithm to TokenBucket, or accuracy to Exact or Auto."
// +kubebuilder:validation:XValidation:rule="self.accuracy != 'Leased' || !has(self.penalty)",fieldPath=".accuracy",message="Denials that a penalty counts have to reach the store each time: remove penalty, or set accuracy to Exact or Auto."
// +kubebuilder:validation:XValidation:rule="self.algorithm != 'SlidingWindow' || self.limit <= 4294967295",fieldPath=".limit",message="A SlidingWindow counts to 4294967295 at the most: lower limit, or set algorithm to TokenBucket."
// +kubebuilder:validation:XValidation:rule="self.algorithm != 'SlidingWindow' || !has(self.overrides) || self.overrides.all(o, !has(o.limit) || o.limit <= 4294967295)",fieldPath=".overrides",message="A SlidingWindow counts to 4294967295 at the most: lower the limit of the override, or set algorithm to TokenBucket."
// +kubebuilder:validation:XValidation:rule="!has(self.window) || duration(self.window) <= duration('8784h')",fieldPath=".window",message="A window is 366 days (8784h) at the most: shorten it, or use calendar with algorithm FixedWindow."
// +kubebuilder:validation:XValidation:rule="!has(self.cost) || self.algorithm != 'Concurrency'",fieldPath=".cost",message="A Concurrency limit counts each request in progress once: remove cost."
// +kubebuilder:validation:XValidation:rule="!has(self.cost) || self.cost.request <= (has(self.burst) ? self.burst : self.limit)",fieldPath=".cost.request",message="A request that costs more than the limit (or its burst) could never pass: lower cost.request."
type Limit struct {
	// name of the limit, as clients see it in RateLimit fields.
	// +required
	Name ObjectName `json:"name"`

	// mode overrides the policy's.
	// +optional
	Mode Mode `json:"mode,omitempty"`

	// match selects requests: those that any entry matches. Absent means all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Match []Match `json:"match,omitempty"`

	// key says whose requests are counted together: those that agree in all members. Absent means one count for all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Key []KeyMember `json:"key,omitempty"`

	// onMissingKey holds for requests that lack a member of the key: ClientIP counts them by address, Skip does not
	// limit them, Deny answers 400.
	// +optional
	// +kubebuilder:default=ClientIP
	OnMissingKey OnMissingKey `json:"onMissingKey,omitempty"`

	// algorithm: SlidingWindow never admits more than limit in any window, TokenBucket (GCRA) evens out and allows
	// bursts, FixedWindow starts afresh at each boundary, Concurrency bounds requests in progress.
	// +optional
	// +kubebuilder:default=SlidingWindow
	Algorithm Algorithm `json:"algorithm,omitempty"`

	// limit is how many may pass within the window, a million per second at the most.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9007199254740991
	Limit int64 `json:"limit"`

	// window in whole seconds.
	// +optional
	Window WholeSeconds `json:"window,omitempty"`

	// calendar takes the place of window: the count starts afresh with each day, week or month.
	// +optional
	Calendar *Calendar `json:"calendar,omitempty"`

	// burst is how many may pass at once under TokenBucket. Absent means limit.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=90071992547409910
	Burst *int64 `json:"burst,omitempty"`

	// scope: Cluster counts in the store over all pods, Pod counts in each pod by itself.
	// +optional
	// +kubebuilder:default=Cluster
	Scope LimitScope `json:"scope,omitempty"`

	// accuracy: Exact asks the store each time, Leased takes tokens from it ahead of need, Auto leases where that is
	// possible and the limit is 100 per second or more.
	// +optional
	// +kubebuilder:default=Auto
	Accuracy Accuracy `json:"accuracy,omitempty"`

	// cost of a request. Absent means 1.
	// +optional
	Cost *Cost `json:"cost,omitempty"`

	// replays says what a replayed answer of an IdempotencyPolicy costs: Count (as any request) or Free.
	// +optional
	// +kubebuilder:default=Count
	Replays Replays `json:"replays,omitempty"`

	// overrides give other limits to single keys; burst ÷ limit stays.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Overrides []Override `json:"overrides,omitempty"`

	// penalty bans a key that goes on after many denials.
	// +optional
	Penalty *Penalty `json:"penalty,omitempty"`

	// headers Hide keeps this limit out of RateLimit fields.
	// +optional
	// +kubebuilder:default=Emit
	Headers LimitHeaders `json:"headers,omitempty"`
}

// RateLimitResponse says how clients learn of limits.
type RateLimitResponse struct {
	// headers: IETF (RateLimit and RateLimit-Policy), XRateLimit (X-RateLimit-*), Both or None.
	// +optional
	// +kubebuilder:default=IETF
	Headers ResponseHeaders `json:"headers,omitempty"`

	// thrift says how a denied call is answered.
	// +optional
	Thrift *RateLimitThriftResponse `json:"thrift,omitempty"`
}

// RateLimitThriftResponse says how a denied Thrift call is answered.
type RateLimitThriftResponse struct {
	// exceptionCode of the TApplicationException. 6 is INTERNAL_ERROR.
	// +optional
	// +kubebuilder:default=6
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	ExceptionCode *int32 `json:"exceptionCode,omitempty"`

	ThriftException `json:",inline"`
}

// ThriftException says which exception answers a refused call.
type ThriftException struct {
	// exceptionField is the id under which the methods declare the exception that answers. 0 means a
	// TApplicationException.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=32767
	ExceptionField int32 `json:"exceptionField,omitempty"`

	// onewayMethods are declared oneway in the IDL: nothing may answer them, whatever the message type says.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	OnewayMethods []ThriftMethod `json:"onewayMethods,omitempty"`
}

// RateLimitPolicyStatus is what is so.
type RateLimitPolicyStatus struct {
	PolicyStatus `json:",inline"`

	// shadow has one entry for each limit in mode Shadow.
	// +optional
	// +listType=map
	// +listMapKey=limit
	// +kubebuilder:validation:MaxItems=32
	Shadow []ShadowStatus `json:"shadow,omitempty"`
}
