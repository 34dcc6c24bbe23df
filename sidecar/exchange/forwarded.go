// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"net/netip"
	"unsafe"
)

// forwardedFor reads the first element of a Forwarded list and returns its
// for-node without quotes, empty when it has none, and what follows the element.
// ok is false when the list is malformed.
func forwardedFor(b []byte) (node, rest []byte, more, ok bool) {
	seen := false
	for {
		name, value, tail, end, good := forwardedPair(b)
		if !good {
			return nil, nil, false, false
		}
		if equalFold(name, "for") {
			if seen {
				return nil, nil, false, false
			}
			node, seen = value, true
		}
		b = tail
		switch end {
		case ';':
		case ',':
			return node, b, true, true
		default:
			return node, nil, false, true
		}
	}
}

// forwardedPair reads `token=value` up to the ';', ',' or end that follows it.
func forwardedPair(b []byte) (name, value, rest []byte, end byte, ok bool) {
	eq := 0
	for eq < len(b) && b[eq] != '=' {
		if c := b[eq]; c == ',' || c == ';' || c == '"' {
			return nil, nil, nil, 0, false
		}
		eq++
	}
	if eq == len(b) {
		return nil, nil, nil, 0, false
	}
	name = trim(b[:eq])
	b = b[eq+1:]
	if len(b) > 0 && b[0] == '"' {
		n := 1
		for n < len(b) && b[n] != '"' {
			// No address needs a quoted pair; what has one is not read.
			if b[n] == '\\' {
				return nil, nil, nil, 0, false
			}
			n++
		}
		if n == len(b) {
			return nil, nil, nil, 0, false
		}
		value, b = b[1:n], b[n+1:]
		for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
			b = b[1:]
		}
		if len(b) == 0 {
			return name, value, nil, 0, true
		}
		return name, value, b[1:], b[0], b[0] == ',' || b[0] == ';'
	}
	for n, c := range b {
		switch c {
		case '"':
			return nil, nil, nil, 0, false
		case ',', ';':
			return name, trim(b[:n]), b[n+1:], c, true
		}
	}
	return name, trim(b), nil, 0, true
}

// parseNode reads `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]` or
// `[2001:db8::1]:80`.
func parseNode(b []byte) (netip.Addr, bool) {
	if len(b) == 0 {
		return netip.Addr{}, false
	}
	if b[0] == '[' {
		n := 1
		for n < len(b) && b[n] != ']' {
			n++
		}
		if n == len(b) || n+1 < len(b) && !isPort(b[n+1:]) {
			return netip.Addr{}, false
		}
		for _, c := range b[1:n] {
			if c == ':' {
				return parseAddr(b[1:n])
			}
		}
		return netip.Addr{}, false
	}
	colons, last := 0, 0
	for n, c := range b {
		if c == ':' {
			colons++
			last = n
		}
	}
	if colons == 1 {
		if !isPort(b[last:]) {
			return netip.Addr{}, false
		}
		b = b[:last]
	}
	return parseAddr(b)
}

func isPort(b []byte) bool {
	if len(b) < 2 || len(b) > 6 || b[0] != ':' {
		return false
	}
	for _, c := range b[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func parseAddr(b []byte) (netip.Addr, bool) {
	if len(b) == 0 || len(b) > 45 {
		return netip.Addr{}, false
	}
	for _, c := range b {
		if c == '%' {
			return netip.Addr{}, false
		}
	}
	// Only the error could keep the string, and it is dropped.
	addr, err := netip.ParseAddr(unsafe.String(&b[0], len(b)))
	return addr.Unmap(), err == nil
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// equalFold compares b with name, which is lower case, without ASCII case.
func equalFold(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}
