// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/v1alpha1"
)

// Config is the whole of it.
type Config struct {
	// Stores that RateLimitPolicies may name.
	Stores []Store `json:"stores,omitempty"`
	// KafkaClusters that CallbackRoutes may name. Not supported yet.
	KafkaClusters []KafkaCluster `json:"kafkaClusters,omitempty"`
	// JWTProviders whose tokens keys may be taken from.
	JWTProviders []JWTProvider `json:"jwtProviders,omitempty"`
	// Identity says who the client is where a Service does not.
	Identity Identity `json:"identity,omitzero"`
	// Proxy is how sidecars serve connections.
	Proxy Proxy `json:"proxy,omitzero"`
	// Telemetry is what sidecars tell about requests.
	Telemetry Telemetry `json:"telemetry,omitzero"`
	// Egress bounds what CallbackRoutes may reach. Not supported yet.
	Egress Egress `json:"egress,omitzero"`
	// Injection is how pods get their sidecar.
	Injection Injection `json:"injection,omitzero"`
	// DevBackends is the chart's: it starts one pod with in-process backends.
	DevBackends DevBackends `json:"devBackends,omitzero"`
}

// Store counts for limits of scope Cluster.
type Store struct {
	Name string `json:"name"`
	// Redis is nil only under `weir run`, where the store is this process's memory.
	Redis *Redis `json:"redis,omitempty"`
	// KeyPrefix begins every key.
	KeyPrefix string `json:"keyPrefix,omitempty"`
	// AllowedNamespaces says whose policies may name the store.
	AllowedNamespaces AllowedNamespaces `json:"allowedNamespaces,omitzero"`
	// NamespaceCredentials takes the place of redis.credentials: the name of a
	// Secret of the operator's namespace, by the policy's namespace.
	NamespaceCredentials map[string]string `json:"namespaceCredentials,omitempty"`
}

// RedisMode is how the servers are arranged.
type RedisMode string

// The modes.
const (
	RedisStandalone RedisMode = "Standalone"
	RedisSentinel   RedisMode = "Sentinel"
	RedisCluster    RedisMode = "Cluster"
)

// Redis is where a store is.
type Redis struct {
	Mode RedisMode `json:"mode,omitempty"`
	// Addresses are host:port: of the server, of the sentinels, or of some nodes.
	Addresses []string `json:"addresses"`
	// MasterName is what the sentinels call the master.
	MasterName  string      `json:"masterName,omitempty"`
	TLS         TLS         `json:"tls,omitzero"`
	Credentials Credentials `json:"credentials,omitzero"`
}

// TLS to a server.
type TLS struct {
	Enabled bool `json:"enabled,omitempty"`
	// ServerName that the certificate is for; empty: the address's host.
	ServerName string `json:"serverName,omitempty"`
	// CA is certificates in PEM; empty: the roots of the image.
	CA string `json:"ca,omitempty"`
}

// Credentials name a Secret of the operator's namespace that is labelled
// weir.dev/use: "true", with the keys username,
// password, tls.crt and tls.key, all optional.
type Credentials struct {
	Secret string `json:"secret,omitempty"`
}

// AllowedFrom says how namespaces are chosen.
type AllowedFrom string

// The ways to choose.
const (
	FromAll      AllowedFrom = "All"
	FromSelector AllowedFrom = "Selector"
	FromNames    AllowedFrom = "Names"
)

// AllowedNamespaces chooses namespaces.
type AllowedNamespaces struct {
	From     AllowedFrom           `json:"from,omitempty"`
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	Names    []string              `json:"names,omitempty"`
}

// KafkaCluster carries asynchronous calls.
type KafkaCluster struct {
	Name                 string            `json:"name"`
	Brokers              []string          `json:"brokers"`
	TLS                  TLS               `json:"tls,omitzero"`
	MaxReplicas          int32             `json:"maxReplicas,omitempty"`
	AllowedNamespaces    AllowedNamespaces `json:"allowedNamespaces,omitzero"`
	Credentials          KafkaCredentials  `json:"credentials,omitzero"`
	NamespaceCredentials map[string]string `json:"namespaceCredentials,omitempty"`
}

// KafkaCredentials are Secrets by job.
type KafkaCredentials struct {
	Accept   Credentials `json:"accept,omitzero"`
	Dispatch Credentials `json:"dispatch,omitzero"`
	Admin    Credentials `json:"admin,omitzero"`
}

