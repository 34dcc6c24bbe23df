// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"
	"sync"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

// Bounds of what a span holds of a request.
const (
	maxMethod     = 32
	maxPath       = 1024
	maxUserAgent  = 256
	maxTraceState = 512
	maxAborted    = 256
)

// span is what a request leaves for its span: nothing in it is the request's own
// memory.
type span struct {
	traceID          [16]byte
	spanID, parentID [8]byte
	start            time.Time
	duration         time.Duration
	upstream         time.Duration
	status, grpc     int
	isGRPC           bool
	port             uint16
	protocol         string
	outcome          exchange.Outcome
	aborted          string
	problem, policy  string
	limits           []string
	peer, client     netip.Addr

	method, path, userAgent, state []byte
	buf                            []byte
}

// spans keeps records from one request to the next.
type spans struct{ pool sync.Pool }

func (p *spans) get() *span {
	s, _ := p.pool.Get().(*span)
	if s == nil {
		s = &span{buf: make([]byte, 0, 256)}
	}
	return s
}

func (p *spans) put(s *span) {
	*s = span{buf: s.buf[:0]}
	p.pool.Put(s)
}

// fill copies what the span needs.
func (s *span) fill(x *exchange.Exchange, r *exchange.Record) {
	s.traceID, s.spanID, s.parentID = x.Trace.TraceID, x.Trace.SpanID, x.Trace.ParentID
	s.start, s.duration, s.upstream = x.Start, r.Duration, r.Upstream
	s.status, s.grpc, s.isGRPC = r.Status, r.GRPCStatus, x.GRPC
	s.port, s.protocol = x.Port, x.Protocol
	s.outcome, s.aborted = r.Outcome, r.Aborted[:min(len(r.Aborted), maxAborted)]
	s.problem, s.policy = x.Denial.Problem(), x.Denial.Policy
	s.limits = x.Denial.Limits // made for this denial
	s.peer, s.client = x.Peer, x.Client
	s.method = s.keep(x.Method, maxMethod)
	s.path = s.keep(x.RawPath, maxPath)
	if v, n := x.Request.Header("user-agent"); n > 0 {
		s.userAgent = s.keep(v, maxUserAgent)
	}
	if s.parentID != [8]byte{} {
		if v, n := x.Request.Header("tracestate"); n == 1 && len(v) <= maxTraceState {
			s.state = s.keep(v, maxTraceState)
		}
	}
}

// keep copies the beginning of b. Slices into a buffer that has grown since stay
// valid.
func (s *span) keep(b []byte, most int) []byte {
	b = b[:min(len(b), most)]
	from := len(s.buf)
	s.buf = append(s.buf, b...)
	return s.buf[from:len(s.buf):len(s.buf)]
}
