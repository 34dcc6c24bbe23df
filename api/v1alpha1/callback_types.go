// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Callback is the partner's answer that comes in later, at a URL of ours.
type Callback struct {
	// baseURL is a public address of the receiver.
	// +required
	BaseURL DestinationURL `json:"baseURL"`

	// receiver is the HTTP port that takes callbacks. Absent means the source's target.
	// +optional
	Receiver *Receiver `json:"receiver,omitempty"`

	// inject the callback's URL into the delivery, at all of these places.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Inject []InjectPlace `json:"inject"`

	// awaitOn are the statuses of the partner after which a callback is awaited: 2xx or single ones. Any other 2xx is
	// the result itself.
	// +optional
	// +listType=set
	// +kubebuilder:default={"2xx"}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	AwaitOn []AwaitStatus `json:"awaitOn,omitempty"`

	// timeout after which the handler gets a timeout as the result.
	// +optional
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('720h')",message="A callback is awaited for 720h at the most: lower timeout."
	Timeout PositiveDuration `json:"timeout,omitempty"`

	// late says what becomes of a callback after the timeout.
	// +optional
	// +kubebuilder:default=Deliver
	Late Late `json:"late,omitempty"`

	// verify the callback's signature.
	// +optional
	Verify *Verify `json:"verify,omitempty"`

	// poll the partner while the callback is awaited.
	// +optional
	Poll *Poll `json:"poll,omitempty"`
}

// Receiver is the HTTP port that takes callbacks.
type Receiver struct {
	// targetRef is the port.
	// +required
	TargetRef TargetRef `json:"targetRef"`
}

// InjectPlace is where a callback's URL is put.
// +kubebuilder:validation:XValidation:rule="[has(self.jsonPointer), has(self.header), has(self.thriftField)].exists_one(x, x)",message="A place is one of three: set exactly one of jsonPointer, header and thriftField."
type InjectPlace struct {
	// jsonPointer into the delivery's JSON body.
	// +optional
	JSONPointer JSONPointer `json:"jsonPointer,omitempty"`

	// header of the delivery.
	// +optional
	Header HeaderName `json:"header,omitempty"`

	// thriftField of the call's arguments, by ids.
	// +optional
	ThriftField ThriftField `json:"thriftField,omitempty"`
}

// AwaitStatus is a status of success, or 2xx for all.
// +kubebuilder:validation:Pattern=`^2([0-9]{2}|xx)$`
// +kubebuilder:validation:MaxLength=3
type AwaitStatus string

// Late says what becomes of a callback after the timeout.
// +kubebuilder:validation:Enum=Deliver;Drop;DeadLetter
type Late string

const (
	// LateDeliver delivers it to the handler all the same.
	LateDeliver Late = "Deliver"
	// LateDrop answers 410 and forgets it.
	LateDrop Late = "Drop"
	// LateDeadLetter keeps it in the dead-letter topic.
	LateDeadLetter Late = "DeadLetter"
)

// VerifyScheme is a way in which callbacks are signed.
// +kubebuilder:validation:Enum=HMAC;StandardWebhooks
type VerifyScheme string

const (
	// VerifyHMAC is an HMAC in a header.
	VerifyHMAC VerifyScheme = "HMAC"
	// VerifyStandardWebhooks is what the Standard Webhooks specification says.
	VerifyStandardWebhooks VerifyScheme = "StandardWebhooks"
)

// Verify a callback's signature.
// +kubebuilder:validation:XValidation:rule="self.scheme != 'HMAC' || has(self.header)",fieldPath=".header",reason="FieldValueRequired",message="scheme is HMAC: name the header that carries the signature."
// +kubebuilder:validation:XValidation:rule="self.scheme == 'HMAC' || !(has(self.header) || has(self.prefix) && size(self.prefix) > 0 || has(self.timestampHeader) && size(self.timestampHeader) > 0 || self.algorithm != 'SHA256' || self.encoding != 'Hex')",fieldPath=".scheme",message="StandardWebhooks lays down headers and algorithm: remove header, algorithm, encoding, prefix and timestampHeader, or set scheme to HMAC."
type Verify struct {
	// scheme of the signature.
	// +optional
	// +kubebuilder:default=HMAC
	Scheme VerifyScheme `json:"scheme,omitempty"`

	// header that carries the signature.
	// +optional
	Header HeaderName `json:"header,omitempty"`

	HMACForm `json:",inline"`

	// secretRef holds the secret shared with the partner.
	// +required
	SecretRef SecretRef `json:"secretRef"`
}

