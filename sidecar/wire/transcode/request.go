// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
)

// Request is what a call is made of.
type Request struct {
	// Params are those of Match.
	Params []string
	// Query is what follows the '?', as sent.
	Query []byte
	// Header gives the fields of the head.
	Header exchange.Headers
	// Body is all of it.
	Body []byte
}

// AppendCall appends the message that calls the route's method. The error is a
// *Refusal.
func (r *Route) AppendCall(dst []byte, p Protocol, seq int32, in *Request) ([]byte, error) {
	e := encoder{compact: p == Compact, max: r.Method.limits.Call, out: appendHead(dst, p, r.Method, seq)}
	err := r.arguments(&e, in)
	if err != nil {
		return dst, err
	}
	return e.out, nil
}

func (r *Route) arguments(e *encoder, in *Request) error {
	outer := members{structure: r.Method.arguments}
	m := members{structure: r.request, elsewhere: r.elsewhere}
	if r.unwrap {
		e.writeField(&outer, outer.structure.fields[0], true)
		e.depth++
	}
	for i := range r.inputs {
		if err := r.input(e, &m, &r.inputs[i], in); err != nil {
			return err
		}
	}
	m.given = m.seen
	if r.body || r.mapped != nil {
		if err := r.readBody(e, &m, in); err != nil {
			return err
		}
	}
	if err := e.finish(&m); err != nil {
		return badRequest("the request", err)
	}
	if r.unwrap {
		e.out = append(e.out, wireStop)
	}
	return nil
}

func (r *Route) readBody(e *encoder, m *members, in *Request) error {
	e.in, e.pos = in.Body, 0
	if e.peek() == 0 && e.pos == len(e.in) {
		return nil
	}
	if err := checkJSON(in.Header); err != nil {
		return err
	}
	err := e.fields(m, r.names, r.mapped)
	if err == nil {
		err = e.end()
	}
	if err != nil {
		return badRequest("the body", err)
	}
	return nil
}

// checkJSON refuses a body that says it is something else.
func checkJSON(h exchange.Headers) error {
	value, n := h.Header("content-type")
	if n == 0 {
		return nil
	}
	media, _, _ := strings.Cut(string(value), ";")
	media = strings.ToLower(strings.TrimSpace(media))
	if media == "application/json" || strings.HasSuffix(media, "+json") {
		return nil
	}
	return refuse(http.StatusUnsupportedMediaType, ProblemRequest, "Unsupported Media Type",
		"The body is "+strconv.QuoteToGraphic(media)+"; it ought to be application/json.")
}

// input writes a field that comes from outside of the body's members.
func (r *Route) input(e *encoder, m *members, i *input, in *Request) error {
	for _, p := range i.places {
		var err error
		found := false
		switch p.kind {
		case snapshot.TranscodingPlace_KIND_PATH:
			found, err = true, e.one(m, i.field, []byte(in.Params[p.param]))
		case snapshot.TranscodingPlace_KIND_QUERY:
			found, err = e.query(m, i.field, p.name, in.Query)
		case snapshot.TranscodingPlace_KIND_HEADER:
			found, err = e.header(m, i.field, p.name, in.Header)
		case snapshot.TranscodingPlace_KIND_COOKIE:
			found, err = e.cookie(m, i.field, p.name, in.Header)
		case snapshot.TranscodingPlace_KIND_RAW_BODY:
			found, err = true, e.one(m, i.field, nil)
			if err == nil {
				e.out = e.out[:len(e.out)-emptyBytes(e.compact)]
				e.writeBytes(in.Body)
				err = e.room()
			}
		case snapshot.TranscodingPlace_KIND_WHOLE_BODY:
			found, err = e.wholeBody(m, i.field, in)
		}
		if err != nil {
			return inPlace(p, err)
		}
		if found {
			return nil
		}
	}
	return nil
}

func emptyBytes(compact bool) int {
	if compact {
		return 1
	}
	return 4
}

func inPlace(p place, err error) error {
	if r, ok := err.(*Refusal); ok { //nolint:errorlint // made by ourselves, one level below
		return r
	}
	what := "the body"
	switch p.kind {
	case snapshot.TranscodingPlace_KIND_PATH:
		what = "parameter " + p.name + " of the path"
	case snapshot.TranscodingPlace_KIND_QUERY:
		what = "parameter " + p.name + " of the query"
	case snapshot.TranscodingPlace_KIND_HEADER:
		what = "header " + p.name
	case snapshot.TranscodingPlace_KIND_COOKIE:
		what = "cookie " + p.name
	}
	return badRequest(what, err)
}

