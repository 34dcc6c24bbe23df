// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"encoding/binary"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"weir.dev/weir/sidecar/exchange"
)

// Resource says whose spans they are. Empty members are left out.
type Resource struct {
	// Service is the Service that leads to the pod, or what stands for it.
	Service   string
	Namespace string
	Pod       string
}

// encode appends an ExportTraceServiceRequest
// (opentelemetry/proto/collector/trace/v1, opentelemetry/proto/trace/v1): written
// by hand, since of all its messages this one is needed; the tests read it with
// OpenTelemetry's own code.
func encode(b []byte, r Resource, version string, batch []*span) []byte {
	e := &encoder{b: b}
	e.message(1, func() { // ResourceSpans
		e.message(1, func() { e.resource(r, version) })
		e.message(2, func() { // ScopeSpans
			e.message(1, func() {
				e.string(1, "weir.dev/weir/sidecar")
				e.string(2, version)
			})
			for _, s := range batch {
				e.message(2, func() { e.span(s) })
			}
		})
	})
	return e.b
}

// encoder appends protobuf fields to b.
type encoder struct{ b []byte }

// message appends a nested message, whose length is known when it is written.
func (e *encoder) message(field protowire.Number, write func()) {
	e.b = protowire.AppendTag(e.b, field, protowire.BytesType)
	from := len(e.b)
	write()
	n := len(e.b) - from
	size := protowire.SizeVarint(uint64(n))
	for range size {
		e.b = append(e.b, 0)
	}
	copy(e.b[from+size:], e.b[from:from+n])
	protowire.AppendVarint(e.b[:from], uint64(n))
}

func (e *encoder) string(field protowire.Number, s string) {
	if s != "" {
		e.b = protowire.AppendString(protowire.AppendTag(e.b, field, protowire.BytesType), s)
	}
}

func (e *encoder) bytes(field protowire.Number, b []byte) {
	e.b = protowire.AppendBytes(protowire.AppendTag(e.b, field, protowire.BytesType), b)
}

func (e *encoder) varint(field protowire.Number, n uint64) {
	e.b = protowire.AppendVarint(protowire.AppendTag(e.b, field, protowire.VarintType), n)
}

func (e *encoder) fixed64(field protowire.Number, n uint64) {
	e.b = protowire.AppendFixed64(protowire.AppendTag(e.b, field, protowire.Fixed64Type), n)
}

// Attributes are KeyValue messages of a field; AnyValue has string 1, int 3,
// double 4 and array 5.

func (e *encoder) text(field protowire.Number, key, value string) {
	if value == "" {
		return
	}
	e.message(field, func() {
		e.string(1, key)
		e.message(2, func() { e.string(1, value) })
	})
}

func (e *encoder) int(field protowire.Number, key string, value int64) {
	e.message(field, func() {
		e.string(1, key)
		e.message(2, func() { e.varint(3, uint64(value)) })
	})
}

func (e *encoder) milliseconds(field protowire.Number, key string, d time.Duration) {
	e.message(field, func() {
		e.string(1, key)
		e.message(2, func() {
			e.b = protowire.AppendTag(e.b, 4, protowire.Fixed64Type)
			e.b = binary.LittleEndian.AppendUint64(e.b, math.Float64bits(float64(d)/float64(time.Millisecond)))
		})
	})
}

func (e *encoder) list(field protowire.Number, key string, values []string) {
	if len(values) == 0 {
		return
	}
	e.message(field, func() {
		e.string(1, key)
		e.message(2, func() {
			e.message(5, func() {
				for _, v := range values {
					e.message(1, func() { e.string(1, v) })
				}
			})
		})
	})
}

func (e *encoder) resource(r Resource, version string) {
	const attribute = 1
	e.text(attribute, "service.name", r.Service)
	e.text(attribute, "service.namespace", r.Namespace)
	e.text(attribute, "k8s.namespace.name", r.Namespace)
	e.text(attribute, "k8s.pod.name", r.Pod)
	e.text(attribute, "telemetry.sdk.name", "weir")
	e.text(attribute, "telemetry.sdk.language", "go")
	e.text(attribute, "telemetry.sdk.version", version)
}

