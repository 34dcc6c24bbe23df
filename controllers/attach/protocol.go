// SPDX-License-Identifier: Apache-2.0

package attach

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"weir.dev/weir/api/snapshot"
)

// protocolOf is what a Service says about a port: appProtocol, else the name of the
// port or of what it leads to. AUTO when it says nothing; UNSPECIFIED, with its
// word, when what it says is not a protocol that Weir governs.
func protocolOf(p *corev1.ServicePort) (snapshot.Protocol, string) {
	if p.AppProtocol != nil && *p.AppProtocol != "" {
		switch *p.AppProtocol {
		case "http":
			return snapshot.Protocol_PROTOCOL_HTTP, ""
		case "kubernetes.io/h2c":
			return snapshot.Protocol_PROTOCOL_H2C, ""
		case "kubernetes.io/ws":
			return snapshot.Protocol_PROTOCOL_WEBSOCKET, ""
		case "grpc":
			return snapshot.Protocol_PROTOCOL_GRPC, ""
		case "weir.dev/thrift":
			return snapshot.Protocol_PROTOCOL_THRIFT, ""
		}
		return snapshot.Protocol_PROTOCOL_UNSPECIFIED, *p.AppProtocol
	}
	names := []string{p.Name}
	if p.TargetPort.Type == intstr.String {
		names = append(names, p.TargetPort.StrVal)
	}
	for _, name := range names {
		for prefix, protocol := range map[string]snapshot.Protocol{
			"http":   snapshot.Protocol_PROTOCOL_HTTP,
			"h2c":    snapshot.Protocol_PROTOCOL_H2C,
			"grpc":   snapshot.Protocol_PROTOCOL_GRPC,
			"thrift": snapshot.Protocol_PROTOCOL_THRIFT,
		} {
			if name == prefix || strings.HasPrefix(name, prefix+"-") {
				return protocol, ""
			}
		}
	}
	return snapshot.Protocol_PROTOCOL_AUTO, ""
}

// ProtocolName is how messages call a protocol.
func ProtocolName(p snapshot.Protocol) string {
	switch p {
	case snapshot.Protocol_PROTOCOL_HTTP:
		return "HTTP/1.1"
	case snapshot.Protocol_PROTOCOL_H2C:
		return "h2c"
	case snapshot.Protocol_PROTOCOL_GRPC:
		return "gRPC"
	case snapshot.Protocol_PROTOCOL_WEBSOCKET:
		return "WebSocket"
	case snapshot.Protocol_PROTOCOL_THRIFT:
		return "Thrift"
	default:
		return "an unknown protocol"
	}
}