// JWTProvider issues tokens.
type JWTProvider struct {
	Name      string   `json:"name"`
	Issuer    string   `json:"issuer"`
	Audiences []string `json:"audiences,omitempty"`
	JWKS      JWKS     `json:"jwks"`
}

// JWKS is where a provider's keys are.
type JWKS struct {
	URL string `json:"url"`
}

// Identity is who the client is.
type Identity struct {
	// TrustedProxies are CIDRs or addresses.
	TrustedProxies []string `json:"trustedProxies,omitempty"`
	// IdentityHeaders are believed from trusted proxies only.
	IdentityHeaders []string `json:"identityHeaders,omitempty"`
}

// Proxy bounds what a sidecar takes in and how long it waits. What is absent has the
// sidecar's default.
type Proxy struct {
	// HeadBytes bounds the head of one request or response: 16Ki.
	HeadBytes v1alpha1.ByteSize `json:"headBytes,omitempty"`
	// MaxConnections bounds the connections of a pod's clients; 0: what the sidecar's
	// memory limit is good for.
	MaxConnections int64         `json:"maxConnections,omitempty"`
	Timeouts       ProxyTimeouts `json:"timeouts,omitzero"`
}

// ProxyTimeouts of connections. How long the application may take is not among them:
// it is an annotation of Services.
type ProxyTimeouts struct {
	// Idle is how long a client's connection may be without a request: 1h.
	Idle v1alpha1.Duration `json:"idle,omitempty"`
	// Stall is how long a client may keep a body or a response waiting: 5m.
	Stall v1alpha1.Duration `json:"stall,omitempty"`
	// Connect is how long connecting to the application may take: 5s.
	Connect v1alpha1.Duration `json:"connect,omitempty"`
}

// Telemetry of requests.
type Telemetry struct {
	AccessLog AccessLog `json:"accessLog,omitzero"`
	Tracing   Tracing   `json:"tracing,omitzero"`
}

// AccessLogMode says which requests have a line in the sidecar's log.
type AccessLogMode string

// The modes.
const (
	AccessLogOff AccessLogMode = "Off"
	// AccessLogErrors are answers of 500 and above, requests that Weir denied, and
	// exchanges that broke off.
	AccessLogErrors AccessLogMode = "Errors"
	// AccessLogSampled are errors, and of the rest samplePercent.
	AccessLogSampled AccessLogMode = "Sampled"
	AccessLogAll     AccessLogMode = "All"
)

// UnmarshalJSON takes false for Off: that is how YAML reads Off without quotes.
func (m *AccessLogMode) UnmarshalJSON(text []byte) error {
	if string(text) == "false" {
		*m = AccessLogOff
		return nil
	}
	return json.Unmarshal(text, (*string)(m))
}

// AccessLog of sidecars.
type AccessLog struct {
	// Mode is Off unless set.
	Mode AccessLogMode `json:"mode,omitempty"`
	// SamplePercent is for Sampled: 1 unless set, with up to four decimals.
	SamplePercent *float64 `json:"samplePercent,omitempty"`
}

// Tracing is OpenTelemetry spans over OTLP/gRPC.
type Tracing struct {
	// Endpoint is host:port of a collector; empty: no spans.
	Endpoint string `json:"endpoint,omitempty"`
	TLS      TLS    `json:"tls,omitzero"`
	// SamplePercent is for requests that come without a trace: 10 unless set, with up
	// to four decimals.
	SamplePercent *float64 `json:"samplePercent,omitempty"`
}

// Egress bounds what may be reached.
type Egress struct {
	AllowHosts     []string `json:"allowHosts,omitempty"`
	DenyCIDRs      []string `json:"denyCIDRs,omitempty"`
	AllowPlainHTTP bool     `json:"allowPlainHTTP,omitempty"`
}

// Injection is how pods get their sidecar.
type Injection struct {
	// Capture is Auto, Redirect or NamedPort.
	Capture string `json:"capture,omitempty"`
	// OnMissingConfig is Deny or PassThrough.
	OnMissingConfig string `json:"onMissingConfig,omitempty"`
	// Resources of the sidecar; what is absent has the injector's default.
	Resources corev1.ResourceRequirements `json:"resources,omitzero"`
	// ImagePullSecrets are added to injected pods.
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`
}

// DevBackends is for trials, never for production.
type DevBackends struct {
	Enabled bool `json:"enabled,omitempty"`
}