const (
	kindServer  = 2
	statusError = 2
	// parentIsKnownAsRemote is SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK and
	// SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK.
	parentIsKnownAsRemote = 0x300
)

func (e *encoder) span(s *span) {
	e.bytes(1, s.traceID[:])
	e.bytes(2, s.spanID[:])
	if isTraceState(s.state) {
		e.bytes(3, s.state)
	}
	flags := uint32(FlagSampled)
	if s.parentID != [8]byte{} {
		e.bytes(4, s.parentID[:])
		flags |= parentIsKnownAsRemote
	}
	e.string(5, s.name())
	e.varint(6, kindServer)
	e.fixed64(7, uint64(s.start.UnixNano()))
	e.fixed64(8, uint64(s.start.Add(s.duration).UnixNano()))
	e.attributes(s)
	if s.errorType() != "" {
		e.message(15, func() { e.varint(3, statusError) })
	}
	e.b = protowire.AppendFixed32(protowire.AppendTag(e.b, 16, protowire.Fixed32Type), flags)
}

func (e *encoder) attributes(s *span) {
	const attribute = 9
	method, original := s.httpMethod()
	e.text(attribute, "http.request.method", method)
	e.text(attribute, "http.request.method_original", original)
	e.text(attribute, "url.scheme", "http")
	e.text(attribute, "url.path", clean(s.path))
	e.int(attribute, "server.port", int64(s.port))
	if s.status != 0 {
		e.int(attribute, "http.response.status_code", int64(s.status))
	}
	if s.client.IsValid() {
		e.text(attribute, "client.address", s.client.String())
	}
	if s.peer.IsValid() {
		e.text(attribute, "network.peer.address", s.peer.String())
	}
	e.text(attribute, "network.protocol.version", strings.TrimPrefix(s.protocol, "HTTP/"))
	e.text(attribute, "user_agent.original", clean(s.userAgent))
	e.text(attribute, "error.type", s.errorType())
	if s.isGRPC {
		e.text(attribute, "rpc.system.name", "grpc")
		e.text(attribute, "rpc.method", s.rpcMethod())
		if s.grpc >= 0 {
			e.text(attribute, "rpc.response.status_code", exchange.GRPCStatusName(s.grpc))
		}
	}
	e.text(attribute, "weir.decision", s.decision())
	e.text(attribute, "weir.policy", s.policy)
	e.list(attribute, "weir.limit", s.limits)
	e.text(attribute, "weir.problem", s.problem)
	e.text(attribute, "weir.outcome", s.outcome.String())
	e.text(attribute, "weir.aborted", clean([]byte(s.aborted)))
	if s.upstream > 0 {
		e.milliseconds(attribute, "weir.upstream.duration_ms", s.upstream)
	}
}

// clean makes text of bytes that clients have chosen: a string that is no UTF-8
// would have the collector refuse the whole batch.
func clean(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }

// rejected is how many spans the collector has refused, of an
// ExportTraceServiceResponse: partial_success 1, in it rejected_spans 1.
func rejected(reply []byte) int {
	partial := field(reply, 1)
	for len(partial) > 0 {
		num, typ, n := protowire.ConsumeTag(partial)
		if n < 0 {
			return 0
		}
		partial = partial[n:]
		if num == 1 && typ == protowire.VarintType {
			if v, n := protowire.ConsumeVarint(partial); n > 0 && v <= math.MaxInt32 {
				return int(v)
			}
			return 0
		}
		if n = protowire.ConsumeFieldValue(num, typ, partial); n < 0 {
			return 0
		}
		partial = partial[n:]
	}
	return 0
}

// field is the value of a message's first field of that number.
func field(b []byte, number protowire.Number) []byte {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		b = b[n:]
		if num == number && typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			return v
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return nil
		}
		b = b[n:]
	}
	return nil
}
