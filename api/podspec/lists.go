// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// NamedPort is a port the sidecar has taken from the app (capture NamedPort).
type NamedPort struct {
	// Name of the port, now the sidecar's.
	Name string `json:"name"`
	// Listen is the sidecar's port, PortNamedFirst to PortNamedLast.
	Listen uint16 `json:"listen"`
	// Port is the app's container port: what policies know it by and what is
	// dialled.
	Port uint16 `json:"port"`
}

// ProbeKind is which probe or hook of a container it is.
type ProbeKind string

// The kinds; they are path segments of ProbePath.
const (
	ProbeLiveness  ProbeKind = "liveness"
	ProbeReadiness ProbeKind = "readiness"
	ProbeStartup   ProbeKind = "startup"
	HookPostStart  ProbeKind = "poststart"
	HookPreStop    ProbeKind = "prestop"
)

// Probe is one probe or httpGet hook that the kubelet sends to the sidecar and
// the sidecar passes on. One of HTTPGet, TCPSocket and GRPC is set. Ports are
// numbers: the injector resolves names.
type Probe struct {
	Container string     `json:"container"`
	Kind      ProbeKind  `json:"kind"`
	HTTPGet   *HTTPGet   `json:"httpGet,omitempty"`
	TCPSocket *TCPSocket `json:"tcpSocket,omitempty"`
	GRPC      *GRPC      `json:"grpc,omitempty"`
	// TimeoutSeconds is the probe's own; 0 means the kubelet's default of 1. It
	// does not bound hooks, which the kubelet bounds by the grace period.
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
}

// HTTPGet is an httpGet action as the app's author wrote it.
type HTTPGet struct {
	// Scheme is HTTP or HTTPS; empty is HTTP. As the kubelet does, certificates
	// are not verified.
	Scheme string `json:"scheme,omitempty"`
	// Host to connect to; empty: the pod's address.
	Host string `json:"host,omitempty"`
	Port uint16 `json:"port"`
	// Path, with its query; empty is "/".
	Path    string   `json:"path,omitempty"`
	Headers []Header `json:"headers,omitempty"`
}

// Header is one of an httpGet action's httpHeaders. Host is allowed.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// TCPSocket is a tcpSocket action. A captured port accepts connections even
// while the app does not, so it has to be tried from inside.
type TCPSocket struct {
	Host string `json:"host,omitempty"`
	Port uint16 `json:"port"`
}

// GRPC is a grpc action: grpc.health.v1.Health/Check of Service.
type GRPC struct {
	Port    uint16 `json:"port"`
	Service string `json:"service,omitempty"`
}

// ProbePath is the path under which PortStatus forwards a probe. The kubelet
// asks for it with GET over plain HTTP.
func ProbePath(container string, kind ProbeKind) string {
	return "/probe/" + container + "/" + string(kind)
}

// EncodeProbes is the value of EnvProbes; empty for no probes.
func EncodeProbes(probes []Probe) (string, error) { return encode(probes) }

// DecodeProbes is the inverse of EncodeProbes. An unknown field is an error: a
// sidecar must not answer for a probe it only half understands.
func DecodeProbes(s string) ([]Probe, error) {
	probes, err := decode[Probe](EnvProbes, s)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, p := range probes {
		path := ProbePath(p.Container, p.Kind)
		if seen[path] {
			return nil, fmt.Errorf("%s: %s comes twice", EnvProbes, path)
		}
		seen[path] = true
		n := 0
		for _, set := range []bool{p.HTTPGet != nil, p.TCPSocket != nil, p.GRPC != nil} {
			if set {
				n++
			}
		}
		if n != 1 {
			return nil, fmt.Errorf("%s: %s has %d actions, not one", EnvProbes, path, n)
		}
	}
	return probes, nil
}

// EncodeNamedPorts is the value of EnvNamedPorts; empty for no ports.
func EncodeNamedPorts(ports []NamedPort) (string, error) { return encode(ports) }

// DecodeNamedPorts is the inverse of EncodeNamedPorts.
func DecodeNamedPorts(s string) ([]NamedPort, error) { return decode[NamedPort](EnvNamedPorts, s) }

func encode[T any](list []T) (string, error) {
	if len(list) == 0 {
		return "", nil
	}
	b, err := json.Marshal(list)
	return string(b), err
}

func decode[T any](env, s string) ([]T, error) {
	if s == "" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	d.DisallowUnknownFields()
	var list []T
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("%s: %w", env, err)
	}
	return list, nil
}
