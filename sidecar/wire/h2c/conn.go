// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// connKey finds a stream's *conn in its context.
type connKey struct{}

// conn is a client's connection.
type conn struct {
	net.Conn
	target wirehttp.Target
	peer   netip.Addr
	// translated: the application speaks HTTP/1.1.
	translated atomic.Bool

	mu      sync.Mutex
	streams int
	// late of them have been answered, and wait for the application still.
	late   int
	closed bool
	// idle ends the connection after so long without a stream. net/http's own
	// timer would be set anew by streams that end with the connection, and keep
	// the memory of both for as long.
	idle  *time.Timer
	limit time.Duration
	// warned: the client was told to go.
	warned bool
	// ended is closed when the connection is, and no stream is left.
	ended chan struct{}
}

// goAwayAll is a GOAWAY frame that covers every stream, as RFC 9113 section 6.8 has
// it for a connection that is about to end.
var goAwayAll = []byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0}

// idleGrace is how long a client has, from the GOAWAY to the end.
const idleGrace = time.Second

func newConn(nc net.Conn, target wirehttp.Target, idle time.Duration) *conn {
	c := &conn{Conn: nc, target: target, limit: idle, ended: make(chan struct{})}
	c.mu.Lock()
	c.idle = time.AfterFunc(idle, c.idled)
	c.mu.Unlock()
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.peer = a.AddrPort().Addr().Unmap().WithZone("")
	}
	return c
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.idle.Stop()
		c.checkEnded()
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

// idled tells a client without a stream to go, and then ends the connection. The
// frame is one write, and so are those of net/http when there is no stream.
func (c *conn) idled() {
	c.mu.Lock()
	if c.closed || c.streams > 0 {
		c.mu.Unlock()
		return
	}
	if c.warned {
		c.mu.Unlock()
		_ = c.Close()
		return
	}
	c.warned = true
	c.idle.Reset(idleGrace)
	c.mu.Unlock()
	_, _ = c.Conn.Write(goAwayAll)
}

func (c *conn) checkEnded() {
	if c.closed && c.streams == 0 {
		close(c.ended)
	}
}

// enter begins a stream, leave ends it.
func (c *conn) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.streams++
	c.idle.Stop()
	return true
}

func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams--
	if c.streams == 0 && !c.closed {
		wait := c.limit
		if c.warned {
			wait = idleGrace
		}
		c.idle.Reset(wait)
	}
	c.checkEnded()
}

// enterLate begins the wait for a response whose client was answered. There are as
// many at once as there may be streams, which those are none of any more.
func (c *conn) enterLate() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late == maxStreams {
		return false
	}
	c.late++
	return true
}

func (c *conn) leaveLate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late--
}

// listener hands connections to a net/http server that were accepted elsewhere.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// give reports whether the server has taken c.
func (l *listener) give(c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.done:
		return false
	}
}

var errClosed = errors.New("the server takes no more connections")

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, errClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }
