// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"encoding/base32"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// sfv is a strict parser of Structured Field Values (RFC 9651, section 4.2), for tests
// only. Its results have the form of the JSON of httpwg/structured-field-tests: an item
// is [value, parameters], parameters are [[key, value], …].
type sfv struct {
	rest string
	bad  error
	// last is the number that was read last, without its sign.
	last string
}

var errSFV = errors.New("no structured field")

// parseSFV parses a field of the type list, dictionary or item. Several lines are one.
func parseSFV(kind string, lines ...string) (any, error) {
	p := &sfv{rest: strings.TrimLeft(strings.Join(lines, ", "), " ")}
	var out any
	switch kind {
	case "list":
		out = p.list()
	case "dictionary":
		out = p.dictionary()
	default:
		out = p.item()
	}
	if p.rest = strings.TrimLeft(p.rest, " "); p.rest != "" {
		p.fail()
	}
	return out, p.bad
}

// fail ends the parse: nothing is left to read.
func (p *sfv) fail() { p.bad, p.rest = errSFV, "" }

func (p *sfv) peek() byte {
	if p.rest == "" {
		return 0
	}
	return p.rest[0]
}

func (p *sfv) accept(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// while takes the bytes for which ok is true.
func (p *sfv) while(ok func(c byte) bool) string {
	n := 0
	for n < len(p.rest) && ok(p.rest[n]) {
		n++
	}
	out := p.rest[:n]
	p.rest = p.rest[n:]
	return out
}

// comma takes what is between members, and reports whether another one follows.
func (p *sfv) comma() bool {
	p.rest = strings.TrimLeft(p.rest, " \t")
	if p.rest == "" {
		return false
	}
	if !p.accept(',') {
		p.fail()
		return false
	}
	if p.rest = strings.TrimLeft(p.rest, " \t"); p.rest == "" {
		p.fail() // a comma at the end
	}
	return p.bad == nil
}

func (p *sfv) list() any {
	out := []any{}
	for more := p.rest != ""; more; more = p.comma() {
		out = append(out, p.member())
	}
	return out
}

func (p *sfv) dictionary() any {
	out := []any{}
	for more := p.rest != ""; more; more = p.comma() {
		key := p.key()
		var v any
		if p.accept('=') {
			v = p.member()
		} else {
			v = []any{true, p.parameters()}
		}
		out = set(out, key, v)
	}
	return out
}

// set keeps the place of a key that comes again.
func set(list []any, key string, v any) []any {
	for _, e := range list {
		if pair := e.([]any); pair[0] == key {
			pair[1] = v
			return list
		}
	}
	return append(list, []any{key, v})
}

func (p *sfv) member() any {
	if p.peek() == '(' {
		return p.innerList()
	}
	return p.item()
}

func (p *sfv) innerList() any {
	p.accept('(')
	items := []any{}
	for {
		p.rest = strings.TrimLeft(p.rest, " ")
		if p.accept(')') {
			return []any{items, p.parameters()}
		}
		if p.rest == "" {
			p.fail()
			return nil
		}
		items = append(items, p.item())
		if c := p.peek(); c != ' ' && c != ')' {
			p.fail()
			return nil
		}
	}
}

func (p *sfv) item() any { return []any{p.bare(), p.parameters()} }

func (p *sfv) parameters() any {
	out := []any{}
	for p.accept(';') {
		p.rest = strings.TrimLeft(p.rest, " ")
		key := p.key()
		var v any = true
		if p.accept('=') {
			v = p.bare()
		}
		out = set(out, key, v)
	}
	return out
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isAlpha(c byte) bool { return isLower(c | 0x20) }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (p *sfv) key() string {
	if c := p.peek(); !isLower(c) && c != '*' {
		p.fail()
		return ""
	}
	return p.while(func(c byte) bool { return isLower(c) || isDigit(c) || strings.IndexByte("_-.*", c) >= 0 })
}

func (p *sfv) bare() any {
	switch c := p.peek(); {
	case c == '-' || isDigit(c):
		return p.number()
	case c == '"':
		return p.str()
	case c == '*' || isAlpha(c):
		return typed("token", p.while(func(c byte) bool { return isAlpha(c) || isDigit(c) || strings.IndexByte(":/!#$%&'*+-.^_`|~", c) >= 0 }))
	case c == ':':
		return p.binary()
	case c == '?':
		return p.boolean()
	case c == '@':
		p.accept('@')
		n, ok := p.number().(float64)
		if !ok || strings.Contains(p.last, ".") {
			p.fail()
		}
		return typed("date", n)
	case c == '%':
		return p.display()
	}
	p.fail()
	return nil
}

func typed(kind string, v any) any { return map[string]any{"__type": kind, "value": v} }

func (p *sfv) number() any {
	sign := ""
	if p.accept('-') {
		sign = "-"
	}
	whole := p.while(isDigit)
	text := whole
	if whole == "" || len(whole) > 15 {
		p.fail()
		return nil
	}
	if p.accept('.') {
		fraction := p.while(isDigit)
		if len(whole) > 12 || fraction == "" || len(fraction) > 3 {
			p.fail()
			return nil
		}
		text += "." + fraction
	}
	p.last = text
	n, err := strconv.ParseFloat(sign+text, 64)
	if err != nil {
		p.fail()
	}
	return n + 0 // no negative zero
}

func (p *sfv) str() any {
	p.accept('"')
	var b strings.Builder
	for p.rest != "" {
		c := p.rest[0]
		p.rest = p.rest[1:]
		switch {
		case c == '"':
			return b.String()
		case c == '\\':
			if c = p.peek(); c != '"' && c != '\\' {
				p.fail()
				return nil
			}
			p.rest = p.rest[1:]
		case c < 0x20 || c > 0x7e:
			p.fail()
			return nil
		}
		b.WriteByte(c)
	}
	p.fail()
	return nil
}

func (p *sfv) binary() any {
	p.accept(':')
	text, rest, ok := strings.Cut(p.rest, ":")
	b, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || strings.ContainsAny(text, "\r\n") {
		p.fail()
		return nil
	}
	p.rest = rest
	return typed("binary", base32.StdEncoding.EncodeToString(b))
}

func (p *sfv) boolean() any {
	p.accept('?')
	switch {
	case p.accept('1'):
		return true
	case p.accept('0'):
		return false
	}
	p.fail()
	return nil
}

func (p *sfv) display() any {
	if !strings.HasPrefix(p.rest, `%"`) {
		p.fail()
		return nil
	}
	p.rest = p.rest[2:]
	var b []byte
	for p.rest != "" {
		c := p.rest[0]
		p.rest = p.rest[1:]
		switch {
		case c == '"':
			if !utf8.Valid(b) {
				p.fail()
			}
			return typed("displaystring", string(b))
		case c < 0x20 || c > 0x7e:
			p.fail()
			return nil
		case c == '%':
			if len(p.rest) < 2 || p.rest[:2] != strings.ToLower(p.rest[:2]) {
				p.fail()
				return nil
			}
			n, err := strconv.ParseUint(p.rest[:2], 16, 8)
			if err != nil {
				p.fail()
				return nil
			}
			c, p.rest = byte(n), p.rest[2:]
		}
		b = append(b, c)
	}
	p.fail()
	return nil
}
