// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"strconv"
	"strings"

	"weir.dev/weir/sidecar/exchange"
)

// other is what stands for names that clients make up.
const other = "_OTHER"

// httpMethod is the method as OpenTelemetry has it: one that HTTP does not know
// is _OTHER, and original has it.
func (s *span) httpMethod() (method, original string) {
	switch m := string(s.method); m {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH":
		return m, ""
	default:
		return other, clean(s.method)
	}
}

// name is of few values: backends group by it, and paths are the clients' choice.
func (s *span) name() string {
	if s.isGRPC {
		if m := s.rpcMethod(); m != other {
			return m
		}
		return "gRPC"
	}
	if m, _ := s.httpMethod(); m != other {
		return m
	}
	return "HTTP"
}

// rpcMethod is `package.Service/Method`; _OTHER where the application does not know
// it, or nobody asked it.
func (s *span) rpcMethod() string {
	const unimplemented = 12
	p, ok := strings.CutPrefix(string(s.path), "/")
	service, method, slash := strings.Cut(p, "/")
	if !ok || !slash || s.grpc == unimplemented || s.status == 0 || !isIdentifier(service, '.') || !isIdentifier(method, 0) {
		return other
	}
	return p
}

func isIdentifier(s string, also byte) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != also {
			return false
		}
	}
	return s != ""
}

// errorType is what the span failed by, of few values, and empty when it did not:
// the gRPC status or the HTTP status where they blame the server, or else the
// outcome of an exchange that broke.
func (s *span) errorType() string {
	switch {
	case s.isGRPC && s.grpc >= 0 && exchange.GRPCServerFault(s.grpc):
		return exchange.GRPCStatusName(s.grpc)
	case (!s.isGRPC || s.grpc < 0) && s.status >= 500:
		return strconv.Itoa(s.status)
	case s.aborted != "":
		return s.outcome.String()
	}
	return ""
}

// decision is what the policies said; empty where it cannot be told, since the
// request was refused before them or never reached the application.
func (s *span) decision() string {
	switch {
	case s.policy != "":
		return "denied"
	case s.outcome != exchange.NotSent:
		return "allowed"
	}
	return ""
}

// isTraceState reports whether b may stand in a span: printable, as tracestate is.
func isTraceState(b []byte) bool {
	for _, c := range b {
		if c != '\t' && (c < ' ' || c > '~') {
			return false
		}
	}
	return len(b) > 0
}
