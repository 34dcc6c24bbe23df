// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"math/rand/v2"
	"net/http"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/telemetry/trace"
)

// Mode is which requests have a line.
type Mode uint8

const (
	// Errors: see IsError.
	Errors Mode = iota
	// Sampled: errors, and a part of the rest.
	Sampled
	// All requests.
	All
)

// Logger decides which exchanges have a line. Immutable; safe for concurrent use.
type Logger struct {
	mode   Mode
	sample trace.Sample
	writer *Writer
}

// NewLogger makes a Logger; perMillion is for Sampled.
func NewLogger(mode Mode, perMillion uint32, w *Writer) *Logger {
	return &Logger{mode: mode, sample: trace.NewSample(perMillion), writer: w}
}

// Done writes the line of an exchange, if it has one.
func (l *Logger) Done(x *exchange.Exchange, r *exchange.Record) {
	if l.mode != All && !IsError(x, r) && (l.mode != Sampled || !l.takes(x)) {
		return
	}
	l.writer.write(x, r)
}

// IsError reports whether an exchange is one that people look for: Weir answered
// by itself, the answer says that the server failed, or it broke.
func IsError(x *exchange.Exchange, r *exchange.Record) bool {
	switch {
	case x.Denial.Status != 0, r.Status == 0, r.Status >= http.StatusInternalServerError:
		return true
	case r.Aborted != "", r.Outcome == exchange.Aborted, r.Outcome == exchange.SentNoReply:
		return true
	}
	return x.GRPC && r.GRPCStatus >= 0 && exchange.GRPCServerFault(r.GRPCStatus)
}

// takes goes by the trace, so that the lines of a trace are all there or none,
// and by chance where there is no trace.
func (l *Logger) takes(x *exchange.Exchange) bool {
	if id := x.Trace.TraceID; id != [16]byte{} {
		return l.sample.Takes(&id)
	}
	if p, ok := trace.Incoming(x); ok {
		return l.sample.Takes(&p.TraceID)
	}
	return l.sample.TakesRandom(rand.Uint64())
}
