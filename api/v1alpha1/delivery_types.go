// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Deliver is where a route's requests or events go.
// +kubebuilder:validation:XValidation:rule="[has(self.url), has(self.serviceRef), has(self.endpoints)].exists_one(x, x)",message="A route has one kind of destination: set exactly one of url, serviceRef and endpoints."
// +kubebuilder:validation:XValidation:rule="!has(self.sign) || has(self.sign.secretRef) || (has(self.endpoints) && self.endpoints.all(e, has(e.secretRef)))",fieldPath=".sign.secretRef",reason="FieldValueRequired",message="A signature needs a secret: set sign.secretRef, or a secretRef at every endpoint."
type Deliver struct {
	// url of a partner.
	// +optional
	URL DestinationURL `json:"url,omitempty"`

	// serviceRef is a Service of the same namespace.
	// +optional
	ServiceRef *ServiceRef `json:"serviceRef,omitempty"`

	// endpoints each get a delivery of their own.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Endpoints []Endpoint `json:"endpoints,omitempty"`

	// timeout of an attempt.
	// +optional
	// +kubebuilder:default="15s"
	Timeout PositiveDuration `json:"timeout,omitempty"`

	// sign deliveries.
	// +optional
	Sign *Sign `json:"sign,omitempty"`

	// retry says when a failed delivery is tried again.
	// +optional
	// +kubebuilder:default={initial: "5s", max: "6h", jitter: 20, maxAttempts: 12}
	Retry DeliverRetry `json:"retry,omitzero"`

	// concurrency is how many deliveries are under way at once.
	// +optional
	// +kubebuilder:default=64
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	Concurrency int32 `json:"concurrency,omitempty"`

	// breaker pauses a destination that keeps failing.
	// +optional
	// +kubebuilder:default={failures: 20, openFor: "30s"}
	Breaker Breaker `json:"breaker,omitzero"`

	// egress narrows the hosts and ports that the operator's configuration allows.
	// +optional
	Egress *Egress `json:"egress,omitempty"`
}

// DestinationURL is the URL of a partner. Whether plain http is allowed is the operator's configuration.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && size(url(self).getHost()) > 0",message="Write a whole URL, as in https://bank.example/v2/payments."
type DestinationURL string

// ServiceRef is a port of a Service of the same namespace, and what is called there.
// +kubebuilder:validation:XValidation:rule="has(self.path) != has(self.thrift)",message="A Service is called over one protocol: set exactly one of path (HTTP) and thrift."
type ServiceRef struct {
	// name of the Service.
	// +required
	Name ObjectName `json:"name"`

	// port of the Service, by name or by number in quotes.
	// +required
	Port ObjectName `json:"port"`

	// path to which an HTTP request is posted.
	// +optional
	Path URLPath `json:"path,omitempty"`

	// thrift method that is called.
	// +optional
	Thrift *ThriftCall `json:"thrift,omitempty"`
}

// ThriftCall names a Thrift method.
type ThriftCall struct {
	// service is the prefix of a multiplexed name. Absent means that names have no prefix.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_.]*$`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Service string `json:"service,omitempty"`

	// method of the service.
	// +required
	Method ThriftMethod `json:"method"`
}

// Endpoint is a subscriber to events.
type Endpoint struct {
	// name of the endpoint.
	// +required
	Name ObjectName `json:"name"`

	// url of the endpoint.
	// +required
	URL DestinationURL `json:"url"`

	// types of events that the endpoint gets, as in order.paid or order.*. Absent means all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Types []EventType `json:"types,omitempty"`

	// secretRef holds the secret that signs this endpoint's deliveries.
	// +optional
	SecretRef *SecretRef `json:"secretRef,omitempty"`
}

// EventType is a type of events; .* at its end stands for all that begin so.
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_/:-]+(\.[A-Za-z0-9_/:-]+)*(\.\*)?$`
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
type EventType string

// Sign deliveries.
type Sign struct {
	// scheme of the signature.
	// +optional
	// +kubebuilder:default=StandardWebhooks
	Scheme SignScheme `json:"scheme,omitempty"`

	// secretRef holds the secret that signs. An endpoint's own comes first.
	// +optional
	SecretRef *SecretRef `json:"secretRef,omitempty"`
}

// SignScheme is a way to sign deliveries.
// +kubebuilder:validation:Enum=StandardWebhooks
type SignScheme string

// SignStandardWebhooks signs as the Standard Webhooks specification says.
const SignStandardWebhooks SignScheme = "StandardWebhooks"

// DeliverRetry says when a failed delivery is tried again.
// +kubebuilder:validation:XValidation:rule="duration(self.initial) <= duration(self.max)",fieldPath=".max",message="The longest delay is no shorter than the first: raise max or lower initial."
// +kubebuilder:validation:XValidation:rule="self.maxAttempts != 0 || !has(self.onExhausted)",fieldPath=".onExhausted",message="maxAttempts 0 means for ever, so that nothing is exhausted: remove onExhausted, or set maxAttempts to 1 or more."
type DeliverRetry struct {
	// initial delay; each further one is twice as long.
	// +optional
	// +kubebuilder:default="5s"
	Initial PositiveDuration `json:"initial,omitempty"`

	// max is the longest delay.
	// +optional
	// +kubebuilder:default="6h"
	Max PositiveDuration `json:"max,omitempty"`

	// jitter in percent of a delay, either way.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Jitter *int32 `json:"jitter,omitempty"`

	// maxAttempts, the first included. 0 means for ever.
	// +optional
	// +kubebuilder:default=12
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	MaxAttempts *int32 `json:"maxAttempts,omitempty"`

	// onExhausted says what becomes of a delivery after maxAttempts. Absent means DeadLetter, unless maxAttempts is 0.
	// +optional
	OnExhausted OnExhausted `json:"onExhausted,omitempty"`
}

// OnExhausted says what becomes of a delivery that was tried often enough.
// +kubebuilder:validation:Enum=DeadLetter;Drop
type OnExhausted string

const (
	// OnExhaustedDeadLetter keeps it in the dead-letter topic.
	OnExhaustedDeadLetter OnExhausted = "DeadLetter"
	// OnExhaustedDrop forgets it.
	OnExhaustedDrop OnExhausted = "Drop"
)

// Breaker pauses a destination that keeps failing.
type Breaker struct {
	// failures in a row that open the breaker.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Failures int32 `json:"failures,omitempty"`

	// openFor is how long nothing is delivered then.
	// +optional
	// +kubebuilder:default="30s"
	OpenFor PositiveDuration `json:"openFor,omitempty"`
}

// Egress narrows where deliveries may go.
type Egress struct {
	// allowHosts are names, *.suffix, or IP addresses. Absent means all that the operator's configuration allows.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	AllowHosts []EgressHost `json:"allowHosts,omitempty"`

	// allowPorts. Absent means all that the operator's configuration allows.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	AllowPorts []EgressPort `json:"allowPorts,omitempty"`
}

// EgressHost is a host name, *.suffix, or an IP address.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="isIP(self) || self.matches('^([*][.])?[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$')",message="Write a host as a name (bank.example), a suffix (*.bank.example) or an IP address."
type EgressHost string

// EgressPort is a TCP port.
// +kubebuilder:validation:Minimum=1
// +kubebuilder:validation:Maximum=65535
type EgressPort int32
