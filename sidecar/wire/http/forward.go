// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// forward sends the request to the application and its response to the client.
func (t *txn) forward() exchange.Outcome {
	l := &t.up
	t.out = t.appendRequest(t.out[:0])
	r := Request{
		Head: t.out, Method: t.target.method,
		Whole: t.body.ended, Chunked: t.body.framing == chunked, Upgrade: t.upgrade != nil,
	}
	if r.Timeout = t.x.Timeout; r.Timeout <= 0 && t.port != nil {
		r.Timeout = t.port.ResponseTimeout(t.x.Path)
	}
	p := t.c.pool
	if t.port != nil && t.port.Transcoder != nil {
		r.Transcoder, p = t.port.Transcoder, t.s.transcoded(t.c.target.Upstream)
	}
	if err := l.send(t, p, &r); err != nil {
		t.fail(err, exchange.NotSent)
		return exchange.NotSent
	}
	outcome := t.relay()
	if !t.finish() {
		t.close, t.linger = true, true
	}
	return outcome
}

// finish ends the leg, and puts back the deadlines that an upload has moved.
func (t *txn) finish() bool {
	moved := t.up.pump.started
	whole := t.up.Finish()
	if moved {
		t.c.resetDeadlines()
	}
	return whole
}

// appendRequest builds the head that the application gets, followed by the body
// when all of it is there.
func (t *txn) appendRequest(b []byte) []byte {
	b = append(b, t.target.method...)
	b = append(b, ' ')
	b = append(b, t.target.uri...)
	b = append(b, " HTTP/1.1\r\n"...)
	lastFor, proto, host := t.forwardedFields()
	parent := t.x.Trace.Parent
	begins := len(parent) > 0 && t.x.Trace.ParentID == [8]byte{}
	sets := t.x.HasUpstream()
	for i := range t.head.fields {
		f := &t.head.fields[i]
		if f.drop || rules.HopByHop(f.name, f.value) {
			if t.upgrade != nil && rules.EqualFold(f.name, "upgrade") {
				b = appendUpgrade(b, f)
			}
			continue
		}
		switch {
		case len(f.name) == len("content-length") && rules.EqualFold(f.name, "content-length"),
			len(f.name) == len("transfer-encoding") && rules.EqualFold(f.name, "transfer-encoding"):
			b = t.appendFraming(b, f.name)
		case len(f.name) == len("expect") && rules.EqualFold(f.name, "expect") && (t.buffered || len(t.whole) > 0):
			// The body has come, or is on its way; nobody waits for 100 Continue.
		case len(parent) > 0 && rules.EqualFold(f.name, "traceparent"), begins && rules.EqualFold(f.name, "tracestate"):
			// Weir's own takes its place.
		case sets && t.x.SetsUpstream(f.name):
			// A filter's takes its place.
		case i == lastFor:
			b = append(b, f.name...)
			b = append(b, ": "...)
			b = rules.AppendForwardedFor(b, f.value, t.c.peer)
			b = append(b, "\r\n"...)
		default:
			b = appendField(b, f)
		}
	}
	if !host {
		b = append(b, "Host: "...)
		b = append(b, t.c.target.Upstream...)
		b = append(b, "\r\n"...)
	}
	if lastFor < 0 && t.c.peer.IsValid() {
		b = append(b, "X-Forwarded-For: "...)
		b = rules.AppendForwardedFor(b, nil, t.c.peer)
		b = append(b, "\r\n"...)
	}
	if len(parent) > 0 {
		b = append(b, "traceparent: "...)
		b = append(b, parent...)
		b = append(b, "\r\n"...)
	}
	if !proto {
		b = append(b, "X-Forwarded-Proto: http\r\n"...)
	}
	if sets {
		b = t.appendUpstream(b)
	}
	b = append(b, "\r\n"...)
	return t.appendBody(b)
}

// appendUpstream appends what filters have set for the application.
func (t *txn) appendUpstream(b []byte) []byte {
	t.x.Upstream(func(name string, value []byte) bool {
		if len(value) > 0 {
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, value...)
			b = append(b, "\r\n"...)
		}
		return true
	})
	return b
}

// forwardedFields finds the last X-Forwarded-For, -1 when there is none, and
// whether X-Forwarded-Proto and Host are there.
func (t *txn) forwardedFields() (lastFor int, proto, host bool) {
	lastFor = -1
	for i := range t.head.fields {
		f := &t.head.fields[i]
		if f.drop {
			continue
		}
		switch len(f.name) {
		case len("host"):
			host = host || rules.EqualFold(f.name, "host")
		case len("x-forwarded-for"):
			if rules.EqualFold(f.name, "x-forwarded-for") {
				lastFor = i
			}
		case len("x-forwarded-proto"):
			proto = proto || rules.EqualFold(f.name, "x-forwarded-proto")
		}
	}
	return lastFor, proto, host
}