// HMAC says how signatures are made.
type HMAC struct {
	// header that carries the signature.
	// +required
	Header HeaderName `json:"header"`

	HMACForm `json:",inline"`
}

// HMACForm says how the value of a signature header is made.
type HMACForm struct {
	// algorithm of the hash.
	// +optional
	// +kubebuilder:default=SHA256
	Algorithm HMACAlgorithm `json:"algorithm,omitempty"`

	// encoding of the signature.
	// +optional
	// +kubebuilder:default=Hex
	Encoding HMACEncoding `json:"encoding,omitempty"`

	// prefix before the signature, as in sha256=.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Prefix string `json:"prefix,omitempty"`

	// timestampHeader carries the time in seconds, which is signed as <time>.<body>. "" means that the body alone is.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]*$`
	// +kubebuilder:validation:MaxLength=256
	TimestampHeader string `json:"timestampHeader,omitempty"`

	// tolerance between that time and ours.
	// +optional
	// +kubebuilder:default="5m"
	Tolerance PositiveDuration `json:"tolerance,omitempty"`
}

// HMACAlgorithm is a hash function.
// +kubebuilder:validation:Enum=SHA256;SHA512;SHA1
type HMACAlgorithm string

const (
	// HMACSHA256 is HMAC with SHA-256.
	HMACSHA256 HMACAlgorithm = "SHA256"
	// HMACSHA512 is HMAC with SHA-512.
	HMACSHA512 HMACAlgorithm = "SHA512"
	// HMACSHA1 is HMAC with SHA-1, for partners that know no better.
	HMACSHA1 HMACAlgorithm = "SHA1"
)

// HMACEncoding writes bytes as text.
// +kubebuilder:validation:Enum=Hex;Base64
type HMACEncoding string

const (
	// HMACHex is hexadecimal.
	HMACHex HMACEncoding = "Hex"
	// HMACBase64 is base64 (RFC 4648, section 4).
	HMACBase64 HMACEncoding = "Base64"
)

// Poll the partner while a callback is awaited.
type Poll struct {
	// url of the operation at the partner. {$response.body#/pointer} stands for a value of the answer to the delivery.
	// +required
	// +kubebuilder:validation:Pattern=`^https?://[^/?#\s{}]+(/\S*)?$`
	// +kubebuilder:validation:MaxLength=256
	URL string `json:"url"`

	// every is the time between two polls.
	// +required
	Every WholeSeconds `json:"every"`
}

// Handler takes results. What it does not answer with 2xx is delivered again.
type Handler struct {
	// serviceRef is a Service of the same namespace.
	// +required
	ServiceRef ServiceRef `json:"serviceRef"`

	// timeout of an attempt.
	// +optional
	// +kubebuilder:default="15s"
	Timeout PositiveDuration `json:"timeout,omitempty"`

	// retry says when a failed delivery is tried again.
	// +optional
	// +kubebuilder:default={initial: "1s", max: "1h", jitter: 20, maxAttempts: 0}
	Retry HandlerRetry `json:"retry,omitzero"`
}

// HandlerRetry says when a failed delivery to the handler is tried again.
// +kubebuilder:validation:XValidation:rule="duration(self.initial) <= duration(self.max)",fieldPath=".max",message="The longest delay is no shorter than the first: raise max or lower initial."
// +kubebuilder:validation:XValidation:rule="self.maxAttempts != 0 || !has(self.onExhausted)",fieldPath=".onExhausted",message="maxAttempts 0 means for ever, so that nothing is exhausted: remove onExhausted, or set maxAttempts to 1 or more."
type HandlerRetry struct {
	// initial delay; each further one is twice as long.
	// +optional
	// +kubebuilder:default="1s"
	Initial PositiveDuration `json:"initial,omitempty"`

	// max is the longest delay.
	// +optional
	// +kubebuilder:default="1h"
	Max PositiveDuration `json:"max,omitempty"`

	// jitter in percent of a delay, either way.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Jitter *int32 `json:"jitter,omitempty"`

	// maxAttempts, the first included. 0 means for ever.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	MaxAttempts *int32 `json:"maxAttempts,omitempty"`

	// onExhausted says what becomes of a result after maxAttempts. Absent means DeadLetter, unless maxAttempts is 0.
	// +optional
	OnExhausted OnExhausted `json:"onExhausted,omitempty"`
}
