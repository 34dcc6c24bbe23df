// SPDX-License-Identifier: Apache-2.0

package http

import (
	"io"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

// abortedUnrecorded is Record.Aborted where a recorder did not let a response end.
const abortedUnrecorded = "not-recorded"

// recordOn begins the wait for a response that only recorders want. What they are
// after is of a size that they have bounded, so time is all that has to be.
func (t *txn) recordOn() {
	t.until = time.Now().Add(max(t.s.Settings().Stall, t.up.timeout+t.x.Late))
}

// hangUp says that the client has gone.
func (t *txn) hangUp() {
	t.deaf, t.close, t.linger = true, true, false
	if t.aborted == "" {
		t.aborted = abortedClientGone
	}
	if t.until.IsZero() {
		t.recordOn()
	}
}

// overdue tells recorders that the application's time is over, and answers the client
// where the response is still awaited for them. It reports false where it is not.
func (t *txn) overdue() bool {
	if !t.answered.IsZero() {
		return false
	}
	if t.chain.Overdue(&t.x); !t.x.Record || t.x.Late <= 0 {
		return false
	}
	f := t.up.Await(t.x.Late)
	t.s.cfg.Metrics.UpstreamError(t.c.target.Port, f.Reason)
	// The connection goes to its end without the client: it is told so.
	t.close = true
	if !t.deaf {
		t.answer(f.Denial)
	}
	t.aborted, t.deaf, t.linger = f.Aborted, true, true
	t.answered = time.Now()
	t.count()
	if h, ok := t.c.nc.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite()
	}
	t.recordOn()
	return true
}

// relayRecorded is relayFinal for recorders: they see the body, read to its end even if no
// client is there to get it, and have ended before the client gets the end of it.
func (t *txn) relayRecorded() exchange.Outcome {
	l := &t.up
	if !t.until.IsZero() {
		t.recordOn()
	}
	t.chain.ResponseHead(&t.x)
	out := t.responseFraming()
	if t.s.Draining() || l.Uploading() {
		t.close = true
	}
	w := t.appendResponseHead(t.w[:0], out)
	if !t.deaf {
		t.status = l.status
	}
	last, begun := l.start, false
	for !l.body.ended {
		if !t.until.IsZero() && t.Gone() {
			return t.broken(ErrClientGone)
		}
		if len(w) > 0 && l.br.Buffered() == 0 || len(w) >= bulk {
			t.send(w, l.body.size)
			w, begun = t.w, true
			if now := time.Now(); now.Sub(last) > t.s.Settings().Stall/8 {
				last = now
				t.c.extendDeadlines(now)
			}
			continue
		}
		had := l.body.size
		var err error
		w, err = t.readBody(w, out)
		if n := int(l.body.size - had); n > 0 && t.x.Record {
			end := len(w)
			if out == chunked {
				end -= len("\r\n")
			}
			t.chain.ResponseBody(&t.x, w[end-n:end])
		}
		if err != nil {
			t.send(w, l.body.size)
			return t.broken(err)
		}
	}
	if l.pump.failed.Load() {
		// The request broke off, so this is no answer to it.
		t.send(w, l.body.size)
		return t.broken(io.ErrUnexpectedEOF)
	}
	return t.endRecorded(w, out, begun)
}

// endRecorded sends the end of the response when recorders have ended, and what else
// there is before, where the client has its beginning already. A response that came as
// a whole goes as one: most of it is of no use to the client, and would cost another
// system call.
func (t *txn) endRecorded(w []byte, out framing, begun bool) exchange.Outcome {
	size := t.up.body.size
	switch {
	case !begun:
		if out == chunked {
			w = t.appendLastChunk(w)
		}
	case out == fixedLength:
		end := w[len(w)-1]
		t.send(w[:len(w)-1], size-1)
		w = append(t.w, end)
	default:
		t.send(w, size)
		w = t.w
		if out == chunked {
			w = t.appendLastChunk(w)
		}
	}
	if !t.chain.ResponseEnd(&t.x) {
		t.close, t.linger = true, false
		if t.aborted == "" {
			t.aborted = abortedUnrecorded
		}
		if !t.deaf && !begun {
			t.status = 0
		}
		t.resetHTTP10()
		return exchange.Aborted
	}
	t.send(w, size)
	return exchange.Replied
}

// send is flush for a client that may have gone; sent is how much of the body it has
// then.
func (t *txn) send(w []byte, sent int64) {
	if t.deaf {
		t.w = w[:0]
		return
	}
	if !t.flush(w) {
		t.hangUp()
		return
	}
	t.sent = sent
}
