// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// IdempotencyPolicy makes repeated requests with one key take effect once.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=idempotencypolicies,categories=weir,shortName=idp
// +kubebuilder:metadata:labels="gateway.networking.k8s.io/policy=Direct"
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetRefs[0].name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Pods",type=integer,JSONPath=`.status.rollout.pods`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type IdempotencyPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what is wanted.
	// +required
	Spec IdempotencyPolicySpec `json:"spec"`

	// status is what is so.
	// +optional
	Status IdempotencyPolicyStatus `json:"status,omitzero"`
}

// IdempotencyPolicyList is a list of IdempotencyPolicy.
//
// +kubebuilder:object:root=true
type IdempotencyPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IdempotencyPolicy `json:"items"`
}

// IdempotencyPolicySpec is what an IdempotencyPolicy wants.
// +kubebuilder:validation:XValidation:rule="self.guarantee != 'AtMostOnce' || self.failurePolicy != 'Open'",fieldPath=".failurePolicy",message="AtMostOnce cannot hold while requests pass without the store: set failurePolicy to Closed, or guarantee to AtLeastOnce."
// +kubebuilder:validation:XValidation:rule="duration(self.retention) > duration(self.inFlight.lease)",fieldPath=".retention",message="A record must outlive the lease of its request: make retention longer than inFlight.lease."
// +kubebuilder:validation:XValidation:rule="duration(self.retention) > duration(self.upstream.timeout) + duration(self.upstream.lateWindow)",fieldPath=".retention",message="A record must outlive its request: make retention longer than upstream.timeout and upstream.lateWindow together."
// +kubebuilder:validation:XValidation:rule="duration(self.retention) <= duration('8784h')",fieldPath=".retention",message="A record is kept for 366 days (8784h) at the most: shorten retention."
// +kubebuilder:validation:XValidation:rule="duration(self.inFlight.wait) <= duration(self.upstream.timeout)",fieldPath=".inFlight.wait",message="After upstream.timeout there is nothing to wait for: make wait no longer than it."
// +kubebuilder:validation:XValidation:rule="!has(self.key.derive) || duration(self.key.derive.window) <= duration(self.retention)",fieldPath=".key.derive.window",message="A derived key is forgotten with its record: make window no longer than retention."
// +kubebuilder:validation:XValidation:rule="!self.scope.exists(s, has(s.pathParam)) || (has(self.match) && self.match.all(m, has(m.http) && has(m.http.path) && m.http.path.type == 'Template'))",fieldPath=".scope",message="A pathParam comes from a template: give every match a path of type Template with the parameter, or use another member in scope."
// +kubebuilder:validation:XValidation:rule="!has(self.match) || self.match.all(m, !has(m.http) || !has(m.http.methods) || m.http.methods.exists(x, !(x in ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'CONNECT'])))",fieldPath=".match",message="Requests of GET, HEAD, OPTIONS, TRACE and CONNECT are never recorded: name a method that changes something, such as POST, or remove methods."
type IdempotencyPolicySpec struct {
	// targetRefs are the Services whose ports the policy holds for.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a.name == b.name && (has(a.sectionName) ? a.sectionName : '') == (has(b.sectionName) ? b.sectionName : '')))",message="A target is named once: remove the repeated targetRef."
	TargetRefs []TargetRef `json:"targetRefs"`

	// mode Shadow reports what would be replayed or refused, and changes nothing.
	// +optional
	// +kubebuilder:default=Enforce
	Mode Mode `json:"mode,omitempty"`

	// match selects requests: those that any entry matches. Absent means all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Match []Match `json:"match,omitempty"`

	// guarantee: AtMostOnce never dispatches a request again whose outcome is not known; AtLeastOnce does.
	// +optional
	// +kubebuilder:default=AtMostOnce
	Guarantee Guarantee `json:"guarantee,omitempty"`

	// key says where a request's idempotency key is found.
	// +optional
	// +kubebuilder:default={sources: {{header: "Idempotency-Key"}}, onMissing: Pass, maxLength: 255}
	Key IdempotencyKey `json:"key,omitzero"`

	// scope says whose key it is: equal keys of different scopes are different. A missing value is a missing key.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Scope []KeyMember `json:"scope"`

	// fingerprint tells a retry from another request under the same key.
	// +optional
	// +kubebuilder:default={include: {Method,Path,Query,Body}, onMismatch: Reject}
	Fingerprint Fingerprint `json:"fingerprint,omitzero"`

	// request bounds the bodies that are read.
	// +optional
	// +kubebuilder:default={maxBytes: "1Mi", onOversize: Reject}
	Request IdempotencyRequest `json:"request,omitzero"`

	// inFlight says how duplicates wait for the first.
	// +optional
	// +kubebuilder:default={lease: "30s", wait: "5s"}
	InFlight InFlight `json:"inFlight,omitzero"`

	// upstream bounds how long the application may take.
	// +optional
	// +kubebuilder:default={timeout: "60s", lateWindow: "60s"}
	Upstream IdempotencyUpstream `json:"upstream,omitzero"`

	// response says what is recorded.
	// +optional
	// +kubebuilder:default={maxBytes: "256Ki", releaseStatuses: {401,407,408,425,429}}
	Response IdempotencyResponse `json:"response,omitzero"`

	// retention is how long an answer is replayed.
	// +optional
	// +kubebuilder:default="24h"
	Retention PositiveDuration `json:"retention,omitempty"`

	// encryption of recorded answers.
	// +optional
	Encryption *Encryption `json:"encryption,omitempty"`

	// storeRef is the store that holds records.
	// +optional
	// +kubebuilder:default={name: default}
	StoreRef StoreRef `json:"storeRef,omitzero"`

	// failurePolicy holds while the store is away: Closed (503), or Open with guarantee AtLeastOnce.
	// +optional
	// +kubebuilder:default=Closed
	// +kubebuilder:validation:Enum=Closed;Open
	FailurePolicy FailurePolicy `json:"failurePolicy,omitempty"`

	// thrift says how a refused call is answered.
	// +optional
	Thrift *ThriftException `json:"thrift,omitempty"`
}

// Guarantee of an IdempotencyPolicy.
// +kubebuilder:validation:Enum=AtMostOnce;AtLeastOnce
type Guarantee string

const (
	// GuaranteeAtMostOnce never dispatches a request again whose outcome is not known.
	GuaranteeAtMostOnce Guarantee = "AtMostOnce"
	// GuaranteeAtLeastOnce dispatches it again.
	GuaranteeAtLeastOnce Guarantee = "AtLeastOnce"
)

// IdempotencyKey says where a request's idempotency key is found.
// +kubebuilder:validation:XValidation:rule="self.onMissing != 'Derive' || has(self.derive)",fieldPath=".derive",reason="FieldValueRequired",message="onMissing is Derive: say in derive what the key is derived from, or set onMissing to Pass or Reject."
// +kubebuilder:validation:XValidation:rule="self.onMissing == 'Derive' || !has(self.derive)",fieldPath=".derive",message="Nothing is derived unless onMissing is Derive: set it so, or remove derive."
type IdempotencyKey struct {
	// sources in the order in which they are tried; the first that has a value gives the key.
	// +optional
	// +listType=atomic
	// +kubebuilder:default={{header: "Idempotency-Key"}}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Sources []ContentSource `json:"sources,omitempty"`

	// onMissing holds for requests without a key: Pass, Reject (400) or Derive (from content).
	// +optional
	// +kubebuilder:default=Pass
	OnMissing OnMissingIdempotencyKey `json:"onMissing,omitempty"`

	// derive a key from content.
	// +optional
	Derive *DeriveKey `json:"derive,omitempty"`

	// maxLength of a key in bytes; a longer one is refused with 400.
	// +optional
	// +kubebuilder:default=255
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	MaxLength int32 `json:"maxLength,omitempty"`
}

// OnMissingIdempotencyKey says what holds for requests without a key.
// +kubebuilder:validation:Enum=Pass;Reject;Derive
type OnMissingIdempotencyKey string

const (
	// OnMissingPass lets the request through unrecorded.
	OnMissingPass OnMissingIdempotencyKey = "Pass"
	// OnMissingReject answers 400.
	OnMissingReject OnMissingIdempotencyKey = "Reject"
	// OnMissingDerive makes a key from content.
	OnMissingDerive OnMissingIdempotencyKey = "Derive"
)

// DeriveKey makes a key from content.
type DeriveKey struct {
	// from these values, all of them.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	From []ContentSource `json:"from"`

	// window within which equal content is one request.
	// +optional
	// +kubebuilder:default="2m"
	Window WholeSeconds `json:"window,omitempty"`
}

// Fingerprint tells a retry from another request under the same key.
// +kubebuilder:validation:XValidation:rule="!has(self.excludeJSONPointers) || size(self.excludeJSONPointers) == 0 || self.include.exists(i, i == 'Body')",fieldPath=".excludeJSONPointers",message="Parts of a body can be left out only where the body is included: add Body to include, or remove excludeJSONPointers."
type Fingerprint struct {
	// include these parts of a request.
	// +optional
	// +listType=set
	// +kubebuilder:default={Method,Path,Query,Body}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Include []FingerprintPart `json:"include,omitempty"`

	// excludeJSONPointers are left out of a JSON body: what a client changes with each retry.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	ExcludeJSONPointers []JSONPointer `json:"excludeJSONPointers,omitempty"`

	// onMismatch: Reject answers 422, Warn replays and says so in a header.
	// +optional
	// +kubebuilder:default=Reject
	OnMismatch OnMismatch `json:"onMismatch,omitempty"`
}

// FingerprintPart is a part of a request.
// +kubebuilder:validation:Enum=Method;Path;Query;Body
type FingerprintPart string

