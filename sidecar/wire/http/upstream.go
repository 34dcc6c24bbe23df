// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"weir.dev/weir/sidecar/exchange"
)

// Errors of a Leg, matched with errors.Is. Others are the connection's.
var (
	// ErrUnreachable: no byte of the request was taken.
	ErrUnreachable = errors.New("the application cannot be reached")
	// ErrClientGone: the client went away while the application was working.
	ErrClientGone = errors.New("the client has gone")
	// ErrNoResponse: the time for a response is over.
	ErrNoResponse = errors.New("the application did not answer in time")
	// ErrInvalidResponse: what the application says is not HTTP/1.
	ErrInvalidResponse = errors.New("the application's response is not HTTP/1.1")
	// ErrBodyTooLarge is what a Client's ReadBody returns when the port bounds
	// bodies and this one is longer.
	ErrBodyTooLarge = errors.New("the request's body is longer than this port allows")
	// ErrBadBody is what a Client's ReadBody returns, wrapped, when it is the bytes
	// that are wrong and not the connection.
	ErrBadBody = errors.New("the request's body is malformed")
)

// pollEvery is how often a wait for the application is interrupted to see whether
// the client is still there.
const pollEvery = time.Second

// Client is whom a Leg works for: the client's side of one request, in whatever
// protocol. Until Leg.Finish, ReadBody and AppendTrailers are called from a
// goroutine of the Leg's.
type Client interface {
	// ReadBody reads the request's body. It returns io.EOF at its end, which may
	// come with the last bytes, and never io.EOF before it.
	ReadBody(p []byte) (int, error)
	// AppendTrailers appends the trailer fields of a chunked body as lines, and the
	// empty line; the body has ended.
	AppendTrailers(dst []byte) []byte
	// ExtendRead and ExtendWrite say until when a client may keep ReadBody, or a
	// response, waiting. In the past, a ReadBody that waits returns.
	ExtendRead(until time.Time)
	ExtendWrite(until time.Time)
	// Gone reports whether the client has left. It must not wait.
	Gone() bool
}

// Request is what a Leg sends.
type Request struct {
	// Head is the request's line and fields with the empty line, and after it the
	// body as far as it is there. Its framing is the caller's to have right. It
	// stays as it is until Receive has returned.
	Head []byte
	// Method decides whether the response has a body.
	Method []byte
	// Whole: all of the body is in Head. Else ReadBody is called for the rest.
	Whole bool
	// Chunked: what ReadBody returns is sent in chunks, followed by trailers.
	Chunked bool
	// Timeout is from the end of the request to the head of the response; 0: no
	// bound.
	Timeout time.Duration
	// Upgrade: 101 is an answer, after which Hijack takes the connection.
	Upgrade bool
	// Transcoder is the port's; nil: the application speaks HTTP/1.1.
	Transcoder exchange.Transcoder
}

// Leg carries one request after another to an application over HTTP/1.1, on kept
// connections: Send, Receive until the status is final, ReadBody to its end,
// Finish. It sends a request again only when no byte of it was taken, and only
// once. It is not safe for concurrent use, but for Interrupt.
type Leg struct {
	s      *Server
	client Client
	pool   *pool
	conn   *upConn
	br     *bufio.Reader
	header fasthttp.ResponseHeader
	head   head
	body   body
	method []byte
	status int
	http10 bool
	// reusable: after a whole exchange the connection may carry another.
	reusable bool
	// sent: a byte of the request was written.
	sent bool
	// upgrade: 101 is an answer.
	upgrade bool
	// timeout is Request.Timeout, and late when it is over; zero: not known yet.
	timeout time.Duration
	late    time.Time
	// start is when the connection was there.
	start time.Time
	// slow: so much time has passed that start is no longer now.
	slow bool
	// headed: the final head has come, so the body may take its time.
	headed bool

	// interrupted: the client has gone. current is conn, for who says so.
	interrupted atomic.Bool
	current     atomic.Pointer[upConn]

	pump pump
}

// NewLeg returns a Leg over the Server's connections, for one client after another.
func (s *Server) NewLeg() *Leg {
	l := &Leg{}
	l.init(s)
	return l
}

func (l *Leg) init(s *Server) {
	l.s = s
	l.br = bufio.NewReaderSize(l, s.Settings().HeadBytes)
	l.pump.done = make(chan struct{}, 1)
}

// Interrupt ends the wait for the application, now and until the next Send, with
// ErrClientGone. It may be called from any goroutine until Finish has returned.
func (l *Leg) Interrupt() {
	l.interrupted.Store(true)
	if u := l.current.Load(); u != nil {
		// Should another leg have it by now, that one just looks up.
		_ = u.SetReadDeadline(aLongTimeAgo())
	}
}

// Send sends r for c to the application at address. An error is ErrUnreachable:
// nothing was sent. After no error, Finish must be called.
func (l *Leg) Send(c Client, address string, r *Request) error {
	l.interrupted.Store(false)
	p := l.s.pool(address)
	if r.Transcoder != nil {
		p = l.s.transcoded(address)
	}
	return l.send(c, p, r)
}

