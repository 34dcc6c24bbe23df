// SPDX-License-Identifier: Apache-2.0

package rules

import "bytes"

// EqualFold compares b with name, which is lower case, without ASCII case.
func EqualFold(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := 0; i < len(b); i++ {
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

// HasPrefixFold is EqualFold for the beginning of b.
func HasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && EqualFold(b[:len(prefix)], prefix)
}

// Trim takes spaces and tabs off both ends.
func Trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// ListHas reports whether the comma-separated list names the token, which is
// lower case.
func ListHas(list []byte, token string) bool {
	for len(list) > 0 {
		item := list
		if n := bytes.IndexByte(list, ','); n >= 0 {
			item, list = list[:n], list[n+1:]
		} else {
			list = nil
		}
		if EqualFold(Trim(item), token) {
			return true
		}
	}
	return false
}

// lists reports whether the comma-separated list names the field.
func lists(list, name []byte) bool {
	for len(list) > 0 {
		item := list
		if n := bytes.IndexByte(list, ','); n >= 0 {
			item, list = list[:n], list[n+1:]
		} else {
			list = nil
		}
		if item = Trim(item); len(item) == len(name) && bytes.EqualFold(item, name) {
			return true
		}
	}
	return false
}

// JoinList joins two comma-separated lists.
func JoinList(a, b []byte) []byte {
	if len(a) == 0 {
		return b
	}
	return bytes.Join([][]byte{a, b}, []byte(","))
}

// IsToken reports whether b is a token of RFC 9110.
func IsToken(b []byte) bool {
	for _, c := range b {
		if !tokenChars[c] {
			return false
		}
	}
	return len(b) > 0
}

// IsTokenChar reports whether c may be in a token.
func IsTokenChar(c byte) bool { return tokenChars[c] }

// tokenChars are the characters of an RFC 9110 token.
var tokenChars = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// IsHost reports whether b has only characters that a host and its port may have:
// RFC 3986's unreserved and sub-delims, brackets, colons and percent signs. Others
// are where two servers see different hosts.
func IsHost(b []byte) bool {
	for _, c := range b {
		if !hostChars[c] {
			return false
		}
	}
	return true
}

var hostChars = func() (t [256]bool) {
	for c := '!'; c <= '~'; c++ {
		t[c] = true
	}
	for _, c := range "\"#/<>?@\\^`{|}" {
		t[c] = false
	}
	return t
}()
