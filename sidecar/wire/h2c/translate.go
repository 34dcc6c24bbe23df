// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// legClient is the client's side of a stream for a leg of HTTP/1.1.
type legClient struct{ t *stream }

// ReadBody implements wirehttp.Client.
func (c legClient) ReadBody(p []byte) (int, error) {
	n, err := c.t.body.Read(p)
	if errors.Is(err, errTooLarge) {
		err = wirehttp.ErrBodyTooLarge
	}
	return n, err
}

// AppendTrailers implements wirehttp.Client.
func (c legClient) AppendTrailers(dst []byte) []byte {
	for _, name := range slices.Sorted(maps.Keys(c.t.body.trailer)) {
		for _, v := range c.t.body.trailer[name] {
			dst = rules.AppendField(dst, bytesOf(name), bytesOf(v))
		}
	}
	return append(dst, "\r\n"...)
}

// ExtendRead implements wirehttp.Client. The stream's watch bounds the wait.
func (c legClient) ExtendRead(until time.Time) {
	if until.Before(c.t.start) {
		_ = c.t.body.Close()
	}
}

// ExtendWrite implements wirehttp.Client. The stream's watch bounds the wait.
func (c legClient) ExtendWrite(time.Time) {}

// Gone implements wirehttp.Client: nobody waits for the response any more, the client
// has gone and no recorder wants what it does not.
func (c legClient) Gone() bool {
	t := c.t
	if !t.deaf && t.r.Context().Err() == nil {
		return false
	}
	if t.until.IsZero() {
		t.until = time.Now().Add(t.patience())
	}
	return !t.x.Record || t.s.http.Context().Err() != nil || !time.Now().Before(t.until)
}

// translate sends the request over HTTP/1.1, and the response to it to the client.
func (t *stream) translate() exchange.Outcome {
	l := t.s.legs.Get().(*wirehttp.Leg)
	t.leg = l
	if t.x.Record {
		return t.translateRecorded(l)
	}
	var gone sync.WaitGroup
	gone.Add(1)
	stop := context.AfterFunc(t.r.Context(), func() {
		defer gone.Done()
		l.Interrupt()
	})
	defer func() {
		if !stop() {
			// The next request must not be interrupted.
			gone.Wait()
		}
		t.endLeg(l)
	}()
	return t.overLeg(l)
}

// translateRecorded is translate for recorders: the leg does not end with the client,
// and looks by itself whether anybody waits for it.
func (t *stream) translateRecorded(l *wirehttp.Leg) exchange.Outcome {
	defer func() {
		if t.later == nil {
			t.endLeg(l)
		}
	}()
	outcome := t.overLeg(l)
	if later := t.later; later != nil {
		t.later = func() exchange.Outcome {
			defer t.endLeg(l)
			return later()
		}
	}
	return outcome
}

// endLeg ends the exchange with the application. Filters may look at the response
// still, so the leg stays until detach.
func (t *stream) endLeg(l *wirehttp.Leg) {
	// After a panic it is not at its end.
	l.Break()
	l.Finish()
}

// overLeg is the exchange with the application.
func (t *stream) overLeg(l *wirehttp.Leg) exchange.Outcome {
	t.out = t.appendHead(t.out[:0])
	r := wirehttp.Request{
		Head: t.out, Method: bytesOf(t.r.Method), Timeout: t.timeout(),
		Whole: t.r.ContentLength == 0 || t.buffered, Chunked: t.chunked(),
	}
	if t.port != nil {
		r.Transcoder = t.port.Transcoder
	}
	sent := time.Now()
	if err := l.Send(legClient{t}, t.c.target.Upstream, &r); err != nil {
		t.failed(l.Fail(err), exchange.NotSent)
		return exchange.NotSent
	}
	t.body.sending.Store(true)
	return t.receive(l, sent)
}

// receive relays what the application answers.
func (t *stream) receive(l *wirehttp.Leg, sent time.Time) exchange.Outcome {
	for {
		status, err := l.Receive()
		if err != nil {
			if t.x.Record && errors.Is(err, wirehttp.ErrNoResponse) && t.awaitLater(func() { l.Await(t.x.Late) }) {
				t.receiveLater(l, sent)
				return exchange.SentNoReply
			}
			t.failed(l.Fail(err), exchange.SentNoReply)
			return exchange.SentNoReply
		}
		if status >= 200 {
			t.record.Upstream = time.Since(sent)
			outcome := t.relayLeg(l, status)
			l.Finish()
			return outcome
		}
		if t.deaf {
			continue
		}
		h := t.w.Header()
		l.Fields(func(name, value []byte) bool { h.Add(string(name), string(value)); return true })
		t.writeInterim(h, status)
	}
}

// receiveLater leaves the rest of receive for later. It is no part of it, where the
// closure would put sent on the heap each time.
func (t *stream) receiveLater(l *wirehttp.Leg, sent time.Time) {
	t.later = func() exchange.Outcome { return t.receive(l, sent) }
}

// chunked reports whether the request's body is sent in chunks: trailers need them.
func (t *stream) chunked() bool { return t.r.ContentLength < 0 || t.body.trailer != nil }

