// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// TargetRef names a Service of the policy's own namespace and, optionally, one of its ports.
type TargetRef struct {
	// group of the target: "" (core).
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:Enum=""
	Group string `json:"group,omitempty"`

	// kind of the target: Service.
	// +optional
	// +kubebuilder:default=Service
	// +kubebuilder:validation:Enum=Service
	Kind string `json:"kind,omitempty"`

	// name of the Service.
	// +required
	Name ObjectName `json:"name"`

	// sectionName is a port of the Service, by name or by number in quotes. Absent means all of its ports.
	// +optional
	SectionName ObjectName `json:"sectionName,omitempty"`
}

// Mode says whether a policy acts or only reports.
// +kubebuilder:validation:Enum=Enforce;Shadow
type Mode string

const (
	// ModeEnforce acts on what the policy finds.
	ModeEnforce Mode = "Enforce"
	// ModeShadow counts and reports, and never changes an answer.
	ModeShadow Mode = "Shadow"
)

// Match selects requests of one protocol.
// +kubebuilder:validation:XValidation:rule="has(self.http) != has(self.thrift)",message="A match is for one protocol: set exactly one of http and thrift."
type Match struct {
	// http matches HTTP requests. gRPC methods are paths: /pkg.Service/Method.
	// +optional
	HTTP *HTTPMatch `json:"http,omitempty"`

	// thrift matches Thrift messages.
	// +optional
	Thrift *ThriftMatch `json:"thrift,omitempty"`
}

// HTTPMatch holds for a request when all its members hold; an absent member always holds.
type HTTPMatch struct {
	// methods, any of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=9
	Methods []HTTPMethod `json:"methods,omitempty"`

	// path of the request, compared after decoding unreserved characters and removing dot segments.
	// +optional
	Path *PathMatch `json:"path,omitempty"`

	// headers, all of them.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Headers []HeaderMatch `json:"headers,omitempty"`
}

// HTTPMethod is a request method.
// +kubebuilder:validation:Enum=GET;HEAD;POST;PUT;PATCH;DELETE;OPTIONS;TRACE;CONNECT
type HTTPMethod string

// PathMatchType says how a path is compared.
// +kubebuilder:validation:Enum=Exact;Prefix;Template
type PathMatchType string

const (
	// PathMatchExact compares the whole path.
	PathMatchExact PathMatchType = "Exact"
	// PathMatchPrefix compares whole segments from the left: /a matches /a and /a/b, not /ab.
	PathMatchPrefix PathMatchType = "Prefix"
	// PathMatchTemplate compares segment by segment; {name} stands for one segment of any value.
	PathMatchTemplate PathMatchType = "Template"
)

// PathMatch compares the path of a request.
// +kubebuilder:validation:XValidation:rule="self.type == 'Template' || !self.value.matches('[{}]')",fieldPath=".value",message="Braces are for templates: set type to Template, or remove them from value."
// +kubebuilder:validation:XValidation:rule="self.type != 'Template' || self.value.matches('^(/([^{}/]*|[{][A-Za-z_][A-Za-z0-9_-]*[}]))+$')",fieldPath=".value",message="In a template a parameter fills a whole segment, as in /users/{userId}: correct value."
type PathMatch struct {
	// type of the comparison.
	// +required
	Type PathMatchType `json:"type"`

	// value begins with a slash and has neither query nor fragment.
	// +required
	// +kubebuilder:validation:Pattern=`^/[^?#\s]*$`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Value string `json:"value"`
}

// HeaderMatch compares a header with a value, exactly.
type HeaderMatch struct {
	// name of the header; case does not matter.
	// +required
	Name HeaderName `json:"name"`

	// value the header must have.
	// +required
	// +kubebuilder:validation:MaxLength=256
	Value string `json:"value"`
}

// ThriftMatch holds for a message when all its members hold; an absent member always holds.
type ThriftMatch struct {
	// service is the prefix of multiplexed names; a message without one matches any service.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_.]*$`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Service string `json:"service,omitempty"`

	// methods, any of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Methods []ThriftMethod `json:"methods,omitempty"`
}

// ThriftMethod is the name of a method in a Thrift IDL.
// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_.]*$`
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
type ThriftMethod string

