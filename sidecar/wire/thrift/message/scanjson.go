// SPDX-License-Identifier: Apache-2.0

package message

// maxBrackets bounds the brackets around a value: a struct takes one for itself and one
// for the type of each field, a container one or two.
const maxBrackets = 2*MaxDepth + 2

// jsonScanner finds the end of a value by brackets. It takes what Apache's libraries
// write: no white space, no words.
type jsonScanner struct {
	depth  int
	object [maxBrackets]bool
	// pair: behind a colon. In an object each second value is a key, of any kind.
	pair  [maxBrackets]bool
	state jsonState
	// message: the value is a struct, and the message's bracket follows.
	message bool
	// hex digits of an escape that are to come.
	hex int
}

type jsonState uint8

const (
	// wantsValue, or the end of an empty object or array: wantsFirst.
	wantsFirst jsonState = iota
	wantsValue
	afterValue
	inNumber
	inString
	inEscape
	inHex
)

func (s *jsonScanner) reset(message bool) {
	s.depth, s.message, s.hex = 0, message, 0
	s.state = wantsValue
}

// scan goes on with b, and takes all of it that belongs to the value. A number's end
// cannot be seen before what follows it, which is not taken.
func (s *jsonScanner) scan(b []byte) (n int, done bool, err error) {
	for n < len(b) {
		if s.state == inString {
			for n < len(b) && b[n] >= ' ' && b[n] != '"' && b[n] != '\\' {
				n++
			}
			if n == len(b) {
				break
			}
		}
		c := b[n]
		if s.state == inNumber {
			if isNumber(c) {
				n++
				continue
			}
			s.state = afterValue
		}
		if s.state == afterValue && s.depth == 0 {
			if !s.message {
				return n, true, nil
			}
			if c != ']' {
				return n, false, Malformed("what follows its struct")
			}
			return n + 1, true, nil
		}
		if err := s.next(c); err != nil {
			return n, false, err
		}
		n++
	}
	// The end of a value that is no number can be seen.
	return n, s.state == afterValue && s.depth == 0 && !s.message, nil
}

func isNumber(c byte) bool {
	return '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
}

func (s *jsonScanner) next(c byte) error {
	switch s.state {
	case inString:
		switch c {
		case '"':
			s.state = afterValue
		case '\\':
			s.state = inEscape
		default:
			return Malformed("a control character in a string")
		}
		return nil
	case inEscape:
		switch c {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			s.state = inString
		case 'u':
			s.state, s.hex = inHex, 4
		default:
			return Malformed("an escape that there is not")
		}
		return nil
	case inHex:
		if unhex(c) < 0 {
			return Malformed("an escape that there is not")
		}
		if s.hex--; s.hex == 0 {
			s.state = inString
		}
		return nil
	case afterValue:
		return s.after(c)
	}
	return s.begin(c)
}

// begin takes the first character of a value.
func (s *jsonScanner) begin(c byte) error {
	if s.message && s.depth == 0 && c != '{' {
		return Malformed("no struct where one should be")
	}
	switch {
	case c == '"':
		s.state = inString
	case c == '-' || '0' <= c && c <= '9':
		s.state = inNumber
	case c == '{' || c == '[':
		if s.depth == maxBrackets {
			return Malformed("structs and containers in each other, deeper than they may be")
		}
		s.object[s.depth], s.pair[s.depth] = c == '{', false
		s.depth++
		s.state = wantsFirst
	case (c == '}' || c == ']') && s.state == wantsFirst:
		return s.close(c)
	default:
		return Malformed("no value where one should be")
	}
	return nil
}

// after takes what follows a value inside of an object or array.
func (s *jsonScanner) after(c byte) error {
	top := s.depth - 1
	key := s.object[top] && !s.pair[top]
	switch {
	case c == ':' && key:
		s.pair[top] = true
		s.state = wantsValue
	case c == ',' && !key:
		s.pair[top] = false
		s.state = wantsValue
	case (c == '}' || c == ']') && !key:
		return s.close(c)
	default:
		return Malformed("what follows a value")
	}
	return nil
}

func (s *jsonScanner) close(c byte) error {
	if s.object[s.depth-1] != (c == '}') {
		return Malformed("a bracket that closes none")
	}
	s.depth--
	s.state = afterValue
	return nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
