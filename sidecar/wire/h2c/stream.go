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

	// body is the request's. It is not pooled: what sends it may live longer.
	body *body
	// whole is the body once a filter has asked for it.
	whole    []byte
	reserved int64

	// doc is a problem, out the head of a request over HTTP/1.1.
	doc, out []byte
}

func (t *stream) attach(c *conn, w http.ResponseWriter, r *http.Request) {
	t.c, t.w, t.r = c, w, r
	t.start, t.deadline = time.Now(), time.Time{}
	t.status, t.grpcStatus = 0, -1
	t.reset, t.ending = false, false
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
	t.port, t.chain = nil, nil
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
	t.observed(outcome)
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
	rec.Duration = time.Since(t.start)
	observer.Done(&t.x, rec)
}

func (t *stream) count() {
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
		d, ok := t.buffer(t.chain.MaxBody(&t.progress))
		if !ok {
			x.Deny(d)
			verdict = exchange.Respond
			break
		}
		verdict = t.chain.Body(x, &t.progress)
	}
	switch verdict {
	case exchange.Respond:
		t.answer(x.Denial)
	default:
		outcome = t.forward()
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

// buffer reads the whole body for a filter.
func (t *stream) buffer(limit int) (exchange.Denial, bool) {
	if t.x.Body != nil {
		if len(t.whole) > limit {
			return rules.TooLarge(limit), false
		}
		return exchange.Denial{}, true
	}
	if t.r.ContentLength > int64(limit) {
		return rules.TooLarge(limit), false
	}
	for ended := false; !ended; {
		if d, ok := t.grow(limit); !ok {
			return d, false
		}
		n, err := t.body.Read(t.whole[len(t.whole):cap(t.whole)])
		t.whole = t.whole[:len(t.whole)+n]
		if len(t.whole) > limit {
			return rules.TooLarge(limit), false
		}
		if ended = t.body.ended.Load(); err != nil && !ended {
			return t.bodyDenial(err), false
		}
	}
	if t.whole == nil {
		t.whole = []byte{}
	}
	t.x.Body = t.whole
	return exchange.Denial{}, true
}

// grow makes room in t.whole, doubling it, within what all requests together may
// hold.
func (t *stream) grow(limit int) (exchange.Denial, bool) {
	if int64(len(t.whole)) < t.reserved && len(t.whole) < cap(t.whole) {
		return exchange.Denial{}, true
	}
	size := max(2*int64(len(t.whole)), 4096)
	if t.r.ContentLength >= 0 {
		// One more byte, so that the end is seen in the same read.
		size = t.r.ContentLength + 1
	}
	size = min(size, int64(limit)+1)
	if size > t.reserved {
		if !t.s.http.Reserve(size - t.reserved) {
			d := rules.Problem(http.StatusServiceUnavailable, rules.ProblemBuffersFull, "Buffers Full",
				"A policy needs the body of this request, and the bodies of other requests fill the memory that is set aside for them; retry in 1 s.")
			d.RetryAfter = time.Second
			return d, false
		}
		t.reserved = size
	}
	if int64(cap(t.whole)) < size {
		t.whole = append(make([]byte, 0, size), t.whole...)
	}
	return exchange.Denial{}, true
}