// KeyMember is one part of a key: whose requests are counted together, or whose idempotency key it is.
// +kubebuilder:validation:XValidation:rule="[has(self.header), has(self.clientIP), has(self.pathParam), has(self.queryParam), has(self.cookie), has(self.jwtClaim), has(self.thriftHeader), has(self.thriftField)].exists_one(x, x)",message="A key member has one source: set exactly one of header, clientIP, pathParam, queryParam, cookie, jwtClaim, thriftHeader and thriftField."
type KeyMember struct {
	// header of an HTTP request.
	// +optional
	Header HeaderName `json:"header,omitempty"`

	// clientIP is the address of the client, read over trusted proxies only.
	// +optional
	ClientIP *ClientIPKey `json:"clientIP,omitempty"`

	// pathParam is a parameter of the Template that matched.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_-]*$`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	PathParam string `json:"pathParam,omitempty"`

	// queryParam is a parameter of the query.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	QueryParam string `json:"queryParam,omitempty"`

	// cookie of the request.
	// +optional
	Cookie HeaderName `json:"cookie,omitempty"`

	// jwtClaim is a claim of a verified token.
	// +optional
	JWTClaim *JWTClaimKey `json:"jwtClaim,omitempty"`

	// thriftHeader is a header of a THeader or TTHeader message.
	// +optional
	ThriftHeader HeaderName `json:"thriftHeader,omitempty"`

	// thriftField is a field of the call's arguments, by ids.
	// +optional
	ThriftField ThriftField `json:"thriftField,omitempty"`
}

// ClientIPKey says how an address becomes a key.
type ClientIPKey struct {
	// ipv6PrefixLength groups IPv6 clients: one customer commonly has a whole /64.
	// +optional
	// +kubebuilder:default=64
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=128
	IPv6PrefixLength int32 `json:"ipv6PrefixLength,omitempty"`
}

// JWTClaimKey names a claim of a token that a provider of the operator's configuration verifies.
type JWTClaimKey struct {
	// provider is a name in the operator's jwtProviders.
	// +required
	Provider ObjectName `json:"provider"`

	// claim is the name of the claim.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Claim string `json:"claim"`
}

// ContentSource is a place in a request from which a value is taken.
// +kubebuilder:validation:XValidation:rule="[has(self.header), has(self.jsonPointer), has(self.thriftHeader), has(self.thriftField)].exists_one(x, x)",message="A value has one source: set exactly one of header, jsonPointer, thriftHeader and thriftField."
type ContentSource struct {
	// header of an HTTP request.
	// +optional
	Header HeaderName `json:"header,omitempty"`

	// jsonPointer into a JSON body.
	// +optional
	JSONPointer JSONPointer `json:"jsonPointer,omitempty"`

	// thriftHeader is a header of a THeader or TTHeader message.
	// +optional
	ThriftHeader HeaderName `json:"thriftHeader,omitempty"`

	// thriftField is a field of the call's arguments, by ids.
	// +optional
	ThriftField ThriftField `json:"thriftField,omitempty"`
}

// StoreRef names a store of the operator's configuration.
type StoreRef struct {
	// name of the store.
	// +optional
	// +kubebuilder:default=default
	Name ObjectName `json:"name,omitempty"`
}

// SecretRef names a Secret of the policy's namespace that is labelled weir.dev/use: "true".
type SecretRef struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// key holds the secret that signs and verifies.
	// +optional
	// +kubebuilder:default=secret
	Key SecretKey `json:"key,omitempty"`

	// previousKey holds the secret before the last rotation, which verifies too. It may be absent from the Secret.
	// +optional
	// +kubebuilder:default=previous
	PreviousKey SecretKey `json:"previousKey,omitempty"`
}

// SecretKey is a key of a Secret's data.
// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
type SecretKey string

// FailurePolicy says what holds while the store is away.
type FailurePolicy string

const (
	// FailurePolicyLocalFallback limits in each pod: the limit divided by the ready pods, at least 1 per pod.
	FailurePolicyLocalFallback FailurePolicy = "LocalFallback"
	// FailurePolicyOpen lets requests pass.
	FailurePolicyOpen FailurePolicy = "Open"
	// FailurePolicyClosed answers 503.
	FailurePolicyClosed FailurePolicy = "Closed"
)
