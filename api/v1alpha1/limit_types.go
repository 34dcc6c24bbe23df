// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// OnMissingKey says what holds for a request that lacks a member of the key.
// +kubebuilder:validation:Enum=ClientIP;Skip;Deny
type OnMissingKey string

const (
	// OnMissingKeyClientIP counts the request by the client's address.
	OnMissingKeyClientIP OnMissingKey = "ClientIP"
	// OnMissingKeySkip does not limit the request.
	OnMissingKeySkip OnMissingKey = "Skip"
	// OnMissingKeyDeny answers 400.
	OnMissingKeyDeny OnMissingKey = "Deny"
)

// Algorithm of a limit.
// +kubebuilder:validation:Enum=SlidingWindow;TokenBucket;FixedWindow;Concurrency
type Algorithm string

const (
	// AlgorithmSlidingWindow never admits more than limit in any window.
	AlgorithmSlidingWindow Algorithm = "SlidingWindow"
	// AlgorithmTokenBucket is GCRA: an even rate, with bursts.
	AlgorithmTokenBucket Algorithm = "TokenBucket"
	// AlgorithmFixedWindow starts afresh at each boundary.
	AlgorithmFixedWindow Algorithm = "FixedWindow"
	// AlgorithmConcurrency bounds requests in progress.
	AlgorithmConcurrency Algorithm = "Concurrency"
)

// CalendarPeriod is a unit of the calendar.
// +kubebuilder:validation:Enum=Day;Week;Month
type CalendarPeriod string

const (
	// CalendarDay starts at midnight.
	CalendarDay CalendarPeriod = "Day"
	// CalendarWeek starts on Monday at midnight (ISO 8601).
	CalendarWeek CalendarPeriod = "Week"
	// CalendarMonth starts on the first at midnight.
	CalendarMonth CalendarPeriod = "Month"
)

// Calendar is a window that begins where a day, week or month does.
type Calendar struct {
	// period of the calendar.
	// +required
	Period CalendarPeriod `json:"period"`

	// timeZone in which the period begins: a name of the IANA database, as in Europe/Berlin.
	// +optional
	// +kubebuilder:default=UTC
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`
}

// LimitScope says over what a limit counts.
// +kubebuilder:validation:Enum=Cluster;Pod
type LimitScope string

const (
	// LimitScopeCluster counts in the store, over all pods.
	LimitScopeCluster LimitScope = "Cluster"
	// LimitScopePod counts in each pod by itself.
	LimitScopePod LimitScope = "Pod"
)

// Accuracy says how closely a limit of scope Cluster follows the store.
// +kubebuilder:validation:Enum=Exact;Leased;Auto
type Accuracy string

const (
	// AccuracyExact asks the store for each request.
	AccuracyExact Accuracy = "Exact"
	// AccuracyLeased takes tokens from the store ahead of need.
	AccuracyLeased Accuracy = "Leased"
	// AccuracyAuto leases where that is possible and the limit is 100 per second or more.
	AccuracyAuto Accuracy = "Auto"
)

// Cost of a request, in units of the limit.
// +kubebuilder:validation:XValidation:rule="self.request > 0 || has(self.responseHeader)",fieldPath=".request",message="A request that costs nothing is never limited: set request to 1 or more, or name a responseHeader."
type Cost struct {
	// request is what a request costs before it is answered. 0: what responseHeader says, and else nothing.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	Request *int32 `json:"request,omitempty"`

	// responseHeader in which the application says what the request cost in the end: a whole number, 1000000000 at the most. It is
	// removed from the answer.
	// +optional
	ResponseHeader HeaderName `json:"responseHeader,omitempty"`
}

// Replays says what a replayed answer costs.
// +kubebuilder:validation:Enum=Count;Free
type Replays string

const (
	// ReplaysCount counts a replay as any request.
	ReplaysCount Replays = "Count"
	// ReplaysFree gives the cost of a replay back.
	ReplaysFree Replays = "Free"
)

// Override gives one key another limit.
// +kubebuilder:validation:XValidation:rule="has(self.limit) != (has(self.unlimited) && self.unlimited)",message="An override is either a limit or unlimited: set limit, or unlimited to true, not both."
type Override struct {
	// key has one value for each member of the limit's key, in the same order.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Key []KeyValue `json:"key"`

	// limit for this key.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9007199254740991
	Limit *int64 `json:"limit,omitempty"`

	// unlimited lifts the limit for this key.
	// +optional
	Unlimited bool `json:"unlimited,omitempty"`
}

// KeyValue is a value of a key member.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
type KeyValue string

// Penalty bans a key after many denials.
type Penalty struct {
	// denials that bring the ban.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Denials int32 `json:"denials"`

	// within which the denials are counted.
	// +required
	Within WholeSeconds `json:"within"`

	// ban is how long the key is denied everything.
	// +required
	Ban WholeSeconds `json:"ban"`
}

// LimitHeaders says whether a limit shows in RateLimit fields.
// +kubebuilder:validation:Enum=Emit;Hide
type LimitHeaders string

const (
	// LimitHeadersEmit shows the limit.
	LimitHeadersEmit LimitHeaders = "Emit"
	// LimitHeadersHide does not.
	LimitHeadersHide LimitHeaders = "Hide"
)

// ResponseHeaders says which fields tell clients about limits.
// +kubebuilder:validation:Enum=IETF;XRateLimit;Both;None
type ResponseHeaders string

const (
	// ResponseHeadersIETF is RateLimit and RateLimit-Policy.
	ResponseHeadersIETF ResponseHeaders = "IETF"
	// ResponseHeadersXRateLimit is X-RateLimit-Limit, -Remaining and -Reset.
	ResponseHeadersXRateLimit ResponseHeaders = "XRateLimit"
	// ResponseHeadersBoth is both.
	ResponseHeadersBoth ResponseHeaders = "Both"
	// ResponseHeadersNone is neither.
	ResponseHeadersNone ResponseHeaders = "None"
)