const (
	// FingerprintMethod is the method of HTTP or Thrift.
	FingerprintMethod FingerprintPart = "Method"
	// FingerprintPath is the path.
	FingerprintPath FingerprintPart = "Path"
	// FingerprintQuery is the query.
	FingerprintQuery FingerprintPart = "Query"
	// FingerprintBody is the body, or a Thrift call's arguments.
	FingerprintBody FingerprintPart = "Body"
)

// OnMismatch says what holds for another request under a key that is taken.
// +kubebuilder:validation:Enum=Reject;Warn
type OnMismatch string

const (
	// OnMismatchReject answers 422.
	OnMismatchReject OnMismatch = "Reject"
	// OnMismatchWarn replays and says so.
	OnMismatchWarn OnMismatch = "Warn"
)

// IdempotencyRequest bounds the bodies that are read.
// +kubebuilder:validation:XValidation:rule="quantity(self.maxBytes).compareTo(quantity('16Mi')) <= 0",fieldPath=".maxBytes",message="A body is held in the sidecar's memory until it is known whether it is a retry: 16Mi is the most; for larger ones set onOversize to Pass."
type IdempotencyRequest struct {
	// maxBytes of a request's body, 16Mi at the most.
	// +optional
	// +kubebuilder:default="1Mi"
	MaxBytes ByteSize `json:"maxBytes,omitempty"`

	// onOversize: Reject answers 413, Pass lets the request through unrecorded (Idempotency-Status: ignored).
	// +optional
	// +kubebuilder:default=Reject
	OnOversize OnOversize `json:"onOversize,omitempty"`
}

// OnOversize says what holds for requests with a body that is too large.
// +kubebuilder:validation:Enum=Reject;Pass
type OnOversize string

const (
	// OnOversizeReject answers 413.
	OnOversizeReject OnOversize = "Reject"
	// OnOversizePass lets the request through unrecorded.
	OnOversizePass OnOversize = "Pass"
)

// InFlight says how duplicates wait for the first.
// +kubebuilder:validation:XValidation:rule="duration(self.lease) >= duration('100ms')",fieldPath=".lease",message="A lease is renewed three times before it ends, through the network: make it 100ms at the least."
type InFlight struct {
	// lease after which a first request that shows no life is taken for lost.
	// +optional
	// +kubebuilder:default="30s"
	Lease PositiveDuration `json:"lease,omitempty"`

	// wait is how long a duplicate waits for the first's answer before it is answered 409. 0s means not at all.
	// +optional
	// +kubebuilder:default="5s"
	Wait Duration `json:"wait,omitempty"`
}

// IdempotencyUpstream bounds how long the application may take.
// +kubebuilder:validation:XValidation:rule="duration(self.timeout) <= duration('24h')",fieldPath=".timeout",message="An answer is awaited for 24h at the most: shorten timeout."
// +kubebuilder:validation:XValidation:rule="duration(self.lateWindow) <= duration('24h')",fieldPath=".lateWindow",message="A late answer is awaited for 24h at the most: shorten lateWindow."
type IdempotencyUpstream struct {
	// timeout after which the client is answered 504.
	// +optional
	// +kubebuilder:default="60s"
	Timeout PositiveDuration `json:"timeout,omitempty"`

	// lateWindow is how much longer the application's answer is awaited, to be recorded.
	// +optional
	// +kubebuilder:default="60s"
	LateWindow Duration `json:"lateWindow,omitempty"`
}

// IdempotencyResponse says what is recorded.
// +kubebuilder:validation:XValidation:rule="quantity(self.maxBytes).compareTo(quantity('4Mi')) <= 0",fieldPath=".maxBytes",message="A recorded body is one value in the store: 4Mi is the most. Longer answers are passed on without being kept."
type IdempotencyResponse struct {
	// maxBytes of a recorded body, 4Mi at the most. A longer answer is passed on, and its key is kept without it.
	// +optional
	// +kubebuilder:default="256Ki"
	MaxBytes ByteSize `json:"maxBytes,omitempty"`

	// releaseStatuses are not recorded and set the key free: answers that say "try again".
	// +optional
	// +listType=set
	// +kubebuilder:default={401,407,408,425,429}
	// +kubebuilder:validation:MaxItems=32
	ReleaseStatuses []HTTPStatus `json:"releaseStatuses,omitempty"`

	// denyHeaders are left out of records.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	DenyHeaders []HeaderName `json:"denyHeaders,omitempty"`
}

// HTTPStatus is a final status of HTTP.
// +kubebuilder:validation:Minimum=200
// +kubebuilder:validation:Maximum=599
type HTTPStatus int32

// Encryption of recorded answers.
type Encryption struct {
	// secretRef holds the key that encrypts.
	// +required
	SecretRef SecretRef `json:"secretRef"`
}

// IdempotencyPolicyStatus is what is so.
type IdempotencyPolicyStatus struct {
	PolicyStatus `json:",inline"`

	// shadow says what the policy would have done, in mode Shadow.
	// +optional
	// +listType=map
	// +listMapKey=outcome
	// +kubebuilder:validation:MaxItems=8
	Shadow []ShadowOutcome `json:"shadow,omitempty"`
}
