// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http"
	"weir.dev/weir/sidecar/wire/sniff"
	"weir.dev/weir/sidecar/wire/socket"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// States of a connection.
const (
	// idle: no byte of a call has come, so it may be closed.
	idle int32 = iota
	active
	closing
)

// conn is a client's connection. While it waits for a call it holds no buffer.
type conn struct {
	s      *Server
	nc     net.Conn
	raw    syscall.RawConn
	target http.Target
	pool   *socket.Pool
	peer   netip.Addr
	state  atomic.Int32
	// since is when it was last idle, in nanoseconds.
	since atomic.Int64
	wait  *socket.Waiter
	names map[string]string
	// form is set with the first message.
	form message.Form
	// deadlines is when the deadlines were last moved.
	deadlines time.Time
	// txn of the call that is being served.
	txn *txn
	// after is the application's connection after a oneway call; nil: any will do. On it
	// owed replies may still come, to calls which the client did not wait for.
	after *socket.Conn
	owed  int
	// overtakes: a call has had no reply, and the next one has; pipelines: a call that the
	// client did not wait for has had one, so it will come, however long it takes.
	overtakes, pipelines bool
	// up is the application's connection, for who ends the wait for it.
	up atomic.Pointer[socket.Conn]
}

func newConn(s *Server, nc net.Conn, target http.Target) *conn {
	c := &conn{s: s, nc: nc, target: target}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.peer = a.AddrPort().Addr().Unmap().WithZone("")
	}
	if sc, ok := nc.(syscall.Conn); ok {
		if c.raw, _ = sc.SyscallConn(); c.raw != nil {
			c.wait = socket.NewWaiter(c.raw)
		}
	}
	c.since.Store(time.Now().UnixNano())
	return c
}

// serve serves the connection; handed: another has to, no byte of it was read.
func (c *conn) serve() (handed bool) {
	defer func() {
		if c.after != nil {
			_ = c.after.Close()
		}
		if r := recover(); r != nil {
			handed = false
			c.s.cfg.Logger.Error("a call ended in a panic", "panic", r, "stack", string(debug.Stack()))
			if c.txn != nil {
				c.txn.abandon()
			}
		}
	}()
	if port, ready := c.s.cfg.Ports.Port(c.target.Port); !ready || port == nil {
		c.s.cfg.Metrics.Refused(c.target.Port, RefusedUnconfigured)
		return false
	}
	c.extendDeadlines(time.Now())
	if c.awaitReadable() && c.isHTTP() {
		return c.state.CompareAndSwap(idle, active)
	}
	c.pool = c.s.pool(c.target.Upstream)
	c.names = c.s.cfg.Names(c.target.Port)
	for c.awaitReadable() && c.serveReadable() {
	}
	return false
}

// isHTTP reports whether Config.HTTP is to serve the connection: no message of Thrift
// begins like a method.
func (c *conn) isHTTP() bool {
	return c.s.cfg.HTTP != nil && c.wait != nil && c.wait.Look() == socket.Readable && sniff.IsToken(c.wait.First())
}

// serveReadable serves the calls that have come, and reports whether to wait for
// another.
func (c *conn) serveReadable() bool {
	if !c.state.CompareAndSwap(idle, active) {
		return false
	}
	t := c.s.txns.Get().(*txn)
	t.attach(c)
	keep := true
	for keep {
		if keep = t.serve(); t.in.len() == 0 {
			break
		}
	}
	if !keep && t.linger {
		c.linger()
	}
	t.detach()
	c.s.txns.Put(t)
	c.since.Store(time.Now().UnixNano())
	return keep && c.state.CompareAndSwap(active, idle)
}

// awaitReadable waits for the next call without a buffer. It reports false when the
// connection has ended.
func (c *conn) awaitReadable() bool {
	if c.s.down.Load() {
		return false
	}
	return c.wait == nil || c.wait.Wait()
}

// extendDeadlines moves the deadlines of reading and writing, at most once a quarter of
// the shorter.
func (c *conn) extendDeadlines(now time.Time) {
	set := c.s.settings.Load()
	idle, stall := set.Idle, set.Stall
	if now.Sub(c.deadlines) < min(idle, stall)/4 {
		return
	}
	c.deadlines = now
	_ = c.nc.SetReadDeadline(now.Add(idle))
	_ = c.nc.SetWriteDeadline(now.Add(stall))
}

// readWithin moves the deadline of reading; resetDeadlines puts it back.
func (c *conn) readWithin(d time.Duration) { _ = c.nc.SetReadDeadline(time.Now().Add(d)) }

// resetDeadlines puts them back after a shorter one.
func (c *conn) resetDeadlines() {
	c.deadlines = time.Time{}
	c.extendDeadlines(time.Now())
}

// closeIfIdle ends the connection unless a call is being served on it.
func (c *conn) closeIfIdle() {
	if c.state.CompareAndSwap(idle, closing) {
		_ = c.nc.SetReadDeadline(aLongTimeAgo())
	}
}

// aLongTimeAgo as a deadline ends what waits.
func aLongTimeAgo() time.Time { return time.Unix(1, 0) }

// interrupt ends a wait for the application.
func (c *conn) interrupt() {
	if u := c.up.Load(); u != nil {
		_ = u.SetReadDeadline(aLongTimeAgo())
		_ = u.SetWriteDeadline(aLongTimeAgo())
	}
}

// port is what governs the connection now.
func (c *conn) port() *exchange.Port {
	p, _ := c.s.cfg.Ports.Port(c.target.Port)
	return p
}

// maxDiscard is how much of a call is read that was answered without it, so that the
// next can be, or so that a reset does not destroy the answer on its way.
const (
	maxDiscard    = 256 << 10
	discardWithin = 5 * time.Second
)

// linger ends a connection whose client may still be sending.
func (c *conn) linger() {
	h, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || h.CloseWrite() != nil {
		return
	}
	c.readWithin(time.Second)
	_, _ = io.CopyN(io.Discard, c.nc, maxDiscard)
}
