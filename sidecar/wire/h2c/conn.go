// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

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
	closed  bool
	// ended is closed when the connection is, and no stream is left.
	ended chan struct{}
}

func newConn(nc net.Conn, target wirehttp.Target) *conn {
	c := &conn{Conn: nc, target: target, ended: make(chan struct{})}
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
		c.checkEnded()
	}
	c.mu.Unlock()
	return c.Conn.Close()
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
	return true
}

func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams--
	c.checkEnded()
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
