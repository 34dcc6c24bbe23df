// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"net/http"
	"runtime/debug"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// stream is the memory of one request and its response, pooled.
type stream struct {
	s *Server
	c *conn
	w http.ResponseWriter
	r *http.Request

	x        exchange.Exchange
	head     head
	paths    rules.Paths
	port     *exchange.Port
	chain    exchange.Chain
	progress exchange.Progress
	observer exchange.Observer
	record   exchange.Record
	start    time.Time
	// deadline of a gRPC call, zero: none.
	deadline time.Time

	grpc bool
	// translated: the application speaks HTTP/1.1.
	translated bool
	// status that the client got, 0: none; grpcStatus likewise, -1: none.
	status, grpcStatus int
	// reset: the response is not whole, which the client must learn.
	reset bool
	// ending: filters are being told the outcome.
	ending bool
	// counted: Metrics.Request was called.
	counted bool
	// deaf: nothing more is sent to the client, which has gone or, where answered says
	// when, was told that the application is late.
	deaf     bool
	answered time.Time
	// later is what is left of an exchange whose client was answered.
	later func() exchange.Outcome
	// until bounds the wait of a leg for what only recorders want; zero: nobody has
	// gone yet.
	until time.Time
	// recording, of a response over HTTP/2, nil: nobody records.
	recording *recording
	// response over HTTP/2 as filters see it, leg what has one over HTTP/1.1.
	response response
	leg      *wirehttp.Leg

	// body is the request's. It is not pooled: what sends it may live longer.
	body *body
	// whole is what filters have asked for of the body: all of it where buffered.
	whole    []byte
	buffered bool
	reserved int64

	// doc is a problem, out the head of a request over HTTP/1.1.
	doc, out []byte
}

func (t *stream) attach(c *conn, w http.ResponseWriter, r *http.Request) {
	t.c, t.w, t.r = c, w, r
	t.start, t.deadline = time.Now(), time.Time{}
	t.status, t.grpcStatus = 0, -1
	t.reset, t.ending, t.counted, t.buffered = false, false, false, false
	t.deaf, t.answered, t.until, t.later, t.recording = false, time.Time{}, time.Time{}, nil, nil
	t.port, t.chain, t.observer = nil, nil, nil
	t.progress = exchange.Progress{}
	t.record = exchange.Record{}
	t.body = &body{r: r}
	t.body.watch.w, t.body.watch.stall = w, t.s.http.Settings().Stall
}

// detach gives back what the request held.
func (t *stream) detach() {
	t.body.watch.stop()
	if t.reserved > 0 {
		t.s.http.Reserve(-t.reserved)
		t.reserved = 0
	}
	t.c, t.w, t.r, t.body = nil, nil, nil, nil
	t.port, t.chain, t.later, t.recording = nil, nil, nil, nil
	t.response = response{}
	if t.leg != nil {
		t.s.legs.Put(t.leg)
		t.leg = nil
	}
	clear(t.head.fields)
	t.x.Reset()
	if cap(t.out) > maxKept {
		t.out = nil
	}
	if cap(t.whole) > maxKept {
		t.whole = nil
	}
	t.whole = t.whole[:0]
}

const maxKept = 64 << 10

// serve answers the request and reports whether the client got all of it.
func (t *stream) serve() (whole bool) {
	outcome := exchange.NotSent
	defer func() {
		if r := recover(); r != nil {
			t.s.cfg.Logger.Error("a request ended in a panic", "panic", r, "stack", string(debug.Stack()))
			t.abandon()
			whole = false
		}
	}()
	t.begin()
	d, ok := t.check()
	if t.port != nil && t.port.Observer != nil {
		t.observer = t.port.Observer
		t.observer.Start(&t.x)
	}
	if ok {
		outcome = t.run()
	} else {
		t.answer(d)
	}
	t.count()
	if t.later == nil {
		t.observed(outcome)
	}
	return !t.reset
}

// observed tells the port's observer what became of the request.
func (t *stream) observed(outcome exchange.Outcome) {
	if t.observer == nil {
		return
	}
	observer, rec := t.observer, &t.record
	t.observer = nil
	rec.Status, rec.GRPCStatus, rec.Outcome = t.status, t.grpcStatus, outcome
	rec.RequestBytes = t.body.taken.Load()
	if rec.Duration = time.Since(t.start); !t.answered.IsZero() {
		rec.Duration = t.answered.Sub(t.start)
	}
	observer.Done(&t.x, rec)
}

func (t *stream) count() {
	if t.counted {
		return
	}
	t.counted = true
	if !t.grpc {
		t.s.cfg.Metrics.Request(t.c.target.Port, wirehttp.H2C, t.status, t.start)
		return
	}
	if t.grpcStatus < 0 && t.status != 0 && !t.reset {
		// What a gRPC client makes of an answer that is none of gRPC.
		t.grpcStatus = grpcCode(t.status)
	}
	t.s.cfg.Metrics.Request(t.c.target.Port, wirehttp.GRPC, t.grpcStatus, t.start)
}

// run takes the request through the filters and, when they let it, to the
// application.
func (t *stream) run() exchange.Outcome {
	x := &t.x
	outcome := exchange.NotSent
	verdict := t.chain.Head(x, &t.progress)
	for verdict == exchange.NeedBody {
		d, oversize, ok := t.buffer(t.chain.MaxBody(&t.progress))
		if ok {
			verdict = t.chain.Body(x, &t.progress)
			continue
		}
		if oversize {
			if v, asked := t.chain.Oversize(x, &t.progress); asked {
				verdict = v
				continue
			}
		}
		x.Deny(d)
		verdict = exchange.Respond
	}
	switch {
	case verdict != exchange.Respond:
		if outcome = t.forward(); t.later != nil {
			return outcome
		}
	case x.Reply() != nil:
		t.answerReply(x.Reply())
	default:
		t.answer(x.Denial)
	}
	t.ending = true
	t.chain.End(x, &t.progress, outcome)
	return outcome
}

// abandon ends what a panic has left.
func (t *stream) abandon() {
	defer func() { _ = recover() }()
	outcome := exchange.NotSent
	if t.body.sending.Load() {
		outcome = exchange.SentNoReply
	}
	defer func() {
		// A filter may panic once more.
		_ = recover()
		t.record.Aborted = "panic"
		t.reset = true
		t.count()
		t.observed(outcome)
	}()
	if !t.ending {
		t.ending = true
		t.chain.End(&t.x, &t.progress, outcome)
	}
}
