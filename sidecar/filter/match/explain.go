// SPDX-License-Identifier: Apache-2.0

package match

import (
	"fmt"
	"strings"

	"weir.dev/weir/sidecar/exchange"
)

// Describe names each rule by what it covers, in a few words: their order in the
// snapshot is not that of the policy.
func (m *Matcher) Describe() []string {
	var out []string
	for i := range m.rules {
		r := &m.rules[i]
		if r.thrift {
			out = append(out, m.describeCalls(r))
			continue
		}
		words := []string{m.describePath(r)}
		if r.methods.from < r.methods.to {
			words[0] = strings.Join(m.methods[r.methods.from:r.methods.to], ", ") + " " + words[0]
		}
		for _, h := range m.headers[r.headers.from:r.headers.to] {
			words = append(words, fmt.Sprintf("with %s: %s", h.name, h.value))
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

// Explain says of each rule why it does not cover x, in a few words: empty for one
// that does. It is for people, not for the path of a request.
func (m *Matcher) Explain(x *exchange.Exchange) []string {
	var out []string
	for i := range m.rules {
		out = append(out, strings.Join(m.misses(&m.rules[i], x), "; "))
	}
	return out
}

// describeCalls names the calls of Thrift that a rule covers.
func (m *Matcher) describeCalls(r *rule) string {
	what := "calls"
	if r.methods.from < r.methods.to {
		what = strings.Join(m.methods[r.methods.from:r.methods.to], ", ")
	}
	if r.service == "" {
		return "Thrift: " + what
	}
	return fmt.Sprintf("Thrift: %s of %s", what, r.service)
}

func (m *Matcher) misses(r *rule, x *exchange.Exchange) []string {
	var out []string
	switch {
	case r.thrift && x.Call == nil:
		return []string{"the request is no call of Thrift"}
	case !r.thrift && x.Call != nil:
		return []string{"the request is a call of Thrift"}
	case r.thrift && m.call(r, x.Call):
		return nil
	case r.thrift:
		name := string(x.Call.Method)
		if len(x.Call.Service) > 0 {
			name = string(x.Call.Service) + ":" + name
		}
		return []string{"the call is " + name}
	}
	if !m.method(r, x.Method) {
		out = append(out, fmt.Sprintf("the method is %s", x.Method))
	}
	var p Params
	if !m.matchPaths(r, x, &p) {
		out = append(out, fmt.Sprintf("the path is %s", x.Path))
	}
	for i := r.headers.from; i < r.headers.to; i++ {
		one := &rule{headers: span{i, i + 1}}
		if m.header(one, x.Request) {
			continue
		}
		want := &m.headers[i]
		if _, count := x.Request.Header(want.name); count == 0 {
			out = append(out, fmt.Sprintf("the header %s is not sent", want.name))
		} else {
			out = append(out, fmt.Sprintf("the header %s is not %q", want.name, want.value))
		}
	}
	return out
}

func (m *Matcher) describePath(r *rule) string {
	if r.path == anyPath {
		return "any path"
	}
	var b strings.Builder
	for _, s := range m.segments[r.segments.from:r.segments.to] {
		if s.param {
			fmt.Fprintf(&b, "/{%s}", s.text)
		} else {
			b.WriteString("/" + s.text)
		}
	}
	if r.path == prefix {
		return b.String() + "/…"
	}
	if r.segments.from == r.segments.to {
		return "/"
	}
	return b.String()
}
