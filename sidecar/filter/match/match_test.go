// SPDX-License-Identifier: Apache-2.0

package match_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/match"
)

// headers are a request's fields; a name may come more than once.
type headers [][2]string

func (h headers) Header(name string) (value []byte, count int) {
	for _, f := range h {
		if f[0] == name {
			if count == 0 {
				value = []byte(f[1])
			}
			count++
		}
	}
	return value, count
}

func path(kind snapshot.PathMatch_Type, value string) *snapshot.HTTPMatch {
	return &snapshot.HTTPMatch{Path: &snapshot.PathMatch{Type: kind, Value: value}}
}

const (
	exact    = snapshot.PathMatch_TYPE_EXACT
	prefix   = snapshot.PathMatch_TYPE_PREFIX
	template = snapshot.PathMatch_TYPE_TEMPLATE
)

func list(entries ...*snapshot.HTTPMatch) []*snapshot.Match {
	var out []*snapshot.Match
	for _, e := range entries {
		out = append(out, &snapshot.Match{Kind: &snapshot.Match_Http{Http: e}})
	}
	return out
}

func compile(t testing.TB, entries ...*snapshot.HTTPMatch) *match.Matcher {
	t.Helper()
	m, err := match.Compile(list(entries...))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func request(method, path string, h ...[2]string) *exchange.Exchange {
	return &exchange.Exchange{Method: []byte(method), Path: []byte(path), Request: headers(h)}
}

func TestPaths(t *testing.T) {
	for name, tc := range map[string]struct {
		match *snapshot.HTTPMatch
		yes   []string
		no    []string
	}{
		"exact":          {path(exact, "/pay"), []string{"/pay", "/PAY", "/p%61y"}, []string{"/", "/pay/x", "/payx", "/pa", "/x/pay", "", "*", "pay"}},
		"exact, slash":   {path(exact, "/pay/"), []string{"/pay"}, []string{"/pay/x"}},
		"exact root":     {path(exact, "/"), []string{"/"}, []string{"/x", "", "*"}},
		"exact, encoded": {path(exact, "/caf%C3%A9/a%20b"), []string{"/caf%c3%a9/a%20b", "/café/a b"}, []string{"/cafe/a b"}},
		"exact, braces":  {path(exact, "/a/{x}"), []string{"/a/{x}", "/a/%7Bx%7D"}, []string{"/a/b"}},
		"prefix":         {path(prefix, "/api"), []string{"/api", "/api/x", "/Api/x/y"}, []string{"/apix", "/ap", "/", "*"}},
		"prefix, slash":  {path(prefix, "/api/"), []string{"/api", "/api/x"}, []string{"/apix"}},
		"prefix root":    {path(prefix, "/"), []string{"/", "/x", "*"}, nil},
		"template":       {path(template, "/users/{userId}/payments"), []string{"/users/7/payments", "/Users/a%3Ab/Payments"}, []string{"/users/payments", "/users/7/payments/1", "/users//payments", "/users/7"}},
		"template end":   {path(template, "/users/{userId}"), []string{"/users/7"}, []string{"/users", "/users/7/x"}},
		"grpc":           {path(exact, "/pkg.Service/Method"), []string{"/pkg.Service/Method"}, []string{"/pkg.Service/Other"}},
		"colon":          {path(exact, "/v1/users:batch"), []string{"/v1/users:batch", "/v1/users%3Abatch", "/v1/users%3abatch"}, []string{"/v1/users"}},
		"not twice":      {path(exact, "/a%2561"), []string{"/a%2561"}, []string{"/aa", "/a%61"}},
		"bad encoding":   {path(exact, "/a%zz"), []string{"/a%zz", "/a%25zz"}, []string{"/azz", "/a%2"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := compile(t, tc.match)
			var p match.Params
			for _, s := range tc.yes {
				if _, ok := m.Match(request("GET", s), &p); !ok {
					t.Errorf("%q does not match", s)
				}
			}
			for _, s := range tc.no {
				if _, ok := m.Match(request("GET", s), &p); ok {
					t.Errorf("%q matches", s)
				}
			}
		})
	}
}

// What a servlet container would route by, without path parameters, counts as
// well, and first: a parameter makes no other value of a template's.
func TestPathParameters(t *testing.T) {
	m := compile(t, path(template, "/pay/{id}"))
	for name, tc := range map[string]struct {
		path, bare string
		want       string
		ok         bool
	}{
		"without":        {"/pay/1", "", "1", true},
		"of the value":   {"/pay/1;a=b", "/pay/1", "1", true},
		"of the literal": {"/pay;a=b/1", "/pay/1", "1", true},
		"only as sent":   {"/pay/;a", "/pay", ";a", true},
		"neither":        {"/pay;a", "/pay", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			x := request("GET", tc.path)
			if tc.bare != "" {
				x.BarePath = []byte(tc.bare)
			}
			var p match.Params
			if _, ok := m.Match(x, &p); ok != tc.ok || string(p.Get(0)) != tc.want {
				t.Errorf("got %v, %q", ok, p.Get(0))
			}
		})
	}
}

