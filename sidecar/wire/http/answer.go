// SPDX-License-Identifier: Apache-2.0

package http

import (
	"net/http"
	"strconv"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// answer sends Weir's own answer d, and makes sure that the connection can serve
// another request or ends.
func (t *txn) answer(d exchange.Denial) {
	t.x.Denial = d
	t.decideClose(d.Close)
	t.doc = rules.AppendProblem(t.doc[:0], &d)
	w := appendStatus(t.w[:0], d.Status)
	w = append(w, "Content-Type: application/problem+json\r\nCache-Control: no-store\r\nContent-Length: "...)
	w = strconv.AppendInt(w, int64(len(t.doc)), 10)
	w = append(w, "\r\n"...)
	if d.RetryAfter > 0 {
		w = append(w, "Retry-After: "...)
		w = strconv.AppendInt(w, rules.RetryAfter(d.RetryAfter), 10)
		w = append(w, "\r\n"...)
	}
	w = t.appendFields(w)
	w = t.appendConnection(w)
	w = append(w, "\r\n"...)
	if string(t.target.method) != "HEAD" {
		t.sent = int64(len(t.doc))
		w = append(w, t.doc...)
	}
	t.status = d.Status
	t.x.Status = d.Status
	if !t.flush(w) {
		t.close, t.sent, t.aborted = true, 0, abortedClientGone
		return
	}
	t.afterAnswer()
}

// decideClose decides, before an answer of Weir's, whether the connection goes on
// after it: not where the next request cannot be found.
func (t *txn) decideClose(must bool) {
	if must || t.s.Draining() {
		t.close = true
	}
	if !t.close && !t.body.ended && (t.expects100 || t.body.framing == fixedLength && t.body.left > maxLinger || !t.discardSmall()) {
		t.close = true
	}
}

// afterAnswer makes the connection ready for the next request, or for its end.
func (t *txn) afterAnswer() {
	if t.close {
		t.linger = t.linger || !t.body.ended
		return
	}
	if !t.discard() {
		t.close, t.linger = true, true
	}
}

// discardSmall takes a chunked body off the connection that has come by now. How
// long another will be cannot be known, and a connection that may have to end after
// the answer says so in it: the client must not send its next request into the end.
func (t *txn) discardSmall() bool {
	if t.body.framing != chunked {
		return true
	}
	_ = t.c.nc.SetReadDeadline(time.Now().Add(smallBodyWait))
	defer t.c.resetDeadlines()
	if cap(t.out) < 4096 {
		t.out = make([]byte, 0, 4096)
	}
	for n := 0; n <= maxLinger; {
		k, err := t.body.Read(t.out[:4096])
		if n += k; t.body.ended {
			return true
		}
		if err != nil {
			return false
		}
	}
	return false
}

// smallBodyWait is how long an answer of Weir's waits for the rest of a chunked body
// that is on its way.
const smallBodyWait = 5 * time.Millisecond

// appendFields appends what filters have added to the response.
func (t *txn) appendFields(w []byte) []byte {
	t.x.Fields(func(name string, value []byte) bool {
		w = append(w, name...)
		w = append(w, ": "...)
		w = append(w, value...)
		w = append(w, "\r\n"...)
		return true
	})
	return w
}

// appendConnection tells the client whether the connection goes on.
func (t *txn) appendConnection(w []byte) []byte {
	switch {
	case t.close:
		return append(w, "Connection: close\r\n"...)
	case t.http10:
		return append(w, "Connection: keep-alive\r\n"...)
	}
	return w
}

func appendStatus(w []byte, status int) []byte {
	w = append(w, "HTTP/1.1 "...)
	w = strconv.AppendInt(w, int64(status), 10)
	w = append(w, ' ')
	w = append(w, http.StatusText(status)...)
	return append(w, "\r\n"...)
}

// flush writes b to the client and keeps its memory for the next time. It reports
// false when the client is gone.
func (t *txn) flush(b []byte) bool {
	t.w = b[:0]
	if len(b) == 0 {
		return true
	}
	_, err := t.sock.Write(b)
	return err == nil
}

// refuseUnconfigured answers 503 on a port of which nothing is known yet.
func (c *conn) refuseUnconfigured() {
	c.state.Store(active)
	t := c.s.txns.Get().(*txn)
	t.attach(c)
	d := rules.Problem(http.StatusServiceUnavailable, rules.ProblemNoConfig, "No Configuration",
		"The sidecar has not received its configuration yet; retry in 1 s.")
	d.Close = true
	d.RetryAfter = 1
	t.refuseHead(d)
	c.linger(t.br)
	t.detach()
	c.s.txns.Put(t)
}
