// SPDX-License-Identifier: Apache-2.0

package content

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of a pointer.
const (
	maxPointer = 1024
	maxTokens  = 32
)

// Pointer is a JSON pointer (RFC 6901).
type Pointer struct{ tokens []string }

// ParsePointer reads a pointer in its string representation.
func ParsePointer(s string) (Pointer, error) {
	if len(s) > maxPointer || !utf8.ValidString(s) {
		return Pointer{}, fmt.Errorf("the JSON pointer is longer than %d bytes or no UTF-8", maxPointer)
	}
	if s == "" {
		return Pointer{}, nil
	}
	if s[0] != '/' {
		return Pointer{}, fmt.Errorf("JSON pointer %q does not begin with /", s)
	}
	var p Pointer
	for token := range strings.SplitSeq(s[1:], "/") {
		for i := 0; i < len(token); i++ {
			if token[i] == '~' && (i+1 == len(token) || token[i+1] != '0' && token[i+1] != '1') {
				return Pointer{}, fmt.Errorf("JSON pointer %q has a ~ that neither 0 nor 1 follows", s)
			}
		}
		p.tokens = append(p.tokens, strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~"))
	}
	if len(p.tokens) > maxTokens {
		return Pointer{}, fmt.Errorf("JSON pointer %q has more than %d parts", s, maxTokens)
	}
	return p, nil
}

// Found says what a pointer leads to.
type Found uint8

const (
	// Missing: nothing, or the text is no JSON.
	Missing Found = iota
	// Scalar: a string, a number, true or false.
	Scalar
	// Container: an array or an object.
	Container
	// Doubtful: an object on the way has the member twice.
	Doubtful
)

// Find looks a value up and appends it to dst: the characters of a string, a number,
// true or false as it is written, an array or an object in its canonical encoding. null
// and "" are missing.
func (c *Canon) Find(dst, body []byte, p Pointer) ([]byte, Found) {
	if !utf8.Valid(body) {
		return dst, Missing
	}
	f := finder{scanner: scanner{in: body}}
	if !f.value(p.tokens, 0) || !f.end() || f.to == 0 && !f.twice {
		return dst, Missing
	}
	if f.twice {
		return dst, Doubtful
	}
	raw := scanner{in: body[f.from:f.to]}
	switch raw.in[0] {
	case '"':
		n := len(dst)
		dst, _ = raw.text(dst)
		if len(dst) == n {
			return dst, Missing
		}
		return dst, Scalar
	case 'n':
		return dst, Missing
	case '{', '[':
		if !c.encode(raw.in, nil) {
			return dst, Doubtful
		}
		return append(dst, c.arena...), Container
	}
	return append(dst, raw.in...), Scalar
}

// finder skips over a text and remembers where a pointer leads.
type finder struct {
	scanner
	name     []byte
	from, to int
	twice    bool
}

// value reads one value; tokens is what is left of the pointer, nil off its way.
func (f *finder) value(tokens []string, depth int) bool {
	on := tokens != nil || depth == 0
	first := f.peek()
	from := f.at
	if !f.read(first, tokens, depth) {
		return false
	}
	if on && len(tokens) == 0 {
		if f.to > 0 {
			f.twice = true
		}
		f.from, f.to = from, f.at
	}
	return true
}

func (f *finder) read(first byte, tokens []string, depth int) bool {
	switch first {
	case '{', '[':
		if depth == MaxDepth {
			return false
		}
		f.at++
		return f.list(first, tokens, depth)
	case '"':
		var ok bool
		f.name, ok = f.text(f.name[:0])
		return ok
	case 't':
		return f.word("true")
	case 'f':
		return f.word("false")
	case 'n':
		return f.word("null")
	}
	_, ok := f.number()
	return ok
}

func (f *finder) list(open byte, tokens []string, depth int) bool {
	last := byte(']')
	if open == '{' {
		last = '}'
	}
	if f.peek() == last {
		f.at++
		return true
	}
	for i, seen := 0, false; ; i++ {
		hit := false
		if open == '{' {
			if f.peek() != '"' {
				return false
			}
			var ok bool
			if f.name, ok = f.text(f.name[:0]); !ok || f.peek() != ':' {
				return false
			}
			f.at++
			hit = len(tokens) > 0 && string(f.name) == tokens[0]
		} else {
			hit = len(tokens) > 0 && tokens[0] == strconv.Itoa(i)
		}
		f.twice = f.twice || hit && seen
		seen = seen || hit
		var rest []string
		if hit {
			rest = tokens[1:]
		}
		if !f.value(rest, depth+1) {
			return false
		}
		switch f.peek() {
		case ',':
			f.at++
		case last:
			f.at++
			return true
		default:
			return false
		}
	}
}
