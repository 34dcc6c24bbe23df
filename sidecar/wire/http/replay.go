// SPDX-License-Identifier: Apache-2.0

package http

import (
	"net/http"
	"strconv"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// answerReply sends a recorded response in place of asking the application.
func (t *txn) answerReply(r *exchange.Reply) {
	t.decideClose(false)
	body, chunks := r.Body, false
	switch {
	case string(t.target.method) == "HEAD" || r.Status == http.StatusNoContent || r.Status == http.StatusNotModified:
		body = nil
	default:
		chunks = len(r.Trailer) > 0 && !t.http10
	}
	w := t.appendReplyHead(appendStatus(t.w[:0], r.Status), r, chunks)
	t.status, t.x.Status = r.Status, r.Status
	if chunks && len(body) > 0 {
		w = strconv.AppendInt(w, int64(len(body)), 16)
		w = append(w, "\r\n"...)
	}
	ok := t.flushReply(w, body)
	if ok && chunks {
		ok = t.flush(appendReplyEnd(t.w[:0], r, len(body) > 0))
	}
	if !ok {
		t.close, t.aborted = true, abortedClientGone
		return
	}
	t.afterAnswer()
}

// appendReplyHead appends the fields of r, framed for this client, and the empty
// line.
func (t *txn) appendReplyHead(w []byte, r *exchange.Reply, chunks bool) []byte {
	head := string(t.target.method) == "HEAD"
	for i := range r.Header {
		f := &r.Header[i]
		switch {
		case rules.HopByHop(f.Name, f.Value), rules.EqualFold(f.Name, "transfer-encoding"):
		case rules.EqualFold(f.Name, "content-length") && (!head || r.Status == http.StatusNoContent):
		default:
			w = rules.AppendField(w, f.Name, f.Value)
		}
	}
	switch {
	case chunks:
		w = append(w, "Transfer-Encoding: chunked\r\n"...)
	case !head && r.Status != http.StatusNoContent && r.Status != http.StatusNotModified:
		w = append(w, "Content-Length: "...)
		w = strconv.AppendInt(w, int64(len(r.Body)), 10)
		w = append(w, "\r\n"...)
	}
	w = t.appendFields(w)
	w = t.appendConnection(w)
	return append(w, "\r\n"...)
}

// appendReplyEnd appends what follows the only chunk.
func appendReplyEnd(w []byte, r *exchange.Reply, data bool) []byte {
	if data {
		w = append(w, "\r\n"...)
	}
	w = append(w, lastChunk...)
	for i := range r.Trailer {
		w = rules.AppendField(w, r.Trailer[i].Name, r.Trailer[i].Value)
	}
	return append(w, "\r\n"...)
}

// flushReply writes w and the body, a small one with the head.
func (t *txn) flushReply(w, body []byte) bool {
	n := min(len(body), bulk)
	w = append(w, body[:n]...)
	if !t.flush(w) {
		return false
	}
	for t.sent = int64(n); n < len(body); t.sent = int64(n) {
		// Each piece may take the client as long as a response may stand still.
		t.c.extendDeadlines(time.Now())
		k, err := t.sock.Write(body[n:min(len(body), n+bulk)])
		if n += k; err != nil {
			t.sent = int64(n)
			return false
		}
	}
	return true
}
