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
	l.sent = false
	if !t.send() {
		return exchange.NotSent
	}
	outcome := t.relay()
	u := l.conn
	if !l.pump.finish(t, u) {
		l.reusable = false
		t.close, t.linger = true, true
	}
	l.release()
	return outcome
}

// send writes the head, with the body as far as it is there, to a connection. A
// kept connection of which the application took no byte is replaced, once: that
// is the only retry.
func (t *txn) send() bool {
	l := &t.up
	l.start = time.Now()
	u := t.c.pool.get(l.start)
	for reused := u != nil; ; reused = false {
		if u == nil {
			c, err := t.s.dial(t.c.target.Upstream)
			if err != nil {
				t.s.cfg.Metrics.UpstreamError(t.c.target.Port, UpstreamUnreachable)
				t.s.cfg.Logger.Debug("the application cannot be reached", "upstream", t.c.target.Upstream, "error", err)
				t.answer(rules.Problem(http.StatusBadGateway, rules.ProblemUnreachable, "Upstream Unreachable",
					"The application behind this sidecar does not accept connections."))
				return false
			}
			u = newUpConn(c)
		}
		l.attach(u)
		n, err := t.writeOut(u)
		if err == nil || n > 0 {
			l.sent = true
			if err != nil {
				// It may have answered before it stopped reading.
				l.reusable = false
			}
			break
		}
		_ = u.Close()
		l.conn = nil
		if !reused {
			t.s.cfg.Metrics.UpstreamError(t.c.target.Port, UpstreamUnreachable)
			t.answer(rules.Problem(http.StatusBadGateway, rules.ProblemUnreachable, "Upstream Unreachable",
				"The application behind this sidecar closed the connection before it took the request."))
			return false
		}
		u = nil
	}
	if t.body.ended {
		l.late = l.start.Add(t.s.cfg.Timeouts.Response)
	} else {
		l.pump.start(t, u)
	}
	return true
}

// writeOut writes t.out. What may be more than the kernel takes at once must not
// wait for ever for an application that does not read.
func (t *txn) writeOut(u *upConn) (int, error) {
	if len(t.out) > bulk {
		_ = u.SetWriteDeadline(time.Now().Add(t.s.cfg.Timeouts.Stall))
		defer func() { _ = u.SetWriteDeadline(time.Time{}) }()
	}
	return u.Write(t.out)
}

// appendRequest builds the head that the application gets, followed by the body
// when all of it is there.
func (t *txn) appendRequest(b []byte) []byte {
	b = append(b, t.target.method...)
	b = append(b, ' ')
	b = append(b, t.target.uri...)
	b = append(b, " HTTP/1.1\r\n"...)
	lastFor, proto, host := t.forwardedFields()
	for i := range t.head.fields {
		f := &t.head.fields[i]
		if f.drop || rules.HopByHop(f.name, f.value) {
			continue
		}
		switch {
		case len(f.name) == len("content-length") && rules.EqualFold(f.name, "content-length"),
			len(f.name) == len("transfer-encoding") && rules.EqualFold(f.name, "transfer-encoding"):
			b = t.appendFraming(b, f.name)
		case len(f.name) == len("expect") && rules.EqualFold(f.name, "expect") && t.x.Body != nil:
			// The body has come; nobody waits for 100 Continue.
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
	if !proto {
		b = append(b, "X-Forwarded-Proto: http\r\n"...)
	}
	b = append(b, "\r\n"...)
	return t.appendBody(b)
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
	case t.x.Body != nil && t.body.framing == chunked && !t.body.hasTrailers():
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(t.x.Body)), 10)
	case t.x.Body != nil && t.body.framing == fixedLength:
		b = append(b, name...)
		b = append(b, ": "...)
		b = strconv.AppendInt(b, int64(len(t.x.Body)), 10)
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
	if whole := t.x.Body; whole != nil {
		if !t.body.hasTrailers() {
			return append(b, whole...)
		}
		if len(whole) > 0 {
			b = appendChunk(b, whole)
		}
		b = append(b, lastChunk...)
		return t.appendTrailers(b)
	}
	if t.body.framing != fixedLength || !t.body.inBuffer() {
		return b
	}
	for !t.body.ended {
		p, _ := t.br.Peek(int(t.body.left))
		b = append(b, p...)
		n, _ := t.br.Discard(len(p))
		t.body.left -= int64(n)
		t.body.ended = t.body.left == 0
	}
	return b
}

// appendTrailers appends the request's trailer section. Some servers join it with
// the head, so what strangers may not say there they may not say here.
func (t *txn) appendTrailers(b []byte) []byte {
	from := len(b)
	b = t.body.appendTrailers(b)
	if t.port == nil || t.port.Identity == nil || len(t.port.Identity.Headers) == 0 || t.port.Identity.Trusts(t.c.peer) {
		return b
	}
	kept, rest := b[:from], b[from:]
	for len(rest) > 0 {
		n := bytes.IndexByte(rest, '\n') + 1
		line := rest[:n]
		rest = rest[n:]
		if colon := bytes.IndexByte(line, ':'); colon < 0 || !rules.IsIdentity(line[:colon], t.identity()) {
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
		if err := l.readHead(); err != nil {
			return t.noResponse(err)
		}
		if l.status >= 200 {
			break
		}
		if l.status == http.StatusSwitchingProtocols {
			return t.noResponse(invalidResponse{errors.New("the application switched protocols unasked")})
		}
		if !t.http10 && !t.flush(t.appendInterim(t.w[:0])) {
			l.reusable = false
			t.close = true
			return exchange.SentNoReply
		}
	}
	if err := l.frame(t.target.method); err != nil {
		return t.noResponse(err)
	}
	l.headed = true
	t.x.Status = l.status
	t.chain.ResponseHead(&t.x)
	return t.relayFinal()
}

// noResponse answers for an application that gave no response.
func (t *txn) noResponse(err error) exchange.Outcome {
	l := &t.up
	l.reusable = false
	reason, d := UpstreamClosed, rules.Problem(http.StatusBadGateway, rules.ProblemUpstreamClosed, "Upstream Closed",
		"The application closed the connection without a response; whether it has processed the request is not known.")
	var invalid invalidResponse
	whole := l.pump.finish(t, l.conn)
	switch {
	case errors.Is(err, errClientGone) || !whole && l.pump.clientErr != nil && !badBody(l.pump.clientErr):
		t.close = true
		return exchange.SentNoReply
	case !whole && badBody(l.pump.clientErr):
		t.answer(rules.Malformed("The body is malformed: a chunk or a trailer cannot be read."))
		return exchange.SentNoReply
	case errors.Is(err, errNoResponse):
		reason, d = UpstreamTimeout, rules.Problem(http.StatusGatewayTimeout, rules.ProblemUpstreamTimeout, "Upstream Timeout",
			"The application did not answer within "+t.s.cfg.Timeouts.Response.String()+"; whether it has processed the request is not known.")
	case errors.As(err, &invalid) || isTooLong(err):
		reason, d = UpstreamInvalid, rules.Problem(http.StatusBadGateway, rules.ProblemUpstreamInvalid, "Invalid Upstream Response",
			"The application's response is not HTTP/1.1, or its head is too long.")
	}
	t.s.cfg.Metrics.UpstreamError(t.c.target.Port, reason)
	t.s.cfg.Logger.Debug("the application did not answer", "upstream", t.c.target.Upstream, "reason", reason, "error", err)
	if !whole {
		t.close, t.linger = true, true
	}
	t.answer(d)
	return exchange.SentNoReply
}