// appendFraming writes the framing field anew, with the name as it was spelt.
func (t *txn) appendFraming(b, name []byte) []byte {
	switch {
	case t.buffered && t.body.framing == chunked && !t.body.hasTrailers():
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(t.whole)), 10)
	case t.buffered && t.body.framing == fixedLength:
		b = append(b, name...)
		b = append(b, ": "...)
		b = strconv.AppendInt(b, int64(len(t.whole)), 10)
	case t.body.framing == chunked:
		b = append(b, name...)
		b = append(b, ": chunked"...)
	default:
		b = append(b, name...)
		b = append(b, ": "...)
		b = strconv.AppendInt(b, t.body.left, 10)
	}
	return append(b, "\r\n"...)
}

// appendBody appends the body when a filter has read it or all of it has come.
func (t *txn) appendBody(b []byte) []byte {
	if t.buffered && !t.body.hasTrailers() {
		return append(b, t.whole...)
	}
	if t.buffered || len(t.whole) > 0 {
		// What was longer than a filter takes is chunked: else none of it was read.
		if len(t.whole) > 0 {
			b = appendChunk(b, t.whole)
		}
		if !t.body.ended {
			return b
		}
		b = append(b, lastChunk...)
		return t.AppendTrailers(b)
	}
	if t.body.framing != fixedLength || !t.body.inBuffer() {
		return b
	}
	for !t.body.ended {
		p, _ := t.br.Peek(int(t.body.left))
		b = append(b, p...)
		n, _ := t.br.Discard(len(p))
		t.body.skip(n)
	}
	return b
}

// AppendTrailers appends the request's trailer section. Some servers join it with
// the head, so what strangers may not say there they may not say here.
func (t *txn) AppendTrailers(b []byte) []byte {
	from := len(b)
	b = t.body.appendTrailers(b)
	id := t.identity()
	if id != nil && (len(id.Headers) == 0 || id.Trusts(t.c.peer)) {
		id = nil
	}
	if id == nil && !t.x.HasUpstream() {
		return b
	}
	return dropLines(b, from, func(name []byte) bool { return rules.IsIdentity(name, id) || t.x.SetsUpstream(name) })
}

// dropLines takes away the field lines of b[from:] that drop names.
func dropLines(b []byte, from int, drop func(name []byte) bool) []byte {
	kept, rest := b[:from], b[from:]
	for len(rest) > 0 {
		n := bytes.IndexByte(rest, '\n') + 1
		line := rest[:n]
		rest = rest[n:]
		if colon := bytes.IndexByte(line, ':'); colon < 0 || !drop(line[:colon]) {
			kept = append(kept, line...)
		}
	}
	return kept
}

func appendChunk(b, data []byte) []byte {
	b = strconv.AppendInt(b, int64(len(data)), 16)
	b = append(b, "\r\n"...)
	b = append(b, data...)
	return append(b, "\r\n"...)
}

// relay reads responses, interim ones and the last, and sends them on.
func (t *txn) relay() exchange.Outcome {
	l := &t.up
	for {
		status, err := l.Receive()
		if err != nil {
			if t.x.Record && errors.Is(err, ErrNoResponse) && t.overdue() {
				continue
			}
			t.fail(err, exchange.SentNoReply)
			return exchange.SentNoReply
		}
		if status >= 200 {
			break
		}
		if status == http.StatusSwitchingProtocols {
			return t.switchProtocols()
		}
		if t.http10 || t.deaf || t.flush(t.appendInterim(t.w[:0])) {
			continue
		}
		if t.hangUp(); !t.x.Record {
			l.Break()
			return exchange.SentNoReply
		}
	}
	if t.observing {
		t.upstream = time.Since(l.start)
	}
	t.x.Status, t.x.Response = l.status, (*response)(l)
	if t.x.Record {
		return t.relayRecorded()
	}
	t.chain.ResponseHead(&t.x)
	return t.relayFinal()
}

// fail answers for an application that gave no response.
func (t *txn) fail(err error, outcome exchange.Outcome) {
	l := &t.up
	moved := l.pump.started
	f := l.Fail(err)
	if moved {
		t.c.resetDeadlines()
	}
	if !t.answered.IsZero() {
		return
	}
	t.aborted = f.Aborted
	if f.Reason != "" {
		t.s.cfg.Metrics.UpstreamError(t.c.target.Port, f.Reason)
	}
	if !l.pump.whole {
		t.close, t.linger = true, true
	}
	if f.Denial.Status == 0 {
		t.close, t.linger = true, false
		return
	}
	if outcome == exchange.SentNoReply {
		t.chain.Unanswered(&t.x)
	}
	t.answer(f.Denial)
}
