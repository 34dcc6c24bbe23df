// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"net/netip"

	"weir.dev/weir/sidecar/exchange"
)

// HopByHop reports whether a field speaks of the connection and so ends here. TE
// does unless it is exactly "trailers".
func HopByHop(name, value []byte) bool {
	switch len(name) {
	case len("te"):
		if EqualFold(name, "te") {
			return !EqualFold(value, "trailers")
		}
	case len("upgrade"):
		return EqualFold(name, "upgrade")
	case len("connection"): // keep-alive is as long
		return EqualFold(name, "connection") || EqualFold(name, "keep-alive")
	case len("http2-settings"):
		return EqualFold(name, "http2-settings")
	case len("proxy-connection"):
		return EqualFold(name, "proxy-connection")
	}
	return false
}

// Listed reports whether a field ends here because Connection names it. list is
// the value of Connection.
func Listed(list, name []byte, id *exchange.Identity) bool {
	return len(list) > 0 && lists(list, name) && !protected(name) && !IsIdentity(name, id)
}

// protected fields cannot be removed by naming them in Connection: that would let
// a client take away what a proxy before us has said, or what policies and the
// application go by.
func protected(name []byte) bool {
	for _, prefix := range [...]string{"x-forwarded-", "content-", "weir-", "x-real-ip", "forwarded", "idempotency-key",
		"authorization", "cookie", "host", "transfer-encoding", "trailer", "traceparent", "tracestate", "expect"} {
		if HasPrefixFold(name, prefix) {
			return true
		}
	}
	return false
}

// IsIdentity reports whether only trusted peers may send the field. It compares
// like CGI and WSGI do, which know no difference between '-' and '_': X_User must
// not pass where X-User may not. id may be nil.
func IsIdentity(name []byte, id *exchange.Identity) bool {
	if id == nil {
		return false
	}
	for _, h := range id.Headers {
		if sameField(name, h) {
			return true
		}
	}
	return false
}

func sameField(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := 0; i < len(b); i++ {
		c, n := b[i], name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c == '_' {
			c = '-'
		}
		if n == '_' {
			n = '-'
		}
		if c != n {
			return false
		}
	}
	return true
}

// HeadOnly reports whether a field frames, routes or authenticates a message, and
// so comes too late in a trailer (RFC 9110 section 6.5.1).
func HeadOnly(name []byte) bool {
	for _, n := range [...]string{"authorization", "cache-control", "connection", "content-encoding", "content-length",
		"content-range", "content-type", "expect", "host", "keep-alive", "max-forwards", "proxy-authenticate",
		"proxy-authorization", "proxy-connection", "range", "te", "trailer", "transfer-encoding", "upgrade", "www-authenticate"} {
		if EqualFold(name, n) {
			return true
		}
	}
	return false
}

// AppendForwardedFor appends the value of the last X-Forwarded-For as the
// application gets it: what the peer has sent, which may be empty, and the peer.
func AppendForwardedFor(dst, value []byte, peer netip.Addr) []byte {
	dst = append(dst, value...)
	if !peer.IsValid() {
		return dst
	}
	if len(value) > 0 {
		dst = append(dst, ", "...)
	}
	return peer.AppendTo(dst)
}

// AppendField appends a field as HTTP/1 has it. The value must hold no CR, LF or
// NUL.
func AppendField(dst, name, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}
