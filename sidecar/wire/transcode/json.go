// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Reading JSON (RFC 8259): nothing that the grammar does not have is accepted.

func (e *encoder) space() {
	for e.pos < len(e.in) {
		switch e.in[e.pos] {
		case ' ', '\t', '\n', '\r':
			e.pos++
		default:
			return
		}
	}
}

// peek skips white space and returns the next byte; 0: there is none.
func (e *encoder) peek() byte {
	e.space()
	if e.pos >= len(e.in) {
		return 0
	}
	return e.in[e.pos]
}

// take reads c, if it comes next.
func (e *encoder) take(c byte) bool {
	if e.peek() != c {
		return false
	}
	e.pos++
	return true
}

func (e *encoder) literal(word string) bool {
	if e.pos+len(word) > len(e.in) || string(e.in[e.pos:e.pos+len(word)]) != word {
		return false
	}
	e.pos += len(word)
	return true
}

// null reads null, if it comes next.
func (e *encoder) null() bool { return e.peek() == 'n' && e.literal("null") }

// text reads a string. The slice is of the input or, where that has escapes, of a
// buffer that the next call overwrites.
func (e *encoder) text() ([]byte, error) {
	if !e.take('"') {
		return nil, e.unexpected("a string")
	}
	start, ascii := e.pos, true
	for i := start; i < len(e.in); i++ {
		switch c := e.in[i]; {
		case c == '"':
			e.pos = i + 1
			out := e.in[start:i]
			if !ascii && !utf8.Valid(out) {
				return nil, e.wrong("a string is not UTF-8")
			}
			return out, nil
		case c == '\\':
			return e.escaped(start, i)
		case c < ' ':
			e.pos = i
			return nil, e.wrong("a string has a control character")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	e.pos = len(e.in)
	return nil, e.wrong("a string does not end")
}

// escaped goes on with text from the first backslash.
func (e *encoder) escaped(start, i int) ([]byte, error) {
	out := append(e.scratch[:0], e.in[start:i]...)
	for i < len(e.in) {
		switch c := e.in[i]; {
		case c == '"':
			e.pos, e.scratch = i+1, out
			if !utf8.Valid(out) {
				return nil, e.wrong("a string is not UTF-8")
			}
			return out, nil
		case c < ' ':
			e.pos = i
			return nil, e.wrong("a string has a control character")
		case c != '\\':
			out = append(out, c)
			i++
		default:
			r, n := unescape(e.in[i:])
			if n == 0 {
				e.pos = i
				return nil, e.wrong("a string has an escape that JSON does not know")
			}
			out = utf8.AppendRune(out, r)
			i += n
		}
	}
	e.pos = len(e.in)
	return nil, e.wrong("a string does not end")
}

// unescape reads one escape, or two that are a surrogate pair; half a pair becomes
// U+FFFD, as encoding/json has it. n is 0 where in does not begin with an escape.
func unescape(in []byte) (r rune, n int) {
	if len(in) < 2 {
		return 0, 0
	}
	switch in[1] {
	case '"', '\\', '/':
		return rune(in[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, ok := hex4(in)
		if !ok {
			return 0, 0
		}
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		if low, ok := hex4(in[6:]); ok {
			if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
				return both, 12
			}
		}
		return utf8.RuneError, 6
	}
	return 0, 0
}

// hex4 reads \uXXXX.
func hex4(in []byte) (rune, bool) {
	if len(in) < 6 || in[0] != '\\' || in[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range in[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// number reads a number and says whether it is written as an integer; nil: there is
// none.
func (e *encoder) number() (out []byte, integer bool) {
	e.space()
	n, integer := number(e.in[e.pos:])
	out = e.in[e.pos : e.pos+n]
	e.pos += n
	return out, integer
}

// number is how long the number is that in begins with; 0: none.
func number(in []byte) (n int, integer bool) {
	i := 0
	if i < len(in) && in[i] == '-' {
		i++
	}
	d := digits(in[i:])
	if d == 0 || d > 1 && in[i] == '0' {
		return 0, false
	}
	i += d
	integer = true
	if i < len(in) && in[i] == '.' {
		d = digits(in[i+1:])
		if d == 0 {
			return 0, false
		}
		i, integer = i+1+d, false
	}
	if i < len(in) && in[i]|0x20 == 'e' {
		j := i + 1
		if j < len(in) && (in[j] == '+' || in[j] == '-') {
			j++
		}
		d = digits(in[j:])
		if d == 0 {
			return 0, false
		}
		i, integer = j+d, false
	}
	return i, integer
}

func digits(in []byte) int {
	for i, c := range in {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(in)
}

// parseInt is strconv.ParseInt for base 10 without '+', '_' and leading zeros. fits is
// false for what is no int64.
func parseInt(in []byte) (v int64, ok, fits bool) {
	n, integer := number(in)
	if n == 0 || n != len(in) || !integer {
		return 0, false, false
	}
	negative := in[0] == '-'
	if negative {
		in = in[1:]
	}
	if len(in) > 19 {
		return 0, true, false
	}
	var u uint64
	for _, c := range in {
		u = u*10 + uint64(c-'0')
	}
	switch {
	case negative && u <= 1<<63:
		return -int64(u), true, true
	case !negative && u < 1<<63:
		return int64(u), true, true
	}
	return 0, true, false
}

// skip reads any value.
func (e *encoder) skip(depth int) error {
	if depth > MaxDepth {
		return e.deep()
	}
	switch e.peek() {
	case '{':
		e.pos++
		if e.take('}') {
			return nil
		}
		for {
			if e.peek() != '"' {
				return e.unexpected("a member's name in quotes")
			}
			if _, err := e.text(); err != nil {
				return err
			}
			if !e.take(':') {
				return e.unexpected("a colon")
			}
			if err := e.skip(depth + 1); err != nil {
				return err
			}
			if done, err := e.next('}'); done || err != nil {
				return err
			}
		}
	case '[':
		e.pos++
		if e.take(']') {
			return nil
		}
		for {
			if err := e.skip(depth + 1); err != nil {
				return err
			}
			if done, err := e.next(']'); done || err != nil {
				return err
			}
		}
	case '"':
		_, err := e.text()
		return err
	case 't', 'f', 'n':
		if e.literal("true") || e.literal("false") || e.literal("null") {
			return nil
		}
	default:
		if n, _ := e.number(); len(n) > 0 {
			return nil
		}
	}
	return e.unexpected("a value")
}

// next reads the comma before another element, or the end.
func (e *encoder) next(end byte) (done bool, err error) {
	switch e.peek() {
	case ',':
		e.pos++
		return false, nil
	case end:
		e.pos++
		return true, nil
	}
	return false, e.unexpected("a comma or " + string(rune(end)))
}

// unexpected says what comes in place of what there ought to be.
func (e *encoder) unexpected(want string) error {
	e.space()
	if e.pos >= len(e.in) {
		return e.wrong("it ends where " + want + " ought to be")
	}
	end := e.pos + 1
	for end < len(e.in) && end < e.pos+20 && bytes.IndexByte([]byte(" \t\r\n,:{}[]\""), e.in[end]) < 0 {
		end++
	}
	return e.wrong("it has " + strconv.QuoteToGraphic(string(e.in[e.pos:end])) + " where " + want + " ought to be")
}

// wrong is about the grammar.
func (e *encoder) wrong(what string) error {
	line := 1 + bytes.Count(e.in[:e.pos], []byte("\n"))
	column := e.pos - bytes.LastIndexByte(e.in[:e.pos], '\n')
	return &valueError{what: "the JSON is not well formed at line " + strconv.Itoa(line) + ", column " + strconv.Itoa(column) + ": " + what, whole: true}
}

func (e *encoder) deep() error {
	return &valueError{what: "it nests deeper than " + strconv.Itoa(MaxDepth) + " levels", whole: true}
}
