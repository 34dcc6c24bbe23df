// SPDX-License-Identifier: Apache-2.0

package idl

import (
	"strconv"
	"strings"
)

// maxNesting bounds brackets within brackets in an IDL.
const maxNesting = 32

// outline is where the names of an IDL stand, and what thriftgo does not tell. It is
// tolerant: what it cannot make sense of, thriftgo refuses.
type outline struct {
	// places are those of `Type`, `Type.field`, `Service.method`, `Service.method.argument`.
	places map[string]position
	// ids are those of fields and arguments, as written; the unnumbered have none.
	ids map[string]string
	// deep is where brackets nest too deep; zero: nowhere.
	deep position
	// twice are places of definitions whose name was taken before.
	twice map[string]position
}

// token is a word, a number, a string or one character.
type token struct {
	text string
	at   position
}

func (t token) word() bool {
	return t.text != "" && (t.text[0] == '_' || 'a' <= t.text[0]|0x20 && t.text[0]|0x20 <= 'z')
}

// scan is the outline of a text.
func scan(text string) *outline {
	o := &outline{places: map[string]position{}, ids: map[string]string{}, twice: map[string]position{}}
	r := &reader{tokens: tokens(text)}
	depth := 0
	for _, t := range r.tokens {
		switch t.text {
		case "{", "(", "[", "<":
			if depth++; depth > maxNesting {
				o.deep = t.at
				return o
			}
		case "}", ")", "]", ">":
			depth--
		}
	}
	for !r.done() {
		switch t := r.next(); t.text {
		case "struct", "union", "exception", "enum":
			name := r.next()
			o.place(name.text, name.at)
			if r.skipTo("{") {
				if t.text == "enum" {
					o.enum(r, name.text)
				} else {
					o.fields(r, name.text, "}")
				}
			}
		case "typedef":
			r.typ()
			name := r.next()
			o.place(name.text, name.at)
		case "const":
			r.typ()
			name := r.next()
			o.place(name.text, name.at)
		case "service":
			name := r.next()
			o.place(name.text, name.at)
			if r.skipTo("{") {
				o.service(r, name.text)
			}
		}
	}
	return o
}

func (o *outline) place(name string, at position) {
	if _, ok := o.places[name]; ok {
		o.twice[name] = at
		return
	}
	o.places[name] = at
}

func (o *outline) enum(r *reader, name string) {
	for !r.done() {
		t := r.next()
		switch {
		case t.text == "}":
			return
		case t.text == "=":
			r.next()
		case t.text == "(":
			r.skipPast(")")
		case t.word():
			o.place(name+"."+t.text, t.at)
		}
	}
}

// fields reads fields up to the bracket that ends them.
func (o *outline) fields(r *reader, owner, end string) {
	for !r.done() && r.peek().text != end {
		id := ""
		if r.peekAt(1).text == ":" {
			id = r.next().text
			r.next()
		}
		if t := r.peek().text; (t == "required" || t == "optional") && (r.peekAt(1).word()) {
			r.next()
		}
		r.typ()
		name := r.next()
		o.place(owner+"."+name.text, name.at)
		if id != "" {
			o.ids[owner+"."+name.text] = id
		}
		r.tail(end)
	}
	r.next()
}

func (o *outline) service(r *reader, owner string) {
	for !r.done() && r.peek().text != "}" {
		if r.peek().text == "oneway" && r.peekAt(1).word() {
			r.next()
		}
		r.typ()
		name := r.next()
		method := owner + "." + name.text
		o.place(method, name.at)
		if r.peek().text == "(" {
			r.next()
			o.fields(r, method, ")")
		}
		if r.peek().text == "throws" {
			r.next()
			if r.peek().text == "(" {
				r.next()
				o.fields(r, method+" throws", ")")
			}
		}
		if r.peek().text == "(" {
			r.next()
			r.skipPast(")")
		}
		if t := r.peek().text; t == "," || t == ";" {
			r.next()
		}
	}
	r.next()
}

// reader goes over tokens.
type reader struct {
	tokens []token
	pos    int
}

func (r *reader) done() bool { return r.pos >= len(r.tokens) }

func (r *reader) peek() token { return r.peekAt(0) }

func (r *reader) peekAt(n int) token {
	if r.pos+n >= len(r.tokens) {
		return token{}
	}
	return r.tokens[r.pos+n]
}

func (r *reader) next() token {
	t := r.peek()
	r.pos++
	return t
}

// skipTo passes tokens up to and with one.
func (r *reader) skipTo(text string) bool {
	for !r.done() {
		if r.next().text == text {
			return true
		}
	}
	return false
}

// skipPast passes what brackets hold; the opening one was read.
func (r *reader) skipPast(end string) {
	for depth := 1; !r.done() && depth > 0; {
		switch r.next().text {
		case "(", "[", "{", "<":
			depth++
		case ")", "]", "}", ">":
			depth--
		}
	}
	_ = end
}

// typ passes a type with its annotations.
func (r *reader) typ() {
	r.next()
	for {
		switch {
		case r.peek().text == "<":
			r.next()
			r.skipPast(">")
		case r.peek().text == "(":
			r.next()
			r.skipPast(")")
		case r.peek().text == "cpp_type" && strings.HasPrefix(r.peekAt(1).text, `"`):
			r.pos += 2
		default:
			return
		}
	}
}

// tail passes what follows a field's name.
func (r *reader) tail(end string) {
	if r.peek().text == "=" {
		r.next()
		switch r.next().text {
		case "[", "{":
			r.skipPast("")
		}
	}
	if r.peek().text == "(" {
		r.next()
		r.skipPast(")")
	}
	if t := r.peek().text; t != end && (t == "," || t == ";") {
		r.next()
	}
}

// id is the id of a field as it is written.
func (o *outline) id(name string) (id int, numbered, ok bool) {
	text, numbered := o.ids[name]
	if !numbered {
		return 0, false, false
	}
	v, err := strconv.ParseInt(text, 0, 64)
	return int(v), true, err == nil && v >= -32768 && v <= 32767
}

// tokens takes a text apart. Strings keep their first quote.
func tokens(text string) []token {
	var out []token
	line, start := 1, 0
	for i := 0; i < len(text); {
		c := text[i]
		at := position{line, i - start + 1}
		var n int
		switch {
		case c == '\n':
			line, start = line+1, i+1
			i++
			continue
		case c == ' ' || c == '\t' || c == '\r' || c == '\v':
			i++
			continue
		case c == '#' || strings.HasPrefix(text[i:], "//"):
			if n = strings.IndexByte(text[i:], '\n'); n < 0 {
				n = len(text) - i
			}
			i += n
			continue
		case strings.HasPrefix(text[i:], "/*"):
			if n = strings.Index(text[i+2:], "*/"); n < 0 {
				n = len(text) - i - 4
			}
			n += 4
		case c == '"' || c == '\'':
			n = quoted(text[i:])
			out = append(out, token{`"`, at})
		default:
			n = wordLength(text[i:])
			out = append(out, token{text[i : i+n], at})
		}
		n = min(n, len(text)-i)
		if lines := strings.Count(text[i:i+n], "\n"); lines > 0 {
			line += lines
			start = i + strings.LastIndexByte(text[i:i+n], '\n') + 1
		}
		i += n
	}
	return out
}

func quoted(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case text[0]:
			return i + 1
		}
	}
	return len(text)
}

func wordLength(text string) int {
	for i := range len(text) {
		c := text[i]
		if c == '_' || c == '.' || c == '+' || c == '-' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' {
			continue
		}
		return max(i, 1)
	}
	return len(text)
}
