// SPDX-License-Identifier: Apache-2.0

package http

import (
	"net"
	"sync"
	"syscall"
	"time"

	"weir.dev/weir/sidecar/wire/socket"
)

// maxIdlePerUpstream bounds the idle connections to one application.
const maxIdlePerUpstream = 1024

// pool keeps the idle connections to one application, the last used on top.
type pool struct {
	address string
	limit   time.Duration

	mu     sync.Mutex
	idle   []*upConn
	timer  *time.Timer
	closed bool
}

func newPool(address string, limit time.Duration) *pool {
	return &pool{address: address, limit: limit}
}

// upConn is a connection to an application.
type upConn struct {
	net.Conn
	raw   syscall.RawConn
	sock  socket.Socket
	since time.Time
	// tick is the read deadline.
	tick time.Time
	look func(fd uintptr)
	dead bool
	buf  [1]byte
}

// Read implements io.Reader.
func (u *upConn) Read(p []byte) (int, error) { return u.sock.Read(p) }

// Write implements io.Writer.
func (u *upConn) Write(p []byte) (int, error) { return u.sock.Write(p) }

func newUpConn(c net.Conn) *upConn {
	u := &upConn{Conn: c}
	if sc, ok := c.(syscall.Conn); ok {
		u.raw, _ = sc.SyscallConn()
	}
	u.sock.Attach(c, u.raw)
	u.look = u.lookFD
	return u
}

// lookFD: bytes that nobody asked for are as bad as an end.
func (u *upConn) lookFD(fd uintptr) {
	_, errno := recvPeek(fd, &u.buf)
	u.dead = errno != syscall.EAGAIN
}

// alive reports whether the application has neither ended the connection nor
// sent anything on it.
func (u *upConn) alive() bool {
	return u.raw == nil || u.raw.Control(u.look) == nil && !u.dead
}

// get returns the connection used last that is still good, nil when there is
// none. It looks at each, however short it was idle: an application that stops
// closes them in the middle of the load, and the look costs 2 % of a request.
func (p *pool) get(now time.Time) *upConn {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		u := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		idle := now.Sub(u.since)
		if idle < p.limit && u.alive() {
			return u
		}
		_ = u.Close()
	}
}

// put keeps u for the next request.
func (p *pool) put(u *upConn, now time.Time) {
	u.since = now
	p.mu.Lock()
	if p.closed || len(p.idle) >= maxIdlePerUpstream {
		p.mu.Unlock()
		_ = u.Close()
		return
	}
	p.idle = append(p.idle, u)
	if p.timer == nil {
		p.timer = time.AfterFunc(p.limit, p.sweep)
	}
	p.mu.Unlock()
}

// sweep closes what has been idle too long, so that no application sees a
// connection from us outlive its own limit.
func (p *pool) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].since) >= p.limit {
		_ = p.idle[n].Close()
		n++
	}
	p.idle = append(p.idle[:0], p.idle[n:]...)
	clear(p.idle[len(p.idle) : len(p.idle)+n])
	if len(p.idle) == 0 || p.closed {
		p.timer = nil
		return
	}
	p.timer.Reset(p.limit - now.Sub(p.idle[0].since))
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, u := range p.idle {
		_ = u.Close()
	}
	p.idle = nil
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}
