// SPDX-License-Identifier: Apache-2.0

package match_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/match"
)

// What covers a request is explained by nothing, what does not by each of its parts.
func TestExplain(t *testing.T) {
	path := func(kind snapshot.PathMatch_Type, value string) *snapshot.PathMatch {
		return &snapshot.PathMatch{Type: kind, Value: value}
	}
	m, err := match.Compile([]*snapshot.Match{
		{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{
			Methods: []string{"POST"}, Path: path(snapshot.PathMatch_TYPE_TEMPLATE, "/users/{id}"),
			Headers: []*snapshot.HeaderMatch{{Name: "x-env", Value: "prod"}},
		}}},
		{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{Path: path(snapshot.PathMatch_TYPE_PREFIX, "/users")}}},
		{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{Methods: []string{"GET"}}}},
		{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{Path: path(snapshot.PathMatch_TYPE_EXACT, "/")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	describe := []string{"POST /users/{id} with x-env: prod", "/users/…", "GET, HEAD any path", "/"}
	if d := cmp.Diff(describe, m.Describe()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for name, test := range map[string]struct {
		method, path string
		fields       [][2]string
		want         []string
	}{
		"the first": {"POST", "/users/1", [][2]string{{"x-env", "prod"}}, []string{"", "", "the method is POST", "the path is /users/1"}},
		"none of its parts": {"DELETE", "/x", nil, []string{
			"the method is DELETE; the path is /x; the header x-env is not sent", "the path is /x", "the method is DELETE", "the path is /x",
		}},
		"another value": {"GET", "/users/1", [][2]string{{"x-env", "dev"}}, []string{
			`the method is GET; the header x-env is not "prod"`, "", "", "the path is /users/1",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			x := &exchange.Exchange{Method: []byte(test.method), RawPath: []byte(test.path), Path: []byte(test.path), Request: fieldsOf(test.fields)}
			got := m.Explain(x)
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			var p match.Params
			if rule, ok := m.Match(x, &p); ok != anyEmpty(got) || ok && got[rule] != "" {
				t.Errorf("rule %d covers: %v", rule, ok)
			}
		})
	}
}

func anyEmpty(all []string) bool {
	for _, s := range all {
		if s == "" {
			return true
		}
	}
	return false
}

type fieldsOf [][2]string

func (f fieldsOf) Header(name string) (value []byte, count int) {
	for _, h := range f {
		if h[0] == name {
			value, count = []byte(h[1]), count+1
		}
	}
	return value, count
}
