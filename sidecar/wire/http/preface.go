// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bytes"
	"net"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

// HTTP2 serves the connections on governed ports that begin with HTTP/2's
// preface. Its connections stay the Server's: they count among MaxConns, Shutdown
// waits for them and closes them.
type HTTP2 interface {
	// ServeConn serves c until it ends. It reads the preface again.
	ServeConn(c net.Conn, target Target)
	// Drain ends every connection once its streams have ended; it does not wait.
	// Connections that begin later end after their first request, or with the next
	// Drain.
	Drain()
	// Close closes what is kept towards applications. No connection is left.
	Close()
}

// preface is how a client begins that speaks HTTP/2 with prior knowledge (RFC 9113
// section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// beginsHTTP2 reports whether b, the first bytes of a connection, are the preface
// or, with more, may still become it.
func (c *conn) beginsHTTP2(b []byte) (is, more bool) {
	if c.s.http2 == nil || c.requests > 0 {
		return false, false
	}
	n := min(len(b), len(preface))
	if !bytes.HasPrefix(b, []byte(preface[:n])) {
		return false, false
	}
	port, _ := c.s.cfg.Ports.Port(c.target.Port)
	if port == nil || port.Protocol == exchange.Thrift {
		return false, false
	}
	return n == len(preface), n < len(preface)
}

// serveHTTP2 hands the connection over with the bytes that were read of it.
func (c *conn) serveHTTP2(read []byte) {
	_ = c.nc.SetDeadline(time.Time{})
	c.s.http2.ServeConn(&replay{Conn: c.nc, read: read}, c.target)
}

// replay is a connection of which some bytes were read before.
type replay struct {
	net.Conn
	read []byte
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.read) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.read)
	if r.read = r.read[n:]; len(r.read) == 0 {
		r.read = nil
	}
	return n, nil
}