func (e *encoder) wholeBody(m *members, f *field, in *Request) (bool, error) {
	e.in, e.pos = in.Body, 0
	if e.peek() == 0 && e.pos == len(e.in) {
		return false, nil
	}
	if err := checkJSON(in.Header); err != nil {
		return false, err
	}
	if err := e.member(m, f); err != nil {
		return false, err
	}
	return m.seen.has(f.index), e.end()
}

// one writes a field whose value stands in text.
func (e *encoder) one(m *members, f *field, text []byte) error {
	m.seen.set(f.index)
	m.count++
	if e.compact && f.typ.kind == kindBool {
		// The value is in the field's header, so it is read first.
		mark := len(e.out)
		if err := e.parsed(f.typ, text); err != nil {
			return err
		}
		v := e.out[mark] == 1
		e.out = e.out[:mark]
		e.writeField(m, f, v)
		return nil
	}
	e.writeField(m, f, true)
	return e.parsed(f.typ, text)
}

// several writes values of a field that is a list, or one that is not.
type several struct {
	e     *encoder
	m     *members
	f     *field
	start int
	count int
}

func (s *several) add(text []byte) error {
	list := s.f.typ.kind == kindList || s.f.typ.kind == kindSet
	s.count++
	if !list {
		if s.count > 1 {
			return bad("is given twice")
		}
		return s.e.one(s.m, s.f, text)
	}
	if s.count == 1 {
		s.m.seen.set(s.f.index)
		s.m.count++
		s.e.writeField(s.m, s.f, true)
		s.start = s.e.beginList(s.f.typ.element)
	}
	return s.e.parsed(s.f.typ.element, text)
}

func (s *several) end() (bool, error) {
	if s.count > 0 && !s.f.typ.scalar() {
		s.e.endList(s.start, s.f.typ.element, s.count)
	}
	return s.count > 0, s.e.room()
}

// query finds a parameter as HTML forms have it: '+' is a space. A list has it several
// times.
func (e *encoder) query(m *members, f *field, name string, query []byte) (bool, error) {
	s := several{e: e, m: m, f: f}
	for len(query) > 0 {
		var part []byte
		part, query, _ = bytes.Cut(query, []byte("&"))
		key, value, _ := bytes.Cut(part, []byte("="))
		if !named(key, name) {
			continue
		}
		v, err := url.QueryUnescape(string(value))
		if err != nil {
			return false, bad("has a broken percent escape")
		}
		if err := s.add([]byte(v)); err != nil {
			return false, err
		}
	}
	return s.end()
}

// named reports whether an encoded key is name.
func named(key []byte, name string) bool {
	if bytes.IndexByte(key, '%') < 0 && bytes.IndexByte(key, '+') < 0 {
		return string(key) == name
	}
	k, err := url.QueryUnescape(string(key))
	return err == nil && k == name
}

// header takes lists apart at commas.
func (e *encoder) header(m *members, f *field, name string, h exchange.Headers) (bool, error) {
	value, n := h.Header(name)
	if n == 0 {
		return false, nil
	}
	if n > 1 {
		return false, bad("is given twice")
	}
	if f.typ.scalar() {
		return true, e.one(m, f, value)
	}
	s := several{e: e, m: m, f: f}
	for len(value) > 0 {
		var part []byte
		part, value, _ = bytes.Cut(value, []byte(","))
		if err := s.add(bytes.TrimSpace(part)); err != nil {
			return false, err
		}
	}
	return s.end()
}

func (e *encoder) cookie(m *members, f *field, name string, h exchange.Headers) (bool, error) {
	value, n := h.Header("cookie")
	if n == 0 {
		return false, nil
	}
	if n > 1 {
		return false, bad("cannot be told: there are several fields named Cookie")
	}
	for len(value) > 0 {
		var part []byte
		part, value, _ = bytes.Cut(value, []byte(";"))
		key, v, ok := bytes.Cut(bytes.TrimSpace(part), []byte("="))
		if ok && string(key) == name {
			if len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
				v = v[1 : len(v)-1]
			}
			return true, e.one(m, f, v)
		}
	}
	return false, nil
}
