// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"net/http"
	"strconv"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// header returns the response's fields, of which net/http adds none by itself.
func (t *stream) header() http.Header {
	h := t.w.Header()
	h["Date"], h["Content-Type"], h["Content-Length"] = nil, nil, nil
	if t.s.http.Draining() {
		// net/http makes a GOAWAY of it.
		h["Connection"] = []string{"close"}
	}
	return h
}

// addFields adds what filters have added to the response.
func (t *stream) addFields(h http.Header) {
	t.x.Fields(func(name string, value []byte) bool {
		h.Add(name, string(value))
		return true
	})
}

// answer sends Weir's own answer d.
func (t *stream) answer(d exchange.Denial) {
	t.x.Denial = d
	t.x.Status = d.Status
	if t.grpc {
		t.answerGRPC(&d, denialCode(&d))
		return
	}
	t.status = d.Status
	t.doc = rules.AppendProblem(t.doc[:0], &d)
	h := t.header()
	h["Content-Type"] = []string{"application/problem+json"}
	h["Cache-Control"] = []string{"no-store"}
	h["Content-Length"] = []string{strconv.Itoa(len(t.doc))}
	if d.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(rules.RetryAfter(d.RetryAfter), 10)}
	}
	t.addFields(h)
	t.w.WriteHeader(d.Status)
	if t.r.Method == http.MethodHead {
		return
	}
	if t.write(t.doc) {
		t.record.ResponseBytes = int64(len(t.doc))
	}
}

// answerGRPC sends d as a Trailers-Only response: one HEADERS frame, with which the
// stream ends.
func (t *stream) answerGRPC(d *exchange.Denial, code int) {
	t.status, t.grpcStatus = http.StatusOK, code
	h := t.header()
	h["Content-Type"] = []string{"application/grpc"}
	h["Grpc-Status"] = []string{strconv.Itoa(code)}
	h["Grpc-Message"] = []string{encodeMessage(d.Detail)}
	h["Grpc-Status-Details-Bin"] = []string{statusDetails(d, code)}
	t.addFields(h)
	t.w.WriteHeader(http.StatusOK)
}

// write sends a piece of a body, and reports false when the client is gone or takes
// nothing.
func (t *stream) write(p []byte) bool {
	if len(p) > 0 && !t.put(p) {
		return false
	}
	w := &t.body.watch
	w.begin(&w.writing)
	defer w.writing.Store(0)
	return http.NewResponseController(t.w).Flush() == nil
}

// put is write for a piece after which more comes at once.
func (t *stream) put(p []byte) bool {
	w := &t.body.watch
	w.begin(&w.writing)
	defer w.writing.Store(0)
	_, err := t.w.Write(p)
	return err == nil
}
