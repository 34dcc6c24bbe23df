// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/splice"
)

// States of a connection.
const (
	// idle: no byte of a request has come, so it may be closed.
	idle int32 = iota
	active
	closing
)

// conn is a client's connection. While it waits for a request it holds no
// buffer.
type conn struct {
	s      *Server
	nc     net.Conn
	raw    syscall.RawConn
	target Target
	pool   *pool
	peer   netip.Addr
	state  atomic.Int32
	// upstream of a spliced connection.
	spliced atomic.Pointer[net.Conn]
	// deadlines is when the deadlines were last moved.
	deadlines time.Time
	// txn of the request that is being served.
	txn *txn
	// requests that were served.
	requests int
	// wake is polled without allocating: the callback of awaitReadable.
	polled  bool
	gone    bool
	wake    func(fd uintptr) bool
	peekBuf [1]byte
}

func newConn(s *Server, nc net.Conn, target Target) *conn {
	c := &conn{s: s, nc: nc, target: target}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.peer = a.AddrPort().Addr().Unmap().WithZone("")
	}
	if sc, ok := nc.(syscall.Conn); ok {
		c.raw, _ = sc.SyscallConn()
	}
	c.wake = c.wakeFD
	return c
}

// serve serves the connection; handed: Config.Thrift has to, no byte of it was read.
func (c *conn) serve() (handed bool) {
	defer func() {
		if r := recover(); r != nil {
			c.s.cfg.Logger.Error("a request ended in a panic", "panic", r, "stack", string(debug.Stack()))
			if c.txn != nil {
				c.txn.abandon()
			}
		}
	}()
	port, ready := c.s.cfg.Ports.Port(c.target.Port)
	if !ready {
		var verdict MissingConfig
		if port, verdict = c.awaitConfig(); verdict == Deny {
			c.refuseUnconfigured()
			return false
		}
	}
	if !port.Governed() {
		c.splice()
		return false
	}
	c.extendDeadlines(time.Now())
	if is, alive := c.forThrift(port); is || !alive {
		return is && c.state.CompareAndSwap(idle, active)
	}
	c.pool = c.s.pool(c.target.Upstream)
	for c.awaitReadable() && c.serveReadable() {
	}
	return false
}

// serveReadable serves the requests that have come, and reports whether to wait
// for another.
func (c *conn) serveReadable() bool {
	if !c.state.CompareAndSwap(idle, active) {
		return false
	}
	t := c.s.txns.Get().(*txn)
	t.attach(c)
	keep := true
	for keep {
		keep = t.serve()
		if t.spent {
			break
		}
		if t.skipEmptyLine(); t.br.Buffered() == 0 {
			break
		}
	}
	if !keep && t.linger {
		c.linger(t.br)
	}
	http2 := t.http2
	t.http2 = nil
	t.detach()
	if !t.spent {
		c.s.txns.Put(t)
	}
	if http2 != nil {
		c.serveHTTP2(http2)
	}
	return keep && c.state.CompareAndSwap(active, idle)
}

// awaitReadable waits for the next request without a buffer. It reports false
// when the connection has ended.
func (c *conn) awaitReadable() bool {
	if c.raw == nil {
		return true
	}
	if c.s.down.Load() {
		return false
	}
	c.polled, c.gone = false, false
	return c.raw.Read(c.wake) == nil && !c.gone
}

// wakeFD looks once; when nothing is there the runtime waits until something is,
// and calls it again.
func (c *conn) wakeFD(fd uintptr) bool {
	if c.polled {
		return true
	}
	c.polled = true
	return c.peekFD(fd)
}

// peekFD reports whether a read would not block; gone when the other side has
// ended.
func (c *conn) peekFD(fd uintptr) bool {
	n, errno := recvPeek(fd, &c.peekBuf)
	if errno == syscall.EAGAIN || errno == syscall.EINTR {
		return false
	}
	c.gone = n <= 0 || errno != 0
	return true
}

// clientGone reports whether the client has closed or reset the connection.
func (c *conn) clientGone() bool {
	if c.raw == nil {
		return false
	}
	c.gone = false
	err := c.raw.Control(func(fd uintptr) { c.peekFD(fd) })
	return err != nil || c.gone
}

// extendDeadlines moves the deadlines of reading and writing, at most once a
// quarter of the shorter.
func (c *conn) extendDeadlines(now time.Time) {
	set := c.s.Settings()
	idle, stall := set.Idle, set.Stall
	if now.Sub(c.deadlines) < min(idle, stall)/4 {
		return
	}
	c.deadlines = now
	_ = c.nc.SetReadDeadline(now.Add(idle))
	_ = c.nc.SetWriteDeadline(now.Add(stall))
}

// resetDeadlines puts them back after a shorter one.
func (c *conn) resetDeadlines() {
	c.deadlines = time.Time{}
	c.extendDeadlines(time.Now())
}

// closeIfIdle ends the connection unless a request is being served on it.
func (c *conn) closeIfIdle() {
	if c.state.CompareAndSwap(idle, closing) {
		_ = c.nc.SetReadDeadline(aLongTimeAgo())
	}
}

// kill ends the connection whatever it does.
func (c *conn) kill() {
	_ = c.nc.Close()
	if up := c.spliced.Load(); up != nil {
		_ = (*up).Close()
	}
}

// splice joins the connection with the application's.
func (c *conn) splice() {
	if !c.state.CompareAndSwap(idle, active) {
		return
	}
	up, err := c.s.dial(c.target.Upstream)
	if err != nil {
		c.s.cfg.Metrics.UpstreamError(c.target.Port, UpstreamUnreachable)
		c.s.cfg.Logger.Debug("the application cannot be reached", "upstream", c.target.Upstream, "error", err)
		return
	}
	c.spliced.Store(&up)
	if c.s.ctx.Err() != nil {
		c.kill()
		return
	}
	defer c.retire()()
	_, _ = splice.Join(c.nc, up)
}

// awaitConfig waits for the first snapshot, as long as the server is new: a pod
// that has waited its time says so, and must not keep every connection waiting.
func (c *conn) awaitConfig() (*exchange.Port, MissingConfig) {
	if wait := c.s.cfg.MissingConfigWait - time.Since(c.s.started); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-c.s.cfg.Ports.Ready():
		case <-timer.C:
		case <-c.s.ctx.Done():
		}
	}
	port, ready := c.s.cfg.Ports.Port(c.target.Port)
	if !ready {
		return nil, c.s.cfg.OnMissingConfig
	}
	return port, PassThrough
}

// maxLinger is how much of what a client still sends is read after the last
// response, so that a reset does not destroy the response on its way.
const maxLinger = 256 << 10

// linger ends a connection whose client may still be sending.
func (c *conn) linger(br *bufio.Reader) {
	h, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || h.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.CopyN(io.Discard, br, maxLinger)
}
