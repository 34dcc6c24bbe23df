// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// maxIdle bounds the idle connections of one Pool.
const maxIdle = 1024

// Conn is a connection to an application.
type Conn struct {
	net.Conn
	// Tick is the read deadline, for who moves it.
	Tick  time.Time
	sock  Socket
	look  *Waiter
	since time.Time
}

// NewConn returns a Conn over c.
func NewConn(c net.Conn) *Conn {
	u := &Conn{Conn: c}
	var raw syscall.RawConn
	if sc, ok := c.(syscall.Conn); ok {
		if raw, _ = sc.SyscallConn(); raw != nil {
			u.look = NewWaiter(raw)
		}
	}
	u.sock.Attach(c, raw)
	return u
}

// Read implements io.Reader.
func (u *Conn) Read(p []byte) (int, error) { return u.sock.Read(p) }

// Write implements io.Writer.
func (u *Conn) Write(p []byte) (int, error) { return u.sock.Write(p) }

// Quiet reports whether the application has neither ended the connection nor sent
// anything on it.
func (u *Conn) Quiet() bool { return u.look == nil || u.look.Look() == Quiet }

// Pool keeps the idle connections to one application, the last used on top.
type Pool struct {
	limit time.Duration

	mu     sync.Mutex
	idle   []*Conn
	timer  *time.Timer
	closed bool
}

// NewPool returns a Pool that keeps a connection for limit.
func NewPool(limit time.Duration) *Pool { return &Pool{limit: limit} }

// Get returns the connection used last that is still good, nil when there is none. It
// looks at each, however short it was idle: bytes that nobody asked for are as bad as
// an end.
func (p *Pool) Get(now time.Time) *Conn {
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
		if now.Sub(u.since) < p.limit && u.Quiet() {
			return u
		}
		_ = u.Close()
	}
}

// Put keeps u for the next request.
func (p *Pool) Put(u *Conn, now time.Time) {
	u.since = now
	p.mu.Lock()
	if p.closed || len(p.idle) >= maxIdle {
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

// sweep closes what has been idle too long, so that no application sees a connection
// from us outlive its own limit.
func (p *Pool) sweep() {
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

// Close closes the idle connections and keeps no others.
func (p *Pool) Close() {
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
