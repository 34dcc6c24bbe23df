// SPDX-License-Identifier: Apache-2.0

package content

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects may nest.
const MaxDepth = 64

// scanner reads JSON from a position. Its calls report whether the text is JSON so far;
// after false the position means nothing.
type scanner struct {
	in []byte
	at int
}

// peek skips white space and returns the byte that follows, 0 at the end.
func (s *scanner) peek() byte {
	for s.at < len(s.in) {
		switch c := s.in[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// end reports whether only white space is left.
func (s *scanner) end() bool {
	s.peek()
	return s.at == len(s.in)
}

func (s *scanner) word(w string) bool {
	if !bytes.HasPrefix(s.in[s.at:], []byte(w)) {
		return false
	}
	s.at += len(w)
	return true
}

// number reads a number and returns it as it is written.
func (s *scanner) number() ([]byte, bool) {
	from := s.at
	if s.at < len(s.in) && s.in[s.at] == '-' {
		s.at++
	}
	first := s.at
	if s.digits() == 0 || s.in[first] == '0' && s.at > first+1 {
		return nil, false
	}
	if s.at < len(s.in) && s.in[s.at] == '.' {
		if s.at++; s.digits() == 0 {
			return nil, false
		}
	}
	if s.at < len(s.in) && s.in[s.at]|0x20 == 'e' {
		if s.at++; s.at < len(s.in) && (s.in[s.at] == '+' || s.in[s.at] == '-') {
			s.at++
		}
		if s.digits() == 0 {
			return nil, false
		}
	}
	return s.in[from:s.at], true
}

func (s *scanner) digits() (n int) {
	for s.at < len(s.in) && '0' <= s.in[s.at] && s.in[s.at] <= '9' {
		s.at++
		n++
	}
	return n
}

// text reads a string and appends its characters in UTF-8. Half of a surrogate pair,
// which is no character, is appended as the three bytes that it would have: no other
// string has them, since the input is UTF-8.
func (s *scanner) text(dst []byte) ([]byte, bool) {
	s.at++ // the quote
	for s.at < len(s.in) {
		switch c := s.in[s.at]; {
		case c == '"':
			s.at++
			return dst, true
		case c < ' ':
			return dst, false
		case c == '\\':
			var ok bool
			if dst, ok = s.escape(dst); !ok {
				return dst, false
			}
		default:
			dst = append(dst, c)
			s.at++
		}
	}
	return dst, false
}

func (s *scanner) escape(dst []byte) ([]byte, bool) {
	if s.at+1 >= len(s.in) {
		return dst, false
	}
	c := s.in[s.at+1]
	if c == 'u' {
		r, ok := s.unit()
		if !ok {
			return dst, false
		}
		if utf16.IsSurrogate(r) {
			before := s.at
			if low, ok := s.unit(); ok {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					return utf8.AppendRune(dst, pair), true
				}
			}
			s.at = before
			return append(dst, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f), true
		}
		return utf8.AppendRune(dst, r), true
	}
	s.at += 2
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	default:
		return dst, false
	}
	return append(dst, c), true
}

// unit reads \uXXXX.
func (s *scanner) unit() (rune, bool) {
	const size = 6
	if len(s.in)-s.at < size || s.in[s.at] != '\\' || s.in[s.at+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range s.in[s.at+2 : s.at+size] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	s.at += size
	return r, true
}