// What an application that does not resolve dot segments would route by counts
// as well.
func TestDotSegments(t *testing.T) {
	m := compile(t, path(template, "/pay/{id}"))
	for name, tc := range map[string]struct {
		path, dotted string
		want         bool
	}{
		"by the resolved path": {"/pay/1", "/x/../pay/1", true},
		"by the path as sent":  {"/", "/pay/..", true},
		"by neither":           {"/pay", "/pay/x/..", false},
		"no dot segments":      {"/pay", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			x := request("GET", tc.path)
			if tc.dotted != "" {
				x.DottedPath = []byte(tc.dotted)
			}
			var p match.Params
			if _, got := m.Match(x, &p); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// Where encoded slashes may pass, a path counts by both readings, and first by the
// one that keeps them in a parameter.
func TestEncodedSlashes(t *testing.T) {
	m := compile(t, path(template, "/pay/{id}"))
	for name, tc := range map[string]struct {
		path, open string
		want       string
		ok         bool
	}{
		"in the parameter":  {"/pay/a%2Fb", "/pay/a/b", "a%2Fb", true},
		"as the separator":  {"/pay%2F1", "/pay/1", "1", true},
		"as neither":        {"/pay%2F1%2F2", "/pay/1/2", "", false},
		"not made ready":    {"/pay%2F1", "", "", false},
		"only the last one": {"/x%2F..%2Fpay/1", "/pay/1", "1", true},
	} {
		t.Run(name, func(t *testing.T) {
			x := request("GET", tc.path)
			if tc.open != "" {
				x.OpenPath = []byte(tc.open)
			}
			var p match.Params
			if _, ok := m.Match(x, &p); ok != tc.ok || string(p.Get(0)) != tc.want {
				t.Errorf("got %v, %q", ok, p.Get(0))
			}
		})
	}
}

func TestMethodsAndHeaders(t *testing.T) {
	m := compile(t,
		&snapshot.HTTPMatch{Methods: []string{"PATCH", "POST"}, Headers: []*snapshot.HeaderMatch{{Name: "x-env", Value: "prod"}, {Name: "x-tier", Value: ""}}},
		&snapshot.HTTPMatch{Methods: []string{"DELETE"}},
		&snapshot.HTTPMatch{Methods: []string{"GET"}, Headers: []*snapshot.HeaderMatch{{Name: "x-read", Value: "1"}}},
	)
	env, tier := [2]string{"x-env", "prod"}, [2]string{"x-tier", ""}
	for name, tc := range map[string]struct {
		x    *exchange.Exchange
		want bool
	}{
		"both":               {request("POST", "/", env, tier), true},
		"second rule":        {request("DELETE", "/"), true},
		"another method":     {request("GET", "/", env, tier), false},
		"HEAD is a GET":      {request("HEAD", "/", [2]string{"x-read", "1"}), true},
		"HEAD is no DELETE":  {request("HEAD", "/"), false},
		"no escape by case":  {request("post", "/", env, tier), true},
		"a header missing":   {request("POST", "/", env), false},
		"another value":      {request("POST", "/", [2]string{"x-env", "test"}, tier), false},
		"value's case":       {request("POST", "/", [2]string{"x-env", "PROD"}, tier), false},
		"twice is no escape": {request("POST", "/", [2]string{"x-env", "test"}, env, tier), true},
	} {
		t.Run(name, func(t *testing.T) {
			var p match.Params
			if _, got := m.Match(tc.x, &p); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestParams(t *testing.T) {
	m := compile(t, path(prefix, "/v2"), path(template, "/{tenant}/users/{userId}"), path(template, "/shops/{userId}"))
	byRule, found := m.Param("userId")
	if diff := cmp.Diff([]int{-1, 1, 0}, byRule); diff != "" || !found {
		t.Fatalf("found %v %s", found, diff)
	}
	if _, found := m.Param("other"); found {
		t.Error("a parameter that no template has was found")
	}
	for name, tc := range map[string]struct{ path, want string }{
		"first rule":  {"/v2/users/7", ""},
		"second rule": {"/acme/users/a%3Ab", "a%3Ab"},
		"third rule":  {"/shops/9", "9"},
	} {
		t.Run(name, func(t *testing.T) {
			var p match.Params
			rule, ok := m.Match(request("GET", tc.path), &p)
			if got := string(p.Get(byRule[rule])); !ok || got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestEverything(t *testing.T) {
	var p match.Params
	if rule, ok := compile(t).Match(request("GET", "*"), &p); !ok || rule != match.Everything {
		t.Errorf("got %d, %v", rule, ok)
	}
	if p.Get(0) != nil || p.Get(-1) != nil {
		t.Error("parameters without a template")
	}
}

func TestCompileRefuses(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for name, tc := range map[string]struct {
		list []*snapshot.Match
		want string
	}{
		"unknown kind":    {[]*snapshot.Match{{}}, "match[0] is of a kind that this sidecar does not know"},
		"too many":        {list(make([]*snapshot.HTTPMatch, 17)...), "match has 17 entries, at most 16 are possible"},
		"path type":       {list(path(9, "/")), "match[0].http: path type 9 is unknown"},
		"relative":        {list(path(exact, "pay")), `match[0].http: path "pay" does not begin with /, is longer than 1024 bytes, or has a query or fragment`},
		"query":           {list(path(exact, "/pay?x")), `match[0].http: path "/pay?x" does not begin with /, is longer than 1024 bytes, or has a query or fragment`},
		"dots":            {list(path(prefix, "/a/../b")), `match[0].http: path "/a/../b": segment ".." can never be in a normalised path`},
		"empty segment":   {list(path(prefix, "/a//b")), `match[0].http: path "/a//b": segment "" can never be in a normalised path`},
		"half parameter":  {list(path(template, "/a/{b}.json")), `match[0].http: path "/a/{b}.json": segment "{b}.json" is not a whole {parameter}`},
		"parameter twice": {list(path(template, "/{a}/{a}")), `match[0].http: path "/{a}/{a}": parameter "a" comes twice`},
		"header's case":   {list(&snapshot.HTTPMatch{Headers: []*snapshot.HeaderMatch{{Name: "X-Env"}}}), `match[0].http: header name "X-Env" is empty, too long or not in lower case`},
		"empty method":    {list(&snapshot.HTTPMatch{Methods: []string{""}}), `match[0].http: method "" is empty or too long`},
		"long method":     {list(&snapshot.HTTPMatch{Methods: []string{long}}), fmt.Sprintf("match[0].http: method %q is empty or too long", long)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := match.Compile(tc.list)
			if err == nil || err.Error() != tc.want {
				t.Errorf("got %v\nwant %s", err, tc.want)
			}
		})
	}
}

// TestNoSpellingEscapes: however a path that matches is spelled, by case and
// percent-encoding, it still matches, and its parameter decodes to the same.
func TestNoSpellingEscapes(t *testing.T) {
	m := compile(t, path(template, "/users/{id}/pay:now"))
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.SliceOfN(rapid.ByteRange(0x21, 0xff), 1, 20).Filter(func(b []byte) bool { return !strings.ContainsAny(string(b), "/%") }).Draw(t, "id")
		spell := func(s string, fold bool) string {
			var b strings.Builder
			for i := range len(s) {
				c := s[i]
				if fold && c >= 'a' && c <= 'z' && rapid.Bool().Draw(t, "upper") {
					c -= 'a' - 'A'
				}
				switch rapid.IntRange(0, 2).Draw(t, "spelling") {
				case 0:
					fmt.Fprintf(&b, "%%%02x", c)
				case 1:
					fmt.Fprintf(&b, "%%%02X", c)
				default:
					b.WriteByte(c)
				}
			}
			return b.String()
		}
		x := request("GET", "/"+spell("users", true)+"/"+spell(string(id), false)+"/"+spell("pay:now", true))
		var p match.Params
		if _, ok := m.Match(x, &p); !ok {
			t.Fatalf("%q does not match", x.Path)
		}
		if got := match.AppendDecoded(nil, p.Get(0)); string(got) != string(id) {
			t.Fatalf("parameter %q, want %q", got, id)
		}
	})
}

// TestTemplatesAgreeWithSegments: a template matches exactly the paths that have
// its segments, by the plainest reading.
func TestTemplatesAgreeWithSegments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		segment := rapid.SampledFrom([]string{"a", "b", "ab", "A"})
		want := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "{p}"}), 0, 4).
			Filter(func(s []string) bool { return strings.Count(strings.Join(s, "/"), "{") < 2 }).Draw(t, "template")
		got := rapid.SliceOfN(segment, 0, 5).Draw(t, "path")
		isPrefix := rapid.Bool().Draw(t, "prefix") && !strings.Contains(strings.Join(want, "/"), "{")
		kind := template
		if isPrefix {
			kind = prefix
		}
		m, err := match.Compile(list(path(kind, "/"+strings.Join(want, "/"))))
		if err != nil {
			t.Fatal(err)
		}
		expect := len(want) == len(got) || isPrefix && len(want) <= len(got)
		for i := 0; expect && i < len(want); i++ {
			expect = want[i] == "{p}" || strings.EqualFold(want[i], got[i])
		}
		var p match.Params
		if _, ok := m.Match(request("GET", "/"+strings.Join(got, "/")), &p); ok != expect {
			t.Fatalf("%q against %q: got %v, want %v", got, want, ok, expect)
		}
	})
}

func FuzzMatch(f *testing.F) {
	f.Add("/users/{id}/x", "/users/7/x")
	f.Add("/%", "/%2")
	f.Fuzz(func(t *testing.T, value, target string) {
		for _, kind := range []snapshot.PathMatch_Type{exact, prefix, template} {
			m, err := match.Compile(list(path(kind, value)))
			if err != nil {
				continue
			}
			var p match.Params
			m.Match(request("GET", target), &p)
			if kind == template {
				continue
			}
			if _, ok := m.Match(request("GET", strings.TrimRight(value, "/")+"/"), &p); kind == prefix && !ok {
				t.Errorf("prefix %q does not match itself", value)
			}
		}
	})
}

func TestMatchDoesNotAllocate(t *testing.T) {
	m := compile(t, &snapshot.HTTPMatch{
		Methods: []string{"POST"}, Path: &snapshot.PathMatch{Type: template, Value: "/users/{userId}/payments"},
	})
	x := request("POST", "/users/a%3Ab/payments")
	var p match.Params
	if n := testing.AllocsPerRun(1000, func() { m.Match(x, &p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMatch(b *testing.B) {
	m := compile(b, &snapshot.HTTPMatch{
		Methods: []string{"POST"}, Path: &snapshot.PathMatch{Type: template, Value: "/users/{userId}/payments"},
	})
	x := request("POST", "/users/12345678/payments")
	var p match.Params
	b.ReportAllocs()
	for b.Loop() {
		m.Match(x, &p)
	}
}

// Calls of Thrift are covered by rules for them only, names in their case.
func TestMatchThrift(t *testing.T) {
	calls := func(service string, methods ...string) *snapshot.Match {
		return &snapshot.Match{Kind: &snapshot.Match_Thrift{Thrift: &snapshot.ThriftMatch{Service: service, Methods: methods}}}
	}
	m, err := match.Compile(append(list(&snapshot.HTTPMatch{}), calls("Payments", "charge", "refund"), calls("", "ping"), calls("Ledger")))
	if err != nil {
		t.Fatal(err)
	}
	describe := []string{"any path", "Thrift: charge, refund of Payments", "Thrift: ping", "Thrift: calls of Ledger"}
	if d := cmp.Diff(describe, m.Describe()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for name, want := range map[string]int{
		"Payments:charge": 1, "Payments:refund": 1, "Payments:Charge": -1, "Payments:chargeback": -1, "Payments:void": -1, "Refunds:charge": -1,
		"charge": 1, "ping": 2, "Anything:ping": 2, "Ledger:void": 3, "void": 3,
	} {
		service, method, ok := strings.Cut(name, ":")
		if !ok {
			service, method = "", name
		}
		x := request("POST", "/")
		x.Call = &exchange.Call{Service: []byte(service), Method: []byte(method)}
		var p match.Params
		rule, covered := m.Match(x, &p)
		if !covered {
			rule = -1
		}
		why := m.Explain(x)
		if rule != want || (rule >= 0) != (slices.Contains(why[1:], "")) || why[0] != "the request is a call of Thrift" {
			t.Errorf("%s: rule %d, want %d; explained by %q", name, rule, want, why)
		}
	}
	var p match.Params
	x := request("POST", "/")
	if rule, ok := m.Match(x, &p); rule != 0 || !ok || m.Explain(x)[2] != "the request is no call of Thrift" {
		t.Errorf("a request of HTTP: rule %d, %v, %q", rule, ok, m.Explain(x))
	}
	if _, err := match.Compile([]*snapshot.Match{calls("a:b")}); err == nil {
		t.Error("a service with a colon was taken")
	}
}
