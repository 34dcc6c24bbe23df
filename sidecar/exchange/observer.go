// SPDX-License-Identifier: Apache-2.0

package exchange

import "time"

// Observer sees the requests of a port, for logs and traces. It decides nothing.
// Its calls for one exchange come from one goroutine; they must not block.
type Observer interface {
	// Start is called once the head has been read and the client is known,
	// before any filter. It may fill x.Trace.
	Start(x *Exchange)
	// Done is called after the filters' End. r is valid during the call only.
	Done(x *Exchange, r *Record)
}

// Record is what became of an exchange.
type Record struct {
	// Status the client got, 0 when it got none.
	Status int
	// GRPCStatus is the status of a gRPC call, -1 where there is none.
	GRPCStatus int
	Outcome    Outcome
	// RequestBytes and ResponseBytes are of bodies, without framing.
	RequestBytes, ResponseBytes int64
	// Upstream is from the first byte sent to the application to the head of
	// its response; 0 when there was none.
	Upstream time.Duration
	// Duration is from the head of the request to the end of the answer.
	Duration time.Duration
	// Aborted is why the exchange did not end well; empty when it did.
	Aborted string
}

// Trace is an exchange's place in a trace (W3C Trace Context).
type Trace struct {
	// Parent is the traceparent that the application gets in place of the
	// client's: version 00, 55 bytes. Empty: the client's goes through unchanged.
	// Where there is a Parent but no ParentID the trace begins here, and the
	// client's tracestate, which belongs to none then, is dropped.
	Parent []byte
	// TraceID and SpanID are those of Weir's own span, ParentID the client's.
	TraceID          [16]byte
	SpanID, ParentID [8]byte
	// Recorded: the span will be exported.
	Recorded bool

	buf [55]byte
}

// SetParent writes Parent from TraceID, SpanID and flags.
func (t *Trace) SetParent(flags byte) {
	const hex = "0123456789abcdef"
	b := append(t.buf[:0], "00-"...)
	for _, c := range t.TraceID {
		b = append(b, hex[c>>4], hex[c&15])
	}
	b = append(b, '-')
	for _, c := range t.SpanID {
		b = append(b, hex[c>>4], hex[c&15])
	}
	t.Parent = append(b, '-', hex[flags>>4], hex[flags&15])
}