// appendHead appends the request as HTTP/1.1 has it, with its body where a filter
// has read it. Fields are sorted: their order is lost in net/http.
func (t *stream) appendHead(b []byte) []byte {
	r := t.r
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.RequestURI...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	b = append(b, "\r\n"...)
	t.addOwn(r.Header)
	t.setUpstream(r.Header)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if name == "Host" || name == "Content-Length" {
			continue
		}
		for _, v := range r.Header[name] {
			if !rules.HopByHop(bytesOf(name), bytesOf(v)) {
				b = rules.AppendField(b, bytesOf(name), bytesOf(v))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.body.trailer)) {
		b = rules.AppendField(b, []byte("Trailer"), bytesOf(name))
	}
	length := r.ContentLength
	switch {
	case t.chunked():
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case length > 0 || len(r.Header["Content-Length"]) > 0 || r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch:
		b = rules.AppendField(b, []byte("Content-Length"), strconv.AppendInt(nil, length, 10))
	}
	b = append(b, "\r\n"...)
	whole := t.whole
	switch {
	case !t.buffered && length != 0:
		return b
	case !t.chunked():
		return append(b, whole...)
	}
	if len(whole) > 0 {
		b = strconv.AppendInt(b, int64(len(whole)), 16)
		b = append(b, "\r\n"...)
		b = append(b, whole...)
		b = append(b, "\r\n"...)
	}
	b = append(b, "0\r\n"...)
	return legClient{t}.AppendTrailers(b)
}

// failed answers for a leg without a response.
func (t *stream) failed(f wirehttp.Failure, outcome exchange.Outcome) {
	if t.deaf {
		return
	}
	if outcome == exchange.SentNoReply {
		t.chain.Unanswered(&t.x)
	}
	t.record.Aborted = f.Aborted
	if f.Reason != "" {
		t.s.cfg.Metrics.UpstreamError(t.c.target.Port, f.Reason)
	}
	if failed := t.body.failed.Load(); failed != nil && t.r.Context().Err() == nil {
		t.record.Aborted = aborted(*failed)
		t.answer(t.bodyDenial(*failed))
		return
	}
	if f.Denial.Status == 0 || t.r.Context().Err() != nil {
		t.record.Aborted = abortedClientGone
		t.reset = true
		return
	}
	t.answer(f.Denial)
}

// relayLeg sends the response on.
func (t *stream) relayLeg(l *wirehttp.Leg, status int) exchange.Outcome {
	t.x.Status, t.x.Response = status, l.Response()
	if t.x.Record {
		return t.recordLeg(l, status)
	}
	t.chain.ResponseHead(&t.x)
	t.writeLegHead(l, status)
	if t.bodyless(status) || l.ContentLength() == 0 {
		return exchange.Replied
	}
	if err := t.relayBody(legBody{l}); err != nil {
		return t.legAborted(l, err)
	}
	t.writeLegTrailers(l)
	return exchange.Replied
}

// bodyless reports whether a response of that status to this request has no body.
func (t *stream) bodyless(status int) bool {
	return t.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
}

// writeLegHead is writeHead for a response over HTTP/1.1.
func (t *stream) writeLegHead(l *wirehttp.Leg, status int) {
	h := t.header()
	l.Fields(func(name, value []byte) bool {
		switch key := http.CanonicalHeaderKey(string(name)); key {
		case "Transfer-Encoding":
		case "Content-Length":
			// Of a 304, net/http's client would miss the body.
			if t.r.Method == http.MethodHead && status != http.StatusNoContent && status != http.StatusNotModified && h[key] == nil {
				h[key] = []string{string(value)}
			}
		default:
			h.Add(key, string(value))
		}
		return true
	})
	t.hide(h)
	if n := l.ContentLength(); !t.bodyless(status) && n >= 0 {
		h["Content-Length"] = []string{strconv.FormatInt(n, 10)}
	}
	t.addFields(h)
	t.w.WriteHeader(status)
	t.status = status
}

// writeLegTrailers is writeTrailers for a response over HTTP/1.1.
func (t *stream) writeLegTrailers(l *wirehttp.Leg) {
	l.Trailers(func(name, value []byte) bool {
		if !t.x.HidesResponse(name) {
			key := http.TrailerPrefix + http.CanonicalHeaderKey(string(name))
			t.w.Header()[key] = append(t.w.Header()[key], string(value))
		}
		return true
	})
}

// legAborted ends a response over HTTP/1.1 that has not come whole.
func (t *stream) legAborted(l *wirehttp.Leg, err error) exchange.Outcome {
	l.Break()
	if errors.Is(err, errClientGone) || t.r.Context().Err() != nil {
		return t.clientGone()
	}
	t.reset = true
	t.record.Aborted = string(wirehttp.UpstreamAborted)
	t.s.cfg.Metrics.UpstreamError(t.c.target.Port, wirehttp.UpstreamAborted)
	t.s.cfg.Logger.Debug("the application's response broke off", "upstream", t.c.target.Upstream, "error", err)
	return exchange.Aborted
}

// legBody is the body of a leg's response.
type legBody struct{ *wirehttp.Leg }

// Read implements io.Reader.
func (b legBody) Read(p []byte) (int, error) { return b.ReadBody(p) }

// pending is what a response's body may be: one of which is known how much has
// come already.
type pending interface{ Buffered() int }

// waits reports whether reading more may wait, so that what was read must be sent
// on.
func waits(r io.Reader) bool {
	p, ok := r.(pending)
	return !ok || p.Buffered() == 0
}
