// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"encoding/binary"
	"math/rand/v2"

	"weir.dev/weir/sidecar/exchange"
)

// Tracer decides which requests have a span. Immutable; safe for concurrent use.
type Tracer struct {
	sample   Sample
	exporter *Exporter
}

// NewTracer makes a Tracer that records perMillion of the requests that come
// without a valid traceparent, and of the others those whose flag says so.
func NewTracer(perMillion uint32, e *Exporter) *Tracer {
	return &Tracer{sample: NewSample(perMillion), exporter: e}
}

// Start places x in its trace. Where Weir has no span the client's fields go
// through as they are: a trace that the client does not sample stays whole
// without Weir, and one that is not begun here is the application's to begin.
func (t *Tracer) Start(x *exchange.Exchange) {
	tr := &x.Trace
	flags := FlagSampled | FlagRandom
	if p, ok := Incoming(x); ok {
		tr.TraceID, tr.ParentID = p.TraceID, p.SpanID
		if !p.Sampled() {
			return
		}
		flags = p.Flags
	} else {
		id := newTraceID()
		if !t.sample.Takes(&id) {
			return
		}
		tr.TraceID = id
	}
	tr.SpanID, tr.Recorded = newSpanID(), true
	tr.SetParent(flags)
}

// Done puts the span of x into the queue.
func (t *Tracer) Done(x *exchange.Exchange, r *exchange.Record) {
	if x.Trace.Recorded {
		t.exporter.record(x, r)
	}
}

// Incoming is the client's traceparent. Several count as none.
func Incoming(x *exchange.Exchange) (Parent, bool) {
	v, n := x.Request.Header("traceparent")
	if n != 1 {
		return Parent{}, false
	}
	return Parse(v)
}

// Sample takes a part of traces, by their ids: whoever samples at the same rate
// takes the same ones.
type Sample uint64

// NewSample takes perMillion of a million.
func NewSample(perMillion uint32) Sample {
	return Sample(uint64(min(perMillion, 1_000_000)) << randomBits / 1_000_000)
}

// randomBits are how many bits of an id decide: the upper ones of the 56 from the
// right, which are random in whatever id is (Trace Context level 2). A million
// times 2^44 fits into 64 bits.
const randomBits = 44

// Takes reports whether the trace is one of the part.
func (s Sample) Takes(id *[16]byte) bool {
	return s.TakesRandom(binary.BigEndian.Uint64(id[8:]))
}

// TakesRandom is Takes by a random number.
func (s Sample) TakesRandom(n uint64) bool { return n<<8>>(64-randomBits) < uint64(s) }

func newTraceID() (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	// Not zero, which would be no id.
	binary.BigEndian.PutUint64(id[8:], max(rand.Uint64(), 1))
	return id
}

func newSpanID() (id [8]byte) {
	binary.BigEndian.PutUint64(id[:], max(rand.Uint64(), 1))
	return id
}
