// SPDX-License-Identifier: Apache-2.0

package http

import (
	"errors"
	"io"
	"os"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
	"weir.dev/weir/sidecar/wire/sniff"
)

// sniffTimeout is how long a connection may leave open what it speaks, from its
// first byte.
const sniffTimeout = 2 * time.Second

// Refusal is why a connection was closed: without an answer, but for full, where a
// request over HTTP/1 gets 503.
type Refusal string

const (
	// RefusedTLS: it began with a ClientHello.
	RefusedTLS Refusal = "tls"
	// RefusedThrift: it began with a call of Thrift, on a port where policies know none.
	RefusedThrift Refusal = "thrift"
	// RefusedUnknown: it began with what is no protocol that can be governed.
	RefusedUnknown Refusal = "unknown"
	// RefusedTimeout: it left open what it speaks.
	RefusedTimeout Refusal = "timeout"
	// RefusedFull: there are as many connections as there may be.
	RefusedFull Refusal = "full"
)

// forThrift reports whether the connection is Config.Thrift's to serve, by its first
// byte where the port does not say it: no request begins like a call. alive: it has not
// ended meanwhile.
func (c *conn) forThrift(port *exchange.Port) (is, alive bool) {
	switch {
	case c.s.cfg.Thrift == nil || !port.Calls || c.raw == nil:
		return false, true
	case port.Protocol == exchange.Thrift:
		return true, true
	case !c.awaitReadable():
		return false, false
	}
	switch c.peekBuf[0] {
	case 0x00, 0x80, 0x82, '[':
		return true, true
	}
	return false, true
}

// beginning is what the first bytes of a connection have to say.
type beginning uint8

const (
	// beginsClear: an HTTP codec takes it from here.
	beginsClear beginning = iota
	// beginsUnclear: more bytes are needed.
	beginsUnclear
	// beginsRefused: it was refused.
	beginsRefused
)

// begins judges the first bytes of a connection, of which there is at least one;
// first: it is asked for the first time. On ports that say that they are HTTP, what
// may still become a request is one.
func (t *txn) begins(b []byte, first bool) beginning {
	port, _ := t.s.cfg.Ports.Port(t.c.target.Port)
	auto := port != nil && port.Protocol == exchange.Auto
	v := sniff.Classify(b)
	switch {
	case v == sniff.HTTP1 || v == sniff.HTTP2 || sniff.IsToken(b[0]) && !auto:
		return beginsClear
	case v == sniff.NeedMore:
		if first {
			_ = t.c.nc.SetReadDeadline(time.Now().Add(sniffTimeout))
			t.c.deadlines = time.Time{}
		}
		return beginsUnclear
	case v == sniff.TLS:
		t.s.cfg.Metrics.Encrypted(t.c.target.Port)
		t.refuseConn(RefusedTLS)
	case v.Thrift():
		t.refuseConn(RefusedThrift)
	case sniff.Printable(b):
		t.refuseHead(rules.Malformed("The request does not begin with a method; policies of this port need HTTP without TLS."))
	default:
		t.refuseConn(RefusedUnknown)
	}
	return beginsRefused
}

// refuseConn ends the connection without an answer.
func (t *txn) refuseConn(why Refusal) {
	t.s.cfg.Metrics.Refused(t.c.target.Port, why)
	t.refuseHead(exchange.Denial{})
}

// endsUnclear handles a connection that ended, or went quiet, before it was clear
// what it speaks. It reports false where an answer of HTTP may be understood.
func (t *txn) endsUnclear(b []byte, err error) bool {
	quiet := errors.Is(err, os.ErrDeadlineExceeded)
	if sniff.Printable(b) || !quiet && !errors.Is(err, io.EOF) {
		return false
	}
	why := RefusedUnknown
	if quiet {
		why = RefusedTimeout
	}
	t.refuseConn(why)
	return true
}
