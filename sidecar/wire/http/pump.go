// SPDX-License-Identifier: Apache-2.0

package http

import (
	"errors"
	"io"
	"strconv"
	"sync/atomic"
	"time"
)

// bulk is how much of a body moves at once.
const bulk = 32 << 10

// pump sends a request's body while its response is already being read: the
// application may answer before it has seen the whole of it.
type pump struct {
	// started: it must be finished.
	started bool
	// whole: all of the body went through, or there was none to send.
	whole   bool
	chunked bool
	running atomic.Bool
	// read: the whole body has been taken from the client.
	read atomic.Bool
	// failed: clientErr is set, and the pump about to be done.
	failed atomic.Bool
	// stop: nobody wants the rest.
	stop atomic.Bool
	// clientErr is why the client's body ended early; valid once done.
	clientErr error
	// upstreamErr is why the application takes no more of it; valid once done.
	upstreamErr error
	done        chan struct{}
	buf         []byte
}

// start sends what is left of the body in the background. Until finish, nobody
// else reads from the client.
func (p *pump) start(l *Leg, u *upConn, chunked bool) {
	p.started, p.chunked = true, chunked
	p.clientErr, p.upstreamErr = nil, nil
	p.read.Store(false)
	p.failed.Store(false)
	p.running.Store(true)
	if p.buf == nil {
		p.buf = make([]byte, bulk)
	}
	p.stop.Store(false)
	_ = u.SetWriteDeadline(l.start.Add(l.s.Settings().Stall))
	p.extend(l, l.start)
	go p.run(l, u)
}

// extend gives the client more time, but not once the pump was told to stop: then
// a read that waits must end.
func (p *pump) extend(l *Leg, now time.Time) {
	l.client.ExtendRead(now.Add(l.s.Settings().Stall))
	if p.stop.Load() {
		l.client.ExtendRead(aLongTimeAgo())
	}
}

func (p *pump) run(l *Leg, u *upConn) {
	c, last := l.client, l.start
	defer func() {
		p.running.Store(false)
		if l.timeout > 0 {
			// Whoever waits for the response looks up: its time begins.
			_ = u.SetReadDeadline(aLongTimeAgo())
		}
		p.done <- struct{}{}
	}()
	stall := l.s.Settings().Stall
	defer func() { _ = u.SetWriteDeadline(time.Time{}) }()
	for {
		n, err := c.ReadBody(p.buf[chunkRoom : bulk-2-len(lastChunk)])
		ended := errors.Is(err, io.EOF)
		p.read.Store(ended)
		if err != nil && !ended {
			p.clientErr = err
			p.failed.Store(true)
			// The application must not take the part for the whole.
			_ = u.Close()
			return
		}
		if b := p.frame(c, n, ended); len(b) > 0 {
			if _, err := u.Write(b); err != nil {
				p.upstreamErr = err
				return
			}
		}
		if ended {
			return
		}
		if now := time.Now(); now.Sub(last) > stall/4 {
			last = now
			_ = u.SetWriteDeadline(now.Add(stall))
			p.extend(l, now)
		}
	}
}

const (
	// chunkRoom is the longest size line of a chunk that fits buf.
	chunkRoom = len("ffff\r\n")
	lastChunk = "0\r\n"
)

// frame puts n bytes that lie at buf[chunkRoom:] into the body's framing.
func (p *pump) frame(c Client, n int, ended bool) []byte {
	b := p.buf[chunkRoom : chunkRoom+n]
	if !p.chunked {
		return b
	}
	if n > 0 {
		var line [chunkRoom]byte
		size := append(strconv.AppendInt(line[:0], int64(n), 16), "\r\n"...)
		from := chunkRoom - len(size)
		copy(p.buf[from:], size)
		b = append(p.buf[from:chunkRoom+n], "\r\n"...)
	}
	if ended {
		b = append(b, lastChunk...)
		b = c.AppendTrailers(b)
	}
	return b
}

// finish ends the pump after the response, or instead of it, and reports whether
// the whole body went through.
func (l *Leg) finishPump() bool {
	p := &l.pump
	if !p.started {
		return p.whole
	}
	p.started = false
	p.whole = p.join(l)
	return p.whole
}

func (p *pump) join(l *Leg) bool {
	if p.failed.Load() {
		<-p.done
		return false
	}
	if p.read.Load() {
		// Nothing is left but a write that is about to end. The client was not
		// told that its connection ends, so that is for an application only that
		// does not read, and not for a busy machine.
		timer := time.NewTimer(time.Second)
		defer timer.Stop()
		select {
		case <-p.done:
			return p.clientErr == nil && p.upstreamErr == nil
		case <-timer.C:
		}
	}
	select {
	case <-p.done:
	default:
		p.stop.Store(true)
		_ = l.conn.Close()
		l.client.ExtendRead(aLongTimeAgo())
		<-p.done
		// It is we who ended it, not the client.
		p.clientErr = nil
		return false
	}
	return p.clientErr == nil && p.upstreamErr == nil
}
