// SPDX-License-Identifier: Apache-2.0

package content

import (
	"bytes"
	"errors"
)

// ErrKey says that a field's value is no key.
var ErrKey = errors.New("not a key: either a quoted string or visible ASCII characters without spaces, commas and quotes")

// HeaderKey reads a key from a field's value and appends it to dst: either a String of
// RFC 8941, as draft-ietf-httpapi-idempotency-key-header-07 wants it, whose parameters
// are ignored as section 3.1.2 has it, or bare, as most clients send it. "a" and a are
// the same key. Commas are refused bare: proxies join several fields with them.
func HeaderKey(dst, field []byte) ([]byte, error) {
	field = bytes.Trim(field, " \t")
	if len(field) == 0 {
		return dst, ErrKey
	}
	if field[0] != '"' {
		for _, c := range field {
			if c <= ' ' || c > '~' || c == '"' || c == ',' {
				return dst, ErrKey
			}
		}
		return append(dst, field...), nil
	}
	n := len(dst)
	for i := 1; i < len(field); i++ {
		switch c := field[i]; {
		case c == '"':
			if len(dst) == n || !parameters(field[i+1:]) {
				return dst[:n], ErrKey
			}
			return dst, nil
		case c == '\\':
			if i++; i == len(field) || field[i] != '"' && field[i] != '\\' {
				return dst[:n], ErrKey
			}
			dst = append(dst, field[i])
		case c < ' ' || c > '~':
			return dst[:n], ErrKey
		default:
			dst = append(dst, c)
		}
	}
	return dst[:n], ErrKey
}

// parameters reports whether b is nothing but parameters of an Item. Their values are
// looked at as far as their ends have to be found.
func parameters(b []byte) bool {
	for len(b) > 0 {
		if b[0] != ';' {
			return false
		}
		if b = bytes.TrimLeft(b[1:], " "); len(b) == 0 || (b[0] < 'a' || b[0] > 'z') && b[0] != '*' {
			return false
		}
		quoted := false
		i := 0
		for ; i < len(b) && (quoted || b[i] != ';'); i++ {
			switch c := b[i]; {
			case c < ' ' || c > '~' || !quoted && (c == ' ' || c == ','):
				return false
			case quoted && c == '\\':
				i++
			case c == '"':
				quoted = !quoted
			}
		}
		if quoted || i > len(b) {
			return false
		}
		b = b[i:]
	}
	return true
}
