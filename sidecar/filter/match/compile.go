// SPDX-License-Identifier: Apache-2.0

package match

import (
	"fmt"
	"slices"
	"strings"

	"weir.dev/weir/api/snapshot"
)

// Bounds of a match list. They are the schema's or above: what is past them was
// not made by our compiler.
const (
	maxRules    = 16
	maxMethods  = 32
	maxCalls    = 64
	maxHeaders  = 16
	maxString   = 1024
	maxSegments = 128
)

// Compile checks and compiles a list of which any rule may match; an empty list
// matches everything. Errors name the entry.
func Compile(list []*snapshot.Match) (*Matcher, error) {
	if len(list) > maxRules {
		return nil, fmt.Errorf("match has %d entries, at most %d are possible", len(list), maxRules)
	}
	m := &Matcher{}
	for i, entry := range list {
		if t := entry.GetThrift(); t != nil {
			r, err := m.compileThrift(t)
			if err != nil {
				return nil, fmt.Errorf("match[%d].thrift: %w", i, err)
			}
			m.rules = append(m.rules, r)
			continue
		}
		http := entry.GetHttp()
		if http == nil {
			return nil, fmt.Errorf("match[%d] is of a kind that this sidecar does not know", i)
		}
		r, err := m.compile(http)
		if err != nil {
			return nil, fmt.Errorf("match[%d].http: %w", i, err)
		}
		m.rules = append(m.rules, r)
	}
	return m, nil
}

func (m *Matcher) compile(h *snapshot.HTTPMatch) (rule, error) {
	if len(h.GetMethods()) > maxMethods || len(h.GetHeaders()) > maxHeaders {
		return rule{}, fmt.Errorf("more than %d methods or %d headers", maxMethods, maxHeaders)
	}
	r := rule{
		headers: span{len(m.headers), len(m.headers) + len(h.GetHeaders())},
	}
	r.methods.from = len(m.methods)
	for _, method := range h.GetMethods() {
		if method == "" || len(method) > maxString {
			return rule{}, fmt.Errorf("method %q is empty or too long", method)
		}
		m.methods = append(m.methods, method)
		// HEAD runs what GET does (RFC 9110 §9.3.2): net/http and Express route it to
		// the same handler.
		if method == "GET" {
			m.methods = append(m.methods, "HEAD")
		}
	}
	r.methods.to = len(m.methods)
	for _, f := range h.GetHeaders() {
		if f.GetName() == "" || len(f.GetName()) > maxString || len(f.GetValue()) > maxString || f.GetName() != strings.ToLower(f.GetName()) {
			return rule{}, fmt.Errorf("header name %q is empty, too long or not in lower case", f.GetName())
		}
		m.headers = append(m.headers, header{f.GetName(), f.GetValue()})
	}
	if h.GetPath() == nil {
		return r, nil
	}
	return m.compilePath(r, h.GetPath())
}

func (m *Matcher) compileThrift(t *snapshot.ThriftMatch) (rule, error) {
	if len(t.GetMethods()) > maxCalls || len(t.GetService()) > maxString || strings.Contains(t.GetService(), ":") {
		return rule{}, fmt.Errorf("more than %d methods, or service %q is too long or has a colon", maxCalls, t.GetService())
	}
	for _, method := range t.GetMethods() {
		if method == "" || len(method) > maxString {
			return rule{}, fmt.Errorf("method %q is empty or too long", method)
		}
	}
	from := len(m.methods)
	m.methods = append(m.methods, t.GetMethods()...)
	return rule{thrift: true, service: t.GetService(), methods: span{from, len(m.methods)}}, nil
}

func (m *Matcher) compilePath(r rule, p *snapshot.PathMatch) (rule, error) {
	template := false
	switch p.GetType() {
	case snapshot.PathMatch_TYPE_EXACT:
		r.path = exact
	case snapshot.PathMatch_TYPE_PREFIX:
		r.path = prefix
	case snapshot.PathMatch_TYPE_TEMPLATE:
		r.path, template = exact, true
	default:
		return rule{}, fmt.Errorf("path type %d is unknown", p.GetType())
	}
	v := p.GetValue()
	if !strings.HasPrefix(v, "/") || len(v) > maxString || strings.ContainsAny(v, "?#") {
		return rule{}, fmt.Errorf("path %q does not begin with /, is longer than %d bytes, or has a query or fragment", v, maxString)
	}
	r.segments.from = len(m.segments)
	var names []string
	if v = strings.TrimSuffix(v[1:], "/"); v != "" {
		for s := range strings.SplitSeq(v, "/") {
			seg, err := compileSegment(s, template)
			if err != nil {
				return rule{}, fmt.Errorf("path %q: %w", p.GetValue(), err)
			}
			if seg.param {
				if slices.Contains(names, seg.text) {
					return rule{}, fmt.Errorf("path %q: parameter %q comes twice", p.GetValue(), seg.text)
				}
				names = append(names, seg.text)
			}
			m.segments = append(m.segments, seg)
		}
	}
	r.segments.to = len(m.segments)
	if len(names) > MaxParams || r.segments.to-r.segments.from > maxSegments {
		return rule{}, fmt.Errorf("path %q has more than %d parameters or %d segments", p.GetValue(), MaxParams, maxSegments)
	}
	return r, nil
}

func compileSegment(s string, template bool) (segment, error) {
	if s == "" || s == "." || s == ".." {
		return segment{}, fmt.Errorf("segment %q can never be in a normalised path", s)
	}
	if template && strings.ContainsAny(s, "{}") {
		name, ok := strings.CutPrefix(s, "{")
		name, end := strings.CutSuffix(name, "}")
		if !ok || !end || name == "" || strings.ContainsAny(name, "{}*") {
			return segment{}, fmt.Errorf("segment %q is not a whole {parameter}", s)
		}
		return segment{text: name, param: true}, nil
	}
	decoded := AppendDecoded(nil, []byte(s))
	for i, c := range decoded {
		decoded[i] = lower(c)
	}
	return segment{text: string(decoded)}, nil
}
