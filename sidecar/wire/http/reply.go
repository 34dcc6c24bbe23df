// SPDX-License-Identifier: Apache-2.0

package http

import (
	"errors"
	"io"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// readHead reads the head of one response, interim or final.
func (l *Leg) readHead() error {
	seen := 0
	for {
		if _, err := l.br.Peek(seen + 1); err != nil {
			if err == io.EOF && seen > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		b, _ := l.br.Peek(l.br.Buffered())
		if n := headLen(b, seen); n > 0 {
			err := l.head.parse(b[:n])
			if err == nil && hasControl(l.head.line) {
				err = errControl
			}
			if err != nil {
				return invalidResponse{err}
			}
			break
		}
		seen = len(b)
	}
	l.header.Reset()
	l.header.DisableNormalizing()
	if err := l.header.Read(l.br); err != nil {
		return invalidResponse{err}
	}
	l.status = statusOf(l.head.line)
	l.http10 = len(l.head.line) >= 8 && string(l.head.line[:8]) == "HTTP/1.0"
	if l.status < 100 || l.status != l.header.StatusCode() || !l.http10 && (len(l.head.line) < 8 || string(l.head.line[:8]) != "HTTP/1.1") {
		return invalidResponse{errNoLine}
	}
	return nil
}

var errControl = errors.New("the status line holds a control character")

// hasControl reports whether b holds a control character but for tabs. In values
// fasthttp looks for them, in the reason it does not.
func hasControl(b []byte) bool {
	for _, c := range b {
		if (c < ' ' || c == 0x7F) && c != '\t' {
			return true
		}
	}
	return false
}

// statusOf returns the three digits that RFC 9112 §4 has after the version, 0 where
// there is anything else. fasthttp takes 000 for 200.
func statusOf(line []byte) int {
	const from, to = len("HTTP/1.1 "), len("HTTP/1.1 200")
	if len(line) < to || line[from-1] != ' ' || len(line) > to && line[to] != ' ' {
		return 0
	}
	n := 0
	for _, c := range line[from:to] {
		if c < '0' || c > '9' {
			return 0
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// invalidResponse is what the application sent and HTTP/1 does not allow.
type invalidResponse struct{ error }

func (invalidResponse) Is(target error) bool { return target == ErrInvalidResponse }

// frame decides where the response's body ends.
func (l *Leg) frame() error {
	h := &l.head
	coding, codings := h.Header("transfer-encoding")
	_, lengths := h.Header("content-length")
	closes := l.http10
	for i := range h.fields {
		if f := &h.fields[i]; len(f.name) == len("connection") && rules.EqualFold(f.name, "connection") {
			if rules.ListHas(f.value, "close") {
				closes = true
			} else if l.http10 && rules.ListHas(f.value, "keep-alive") {
				closes = false
			}
		}
	}
	if closes || codings > 0 && lengths > 0 {
		l.reusable = false
	}
	switch {
	case codings > 1 || codings == 1 && !rules.EqualFold(coding, "chunked") || codings == 1 && l.http10:
		return invalidResponse{errors.New("transfer-encoding is not chunked")}
	case string(l.method) == "HEAD" || l.status == 204 || l.status == 304:
		l.body.start(l.br, noBody, 0)
	case codings == 1:
		l.body.start(l.br, chunked, 0)
	case lengths > 0:
		l.body.start(l.br, fixedLength, int64(max(0, l.header.ContentLength())))
	default:
		l.reusable = false
		l.body.start(l.br, untilClose, 0)
	}
	return nil
}

// Fields calls yield with each field of the response's head that is not
// hop-by-hop, in order, as it was spelt. The slices are valid until the next
// Receive.
func (l *Leg) Fields(yield func(name, value []byte) bool) {
	listed := connectionLists(&l.head)
	for i := range l.head.fields {
		f := &l.head.fields[i]
		if rules.HopByHop(f.name, f.value) || rules.Listed(listed, f.name, nil) {
			continue
		}
		if !yield(f.name, f.value) {
			return
		}
	}
}

// ContentLength is the length of the response's body, -1 when it is not known
// before its end.
func (l *Leg) ContentLength() int64 {
	switch l.body.framing {
	case chunked, untilClose:
		return -1
	}
	return l.body.left
}

// ReadBody reads the response's body: io.EOF at its end; any other error means
// that it broke off, and the client must not take the part for the whole.
func (l *Leg) ReadBody(p []byte) (int, error) {
	n, err := l.body.Read(p)
	if l.body.ended {
		err = io.EOF
	}
	return n, err
}

// Buffered is how much can be read of the response without waiting.
func (l *Leg) Buffered() int { return l.br.Buffered() }

// Trailers calls yield with each trailer field of the response, once its body has
// ended.
func (l *Leg) Trailers(yield func(name, value []byte) bool) {
	if !l.body.hasTrailers() {
		return
	}
	for i := range l.body.trailers.head.fields {
		f := &l.body.trailers.head.fields[i]
		if !yield(f.name, f.value) {
			return
		}
	}
}

// response is a Leg's response as filters see it, from the head of the final one
// until the next Send.
type response Leg

// Response returns the response as filters see it, once Receive has returned its
// status, until the next Send.
func (l *Leg) Response() exchange.ResponseHeaders { return (*response)(l) }

// Header implements exchange.Headers.
func (r *response) Header(name string) (value []byte, count int) { return r.head.Header(name) }

// Each implements exchange.ResponseHeaders.
func (r *response) Each(yield func(name, value []byte) bool) {
	(*Leg)(r).Fields(func(name, value []byte) bool {
		return rules.EqualFold(name, "transfer-encoding") || yield(name, value)
	})
}

// Trailers implements exchange.ResponseHeaders.
func (r *response) Trailers(yield func(name, value []byte) bool) {
	t := &r.body.trailers
	if !r.body.ended || len(t.section) == 0 {
		return
	}
	for i := range t.head.fields {
		if f := &t.head.fields[i]; !yield(f.name, f.value) {
			return
		}
	}
}
