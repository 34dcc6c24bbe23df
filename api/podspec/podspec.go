// SPDX-License-Identifier: Apache-2.0

package podspec

// Ports of the sidecar, see design §3.
const (
	// PortStatus serves /healthz, /readyz, /metrics and /probe/ on every
	// address of the pod.
	PortStatus = 16000
	// PortAdmin serves /dump, /debug/pprof, /loglevel and /drain on 127.0.0.1.
	PortAdmin = 16001
	// PortCapture is where the kernel redirects captured connections to.
	PortCapture = 16006
	// PortNamedFirst is the first port of capture NamedPort; the ones after it
	// follow without a gap, up to PortNamedLast.
	PortNamedFirst = 16010
	PortNamedLast  = 16099
)

// Reserved says whether a TCP port of a pod belongs to Weir: it is never
// redirected, and an app that listens on it is not injected.
func Reserved(port uint16) bool {
	switch port {
	case PortStatus, PortAdmin, PortCapture:
		return true
	}
	return port >= PortNamedFirst && port <= PortNamedLast
}

// Names of containers and volumes in an injected pod.
const (
	ContainerSidecar = "weir-sidecar"
	ContainerCapture = "weir-capture"

	VolumeToken = "weir-token"
	VolumeCA    = "weir-ca"
	VolumeState = "weir-state"

	// ConfigMapCA is in every injected namespace; its key KeyCA is a bundle of
	// PEM certificates.
	ConfigMapCA = "weir-ca"
	KeyCA       = "ca.crt"
	// PortNamePrefix begins the name that an app's port is given when the
	// sidecar takes its own: weir-app-0, weir-app-1, …
	PortNamePrefix = "weir-app-"
)

// Paths in the sidecar's container.
const (
	// Binary is the program in Weir's image.
	Binary = "/app/weir-sidecar"

	DirToken = "/var/run/secrets/weir.dev"
	// FileToken is a projected ServiceAccount token of audience Audience.
	FileToken = DirToken + "/token"
	DirCA     = "/var/run/weir/ca"
	FileCA    = DirCA + "/" + KeyCA
	// DirState is a memory-backed emptyDir that keeps the last good state, and in DirNotes
	// what is in flight.
	DirState = "/var/run/weir/state"
	DirNotes = DirState + "/notes"
)

// Audience of the token a sidecar presents to the operator.
const Audience = "weir.dev"

// Environment of the sidecar and, where said, of the init container.
const (
	// EnvOperator is host:port of the config server. Its host is the name that
	// the server's certificate is for.
	EnvOperator = "WEIR_OPERATOR"
	// EnvPodName, EnvPodNamespace and EnvPodIPs come from the downward API
	// (metadata.name, metadata.namespace, status.podIPs).
	EnvPodName      = "WEIR_POD_NAME"
	EnvPodNamespace = "WEIR_POD_NAMESPACE"
	EnvPodIPs       = "WEIR_POD_IPS"
	// EnvCapture is CaptureRedirect or CaptureNamedPort.
	EnvCapture = "WEIR_CAPTURE"
	// EnvNamedPorts is a list of NamedPort as JSON; absent: none.
	EnvNamedPorts = "WEIR_NAMED_PORTS"
	// EnvProbes is a list of Probe as JSON; absent: none.
	EnvProbes = "WEIR_PROBES"
	// EnvExcludePorts is for the init container: port numbers, comma-separated,
	// that are not redirected, besides Weir's own.
	EnvExcludePorts = "WEIR_EXCLUDE_PORTS"
	// EnvOnMissingConfig is MissingDeny or MissingPassThrough.
	EnvOnMissingConfig = "WEIR_ON_MISSING_CONFIG"
	// EnvLogLevel is debug, info, warn or error; absent: info.
	EnvLogLevel = "WEIR_LOG_LEVEL"
)

// Values of EnvCapture and of AnnotationCapture, which may be CaptureAuto too.
const (
	CaptureAuto      = "Auto"
	CaptureRedirect  = "Redirect"
	CaptureNamedPort = "NamedPort"
)

// Values of EnvOnMissingConfig and AnnotationOnMissingConfig: what a pod does on
// every port when it has no snapshot 10 s after its start.
const (
	MissingDeny        = "Deny"
	MissingPassThrough = "PassThrough"
)

// Labels and annotations.
const (
	// LabelInject on a namespace or pod is InjectEnabled or InjectDisabled; the
	// pod's wins.
	LabelInject    = "weir.dev/inject"
	InjectEnabled  = "enabled"
	InjectDisabled = "disabled"

	// AnnotationInjected is set by the webhook, never by users; its value is
	// the version of the injector.
	AnnotationInjected = "weir.dev/injected"
	// AnnotationImage records the image that was injected.
	AnnotationImage = "weir.dev/image"
	// AnnotationOriginal records what the injector replaced in the app's
	// containers, so that it can be put back.
	AnnotationOriginal = "weir.dev/original"
	// LabelSidecar is SidecarInjected on every injected pod, so that watches can
	// be narrowed to them.
	LabelSidecar    = "weir.dev/sidecar"
	SidecarInjected = "injected"

	AnnotationCapture             = "weir.dev/capture"
	AnnotationExcludeInboundPorts = "weir.dev/exclude-inbound-ports"
	AnnotationKeepPorts           = "weir.dev/keep-ports"
	AnnotationOnMissingConfig     = "weir.dev/on-missing-config"
	AnnotationCPU                 = "weir.dev/cpu"
	AnnotationMemory              = "weir.dev/memory"
)
