// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

func isTooLong(err error) bool { return errors.Is(err, bufio.ErrBufferFull) }

// appendInterim copies a 1xx response, which has no body to frame.
func (t *txn) appendInterim(w []byte) []byte {
	l := &t.up
	w = append(w, l.head.line...)
	w = append(w, "\r\n"...)
	l.Fields(func(name, value []byte) bool {
		if !rules.EqualFold(name, "content-length") && !rules.EqualFold(name, "transfer-encoding") {
			w = rules.AppendField(w, name, value)
		}
		return true
	})
	return append(w, "\r\n"...)
}

func appendField(w []byte, f *field) []byte { return rules.AppendField(w, f.name, f.value) }

// relayFinal sends the response on: its head with what filters have added, then
// its body as it comes.
func (t *txn) relayFinal() exchange.Outcome {
	l := &t.up
	out := t.responseFraming()
	if t.s.Draining() || l.Uploading() {
		t.close = true
	}
	w := t.appendResponseHead(t.w[:0], out)
	t.status = l.status
	outcome := t.relayBody(w, out)
	t.sent = l.body.size
	return outcome
}

// responseFraming is how the body goes to the client.
func (t *txn) responseFraming() framing {
	switch f := t.up.body.framing; f {
	case chunked, untilClose:
		if t.http10 {
			t.close = true
			return untilClose
		}
		return chunked
	default:
		return f
	}
}

func (t *txn) appendResponseHead(w []byte, out framing) []byte {
	l := &t.up
	// The client knows our version; the rest of the line is the application's.
	w = append(w, "HTTP/1.1"...)
	w = append(w, l.head.line[len("HTTP/1.1"):]...)
	w = append(w, "\r\n"...)
	listed := connectionLists(&l.head)
	framed, hides := false, t.x.Hides()
	for i := range l.head.fields {
		f := &l.head.fields[i]
		if rules.HopByHop(f.name, f.value) || rules.Listed(listed, f.name, t.identity()) {
			continue
		}
		if len(f.name) == len("content-length") && rules.EqualFold(f.name, "content-length") {
			switch {
			case out == fixedLength:
				if framed {
					continue
				}
				framed = true
				w = append(w, f.name...)
				w = append(w, ": "...)
				w = strconv.AppendInt(w, l.body.left, 10)
				w = append(w, "\r\n"...)
				continue
			case out != noBody || l.status == 204 || l.header.ContentLength() == -1:
				continue
			}
		}
		if len(f.name) == len("transfer-encoding") && rules.EqualFold(f.name, "transfer-encoding") {
			switch {
			case out == chunked:
				framed = true
			case out != noBody || l.status == 204 || t.http10:
				continue
			}
		}
		if hides && t.x.HidesResponse(f.name) {
			continue
		}
		w = appendField(w, f)
	}
	if out == chunked && !framed {
		w = append(w, "Transfer-Encoding: chunked\r\n"...)
	}
	w = t.appendFields(w)
	w = t.appendConnection(w)
	return append(w, "\r\n"...)
}

// relayBody sends w and the body after it. It writes when nothing more has come
// from the application or enough is there.
func (t *txn) relayBody(w []byte, out framing) exchange.Outcome {
	l := &t.up
	last := l.start
	for !l.body.ended {
		// What is there may not wait for what is not, unless all of it is
		// about to come.
		if len(w) > 0 && l.br.Buffered() == 0 || len(w) >= bulk {
			if !t.flush(w) {
				return t.broken(ErrClientGone)
			}
			w = t.w
			if now := time.Now(); now.Sub(last) > t.s.Settings().Stall/8 {
				last = now
				t.c.extendDeadlines(now)
			}
		}
		var err error
		if w, err = t.readBody(w, out); err != nil {
			t.flush(w)
			return t.broken(err)
		}
	}
	if out == chunked {
		w = t.appendLastChunk(w)
	}
	if !t.flush(w) {
		return t.broken(ErrClientGone)
	}
	return exchange.Replied
}

// appendLastChunk appends the last chunk and the trailers.
func (t *txn) appendLastChunk(w []byte) []byte {
	w = append(w, lastChunk...)
	from := len(w)
	w = t.up.body.appendTrailers(w)
	if t.x.Hides() {
		w = dropLines(w, from, t.x.HidesResponse)
	}
	return w
}

// readBody appends the next piece of the body to w, framed.
func (t *txn) readBody(w []byte, out framing) ([]byte, error) {
	l := &t.up
	const room = chunkRoom + 2
	from := len(w)
	want := bulk
	if l.body.framing == fixedLength {
		want = int(min(l.body.left, bulk))
	}
	if n := l.br.Buffered(); n > 0 && n < want {
		want = n
	}
	if cap(w)-from < want+room {
		w = append(make([]byte, 0, from+want+room), w...)
	}
	at := from
	if out == chunked {
		at += chunkRoom
	}
	n, err := l.body.Read(w[at : at+want])
	if l.body.ended {
		err = nil
	}
	if n == 0 {
		return w, err
	}
	if out != chunked {
		return w[:at+n], err
	}
	data := w[at : at+n]
	w = strconv.AppendInt(w[:from], int64(n), 16)
	w = append(w, "\r\n"...)
	w = append(w, data...)
	return append(w, "\r\n"...), err
}

// broken ends the client's connection inside a response: it must not take the
// part for the whole, and nothing can be added to it.
func (t *txn) broken(err error) exchange.Outcome {
	l := &t.up
	l.reusable = false
	t.close, t.linger = true, false
	if !t.answered.IsZero() {
		return exchange.Aborted
	}
	t.aborted = abortedClientGone
	if !errors.Is(err, ErrClientGone) {
		if l.pump.failed.Load() {
			// It broke off because the request did.
			t.aborted = abortedBy(l.pump.clientErr)
		} else {
			t.aborted = string(UpstreamAborted)
			t.s.cfg.Metrics.UpstreamError(t.c.target.Port, UpstreamAborted)
			t.s.cfg.Logger.Debug("the application's response broke off", "upstream", t.c.target.Upstream, "error", err)
		}
		t.resetHTTP10()
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		l.body.ended = false
	}
	return exchange.Aborted
}

// resetHTTP10 makes the end of the connection a reset, where it would be the end of
// the body.
func (t *txn) resetHTTP10() {
	if tc, ok := t.c.nc.(*net.TCPConn); ok && t.http10 {
		_ = tc.SetLinger(0)
	}
}
