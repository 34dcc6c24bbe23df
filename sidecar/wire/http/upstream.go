// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"errors"
	"io"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"weir.dev/weir/sidecar/wire/http/rules"
)

var (
	errClientGone = errors.New("the client has gone")
	errNoResponse = errors.New("the application did not answer in time")
)

// pollEvery is how often a wait for the application is interrupted to see whether
// the client is still there.
const pollEvery = time.Second

// upstreamLeg is the application's side of a txn.
type upstreamLeg struct {
	t      *txn
	conn   *upConn
	br     *bufio.Reader
	header fasthttp.ResponseHeader
	head   head
	body   body
	status int
	http10 bool
	// reusable: after a whole exchange the connection may carry another.
	reusable bool
	// sent: a byte of the request was written.
	sent bool
	// late is when the response's head must be there; zero: not limited.
	late time.Time
	// start is when the filters were through, which may have waited.
	start time.Time
	// slow: so much time has passed that start is no longer now.
	slow bool
	// headed: the final head has come, so the body may take its time.
	headed bool

	pump pump
}

func (l *upstreamLeg) init(t *txn) {
	l.t = t
	l.br = bufio.NewReaderSize(l, t.s.cfg.HeadBytes)
	l.pump.done = make(chan struct{}, 1)
}

// attach makes u the connection of the current request.
func (l *upstreamLeg) attach(u *upConn) {
	now := l.start
	l.conn = u
	l.br.Reset(l)
	l.reusable = true
	l.late, l.slow, l.headed = time.Time{}, false, false
	if u.tick.Sub(now) < pollEvery/2 {
		u.tick = now.Add(pollEvery)
		_ = u.SetReadDeadline(u.tick)
	}
}

// Read reads from the application. The deadline on the connection is only a
// tick: it is looked whether the client is gone or the time is over, and waiting
// goes on.
func (l *upstreamLeg) Read(p []byte) (int, error) {
	for {
		n, err := l.conn.Conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if err := l.poll(time.Now()); err != nil {
			return 0, err
		}
	}
}

func (l *upstreamLeg) poll(now time.Time) error {
	l.slow = true
	// A stall is counted from when there is something to write.
	_ = l.t.c.nc.SetWriteDeadline(now.Add(l.t.s.cfg.Timeouts.Stall))
	if !l.pump.running.Load() {
		if l.t.c.clientGone() {
			return errClientGone
		}
		switch {
		case l.late.IsZero():
			// The body was sent while we waited; its time begins now.
			l.late = now.Add(l.t.s.cfg.Timeouts.Response)
		case !l.headed && now.After(l.late):
			return errNoResponse
		}
	}
	l.conn.tick = now.Add(pollEvery)
	return l.conn.SetReadDeadline(l.conn.tick)
}

// release ends the application's part: the connection is kept when both sides
// have said all they had to.
func (l *upstreamLeg) release() {
	u := l.conn
	if u == nil {
		return
	}
	l.conn = nil
	if l.reusable && l.body.ended && l.br.Buffered() == 0 {
		now := l.start
		if l.slow {
			now = time.Now()
		}
		l.t.c.pool.put(u, now)
	} else {
		_ = u.Close()
	}
	l.body.release()
}

// readHead reads the head of one response, interim or final.
func (l *upstreamLeg) readHead() error {
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
			if err := l.head.parse(b[:n]); err != nil {
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

// frame decides where the response's body ends.
func (l *upstreamLeg) frame(method []byte) error {
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
	case string(method) == "HEAD" || l.status == 204 || l.status == 304:
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