func (l *Leg) send(c Client, p *pool, r *Request) error {
	l.client, l.pool, l.method, l.sent, l.upgrade = c, p, r.Method, false, r.Upgrade
	l.status, l.timeout = 0, r.Timeout
	l.pump.whole, l.pump.clientErr = true, nil
	l.start = time.Now()
	u := p.get(l.start)
	for reused := u != nil; ; reused = false {
		if u == nil {
			nc, err := l.s.dial(p.address)
			if err != nil {
				l.s.cfg.Logger.Debug("the application cannot be reached", "upstream", p.address, "error", err)
				return ErrUnreachable
			}
			if r.Transcoder != nil {
				nc = r.Transcoder.Attach(nc)
			}
			u = newUpConn(nc)
			l.start = time.Now()
		} else if r.Transcoder != nil {
			r.Transcoder.Attach(u.Conn)
		}
		l.attach(u)
		n, err := l.write(u, r.Head)
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
			return ErrUnreachable
		}
		u = nil
	}
	if r.Whole {
		l.expect(l.start)
	} else {
		l.pump.start(l, u, r.Chunked)
	}
	return nil
}

// write writes what may be more than the kernel takes at once with a bound: it
// must not wait for ever for an application that does not read.
func (l *Leg) write(u *upConn, b []byte) (int, error) {
	if len(b) > bulk {
		_ = u.SetWriteDeadline(time.Now().Add(l.s.Settings().Stall))
		defer func() { _ = u.SetWriteDeadline(time.Time{}) }()
	}
	return u.Write(b)
}

// attach makes u the connection of the current request.
func (l *Leg) attach(u *upConn) {
	now := l.start
	l.conn = u
	l.current.Store(u)
	if n := l.s.Settings().HeadBytes; l.br.Size() != n {
		l.br = bufio.NewReaderSize(l, n)
	} else {
		l.br.Reset(l)
	}
	l.reusable = true
	l.late, l.slow, l.headed = time.Time{}, false, false
	if u.tick.Sub(now) < pollEvery/2 {
		u.tick = now.Add(pollEvery)
		_ = u.SetReadDeadline(u.tick)
	}
}

// expect begins the time for the response.
func (l *Leg) expect(now time.Time) {
	if l.timeout <= 0 {
		return
	}
	l.late = now.Add(l.timeout)
	if l.late.Before(l.conn.tick) {
		l.conn.tick = l.late
		_ = l.conn.SetReadDeadline(l.late)
	}
}

// Read reads from the application; it is for the Leg's own buffer. The deadline on
// the connection is only a tick: it is looked whether the client is gone or the
// time is over, and waiting goes on.
func (l *Leg) Read(p []byte) (int, error) {
	for {
		// Whoever moves the deadline comes by here before it waits.
		if l.interrupted.Load() {
			return 0, ErrClientGone
		}
		n, err := l.conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if err := l.poll(time.Now()); err != nil {
			return 0, err
		}
	}
}

func (l *Leg) poll(now time.Time) error {
	l.slow = true
	// A stall is counted from when there is something to write.
	l.client.ExtendWrite(now.Add(l.s.Settings().Stall))
	l.conn.tick = now.Add(pollEvery)
	if !l.pump.running.Load() {
		if l.client.Gone() {
			return ErrClientGone
		}
		switch {
		case l.headed || l.timeout <= 0:
		case l.late.IsZero():
			// The body was sent while we waited; its time begins now.
			l.expect(now)
		case !now.Before(l.late):
			return ErrNoResponse
		case l.late.Before(l.conn.tick):
			l.conn.tick = l.late
		}
	}
	return l.conn.SetReadDeadline(l.conn.tick)
}

// Receive reads the head of the next response. Below 200 it is an interim one,
// and Receive is to be called again; 101 only after Request.Upgrade.
func (l *Leg) Receive() (status int, err error) {
	if err := l.readHead(); err != nil {
		return 0, err
	}
	switch {
	case l.status == 101:
		if !l.upgrade || l.http10 {
			return 0, invalidResponse{errors.New("the application switched protocols unasked")}
		}
		l.headed = true
	case l.status >= 200:
		if err := l.frame(); err != nil {
			return 0, err
		}
		l.headed = true
	}
	return l.status, nil
}

// Uploading reports whether the request's body is still being sent.
func (l *Leg) Uploading() bool { return l.pump.started && !l.pump.read.Load() }

// BodyError is why the request's body did not get through: the client's error, or
// nil. It is valid after Finish.
func (l *Leg) BodyError() error { return l.pump.clientErr }

// Sent reports whether a byte of the request may have reached the application.
func (l *Leg) Sent() bool { return l.sent }

// Finish ends the exchange, whole or not: the connection is kept when both sides
// have said all they had to, else closed. It reports whether the request's whole
// body went through; when not, nobody knows where the client's next bytes begin.
func (l *Leg) Finish() bool {
	whole := l.finishPump()
	if !whole {
		l.reusable = false
	}
	l.release()
	return whole
}

// Break keeps the connection from being used again.
func (l *Leg) Break() { l.reusable = false }

// release lets go of the connection.
func (l *Leg) release() {
	u := l.conn
	if u == nil {
		return
	}
	l.conn = nil
	l.current.Store(nil)
	if l.reusable && l.headed && l.body.ended && l.br.Buffered() == 0 {
		now := l.start
		if l.slow {
			now = time.Now()
		}
		l.pool.put(u, now)
	} else {
		_ = u.Close()
	}
	l.body.release()
}

// Hijack takes the connection after 101, with what was read of it beyond the
// head. Finish does nothing to it.
func (l *Leg) Hijack() (c net.Conn, read []byte) {
	c = l.conn.Conn
	_ = c.SetDeadline(time.Time{})
	if n := l.br.Buffered(); n > 0 {
		b, _ := l.br.Peek(n)
		read = append(read, b...)
	}
	l.conn = nil
	l.current.Store(nil)
	l.body.release()
	return c, read
}
