// SPDX-License-Identifier: Apache-2.0

package match

import (
	"bytes"

	"weir.dev/weir/sidecar/exchange"
)

// MaxParams is how many parameters one template can have.
const MaxParams = 16

// Params are the values that a template's parameters had, slices of
// the exchange's paths, still percent-encoded.
type Params struct {
	values [MaxParams][]byte
	n      int
}

// Get returns the i-th parameter; nil when the rule that matched has none such.
func (p *Params) Get(i int) []byte {
	if i < 0 || i >= p.n {
		return nil
	}
	return p.values[i]
}

// Matcher is a compiled list. Immutable.
type Matcher struct {
	rules    []rule
	methods  []string
	headers  []header
	segments []segment
}

type pathKind uint8

const (
	anyPath pathKind = iota
	exact
	prefix
)

type span struct{ from, to int }

type rule struct {
	// thrift: it covers calls of Thrift, of service and methods, and nothing else does.
	thrift  bool
	service string

	methods  span
	headers  span
	path     pathKind
	segments span
}

type header struct{ name, value string }

// segment is a literal, decoded and in lower case, or a parameter's name.
type segment struct {
	text  string
	param bool
}

// Everything is what Match returns for a list without rules.
const Everything = -1

// Match returns the first rule that covers x, filling p with the values of its
// parameters, or Everything when there are no rules. ok is false when none does.
func (m *Matcher) Match(x *exchange.Exchange, p *Params) (rule int, ok bool) {
	p.n = 0
	if len(m.rules) == 0 {
		return Everything, true
	}
	for i := range m.rules {
		r := &m.rules[i]
		if r.thrift || x.Call != nil {
			if r.thrift && x.Call != nil && m.call(r, x.Call) {
				return i, true
			}
			continue
		}
		if m.method(r, x.Method) && m.matchPaths(r, x, p) && m.header(r, x.Request) {
			return i, true
		}
	}
	p.n = 0
	return 0, false
}

// Param returns, by rule, where in Params the parameter of that name is; -1 where
// a rule has none such. found is false when no rule has.
func (m *Matcher) Param(name string) (byRule []int, found bool) {
	byRule = make([]int, len(m.rules))
	for i, r := range m.rules {
		byRule[i] = -1
		n := 0
		for _, s := range m.segments[r.segments.from:r.segments.to] {
			if !s.param {
				continue
			}
			if s.text == name {
				byRule[i], found = n, true
			}
			n++
		}
	}
	return byRule, found
}

// call reports whether r covers a call of Thrift. Names have a case there.
func (m *Matcher) call(r *rule, c *exchange.Call) bool {
	if r.service != "" && len(c.Service) > 0 && string(c.Service) != r.service {
		return false
	}
	if r.methods.from == r.methods.to {
		return true
	}
	for _, want := range m.methods[r.methods.from:r.methods.to] {
		if string(c.Method) == want {
			return true
		}
	}
	return false
}

func (m *Matcher) method(r *rule, method []byte) bool {
	if r.methods.from == r.methods.to {
		return true
	}
	for _, want := range m.methods[r.methods.from:r.methods.to] {
		if sameMethod(method, want) {
			return true
		}
	}
	return false
}

// sameMethod compares without case. Methods have one, but ASP.NET Core, Symfony and
// Django take "post" for POST, and their limit must not be escaped by it.
func sameMethod(method []byte, want string) bool {
	if len(method) != len(want) {
		return false
	}
	for i, c := range method {
		if lower(c) != lower(want[i]) {
			return false
		}
	}
	return true
}

func (m *Matcher) header(r *rule, h exchange.Headers) bool {
	for i := r.headers.from; i < r.headers.to; i++ {
		want := &m.headers[i]
		value, count := h.Header(want.name)
		if count == 0 || count == 1 && string(value) != want.value {
			return false
		}
	}
	return true
}

// matchPaths looks at the path without path parameters first: with them, each
// would make another value of a template's parameter.
func (m *Matcher) matchPaths(r *rule, x *exchange.Exchange, p *Params) bool {
	return x.BarePath != nil && m.matchPath(r, x.BarePath, p) || m.matchPath(r, x.Path, p) ||
		x.DottedPath != nil && m.matchPath(r, x.DottedPath, p) || x.OpenPath != nil && m.matchPath(r, x.OpenPath, p)
}

func (m *Matcher) matchPath(r *rule, path []byte, p *Params) bool {
	p.n = 0
	// "*" is below "/" too: an Express app that serves everything serves it.
	if r.path == anyPath || r.path == prefix && r.segments.from == r.segments.to {
		return true
	}
	if len(path) == 0 || path[0] != '/' {
		return false
	}
	rest := path[1:]
	for _, s := range m.segments[r.segments.from:r.segments.to] {
		if len(rest) == 0 {
			return false
		}
		seg := rest
		if i := bytes.IndexByte(rest, '/'); i >= 0 {
			seg, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		if s.param {
			if len(seg) == 0 {
				return false
			}
			p.values[p.n] = seg
			p.n++
		} else if !equal(seg, s.text) {
			return false
		}
	}
	return r.path == prefix || len(rest) == 0
}

// equal compares a segment as sent with a decoded literal in lower case.
func equal(seg []byte, literal string) bool {
	j := 0
	for i := 0; i < len(seg); i++ {
		c := seg[i]
		if c == '%' {
			if d, ok := Decode(seg[i:]); ok {
				c = d
				i += 2
			}
		}
		if j == len(literal) || lower(c) != literal[j] {
			return false
		}
		j++
	}
	return j == len(literal)
}

// AppendDecoded appends a segment with its percent-encoded bytes decoded; what
// is no valid encoding is appended as it is.
func AppendDecoded(dst, seg []byte) []byte {
	for i := 0; i < len(seg); i++ {
		c := seg[i]
		if c == '%' {
			if d, ok := Decode(seg[i:]); ok {
				c = d
				i += 2
			}
		}
		dst = append(dst, c)
	}
	return dst
}

// Decode returns the byte that the percent escape at the beginning of s stands for.
func Decode(s []byte) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	hi, lo := unhex(s[1]), unhex(s[2])
	return hi<<4 | lo, hi < 16 && lo < 16
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	default:
		return 0xff
	}
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
