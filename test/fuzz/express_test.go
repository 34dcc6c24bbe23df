// SPDX-License-Identifier: Apache-2.0

package fuzz

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/match"
)

var spellings = flag.String("spellings", "", "write the targets that Express is asked about to this file")

// expressRoute is a route of an Express app and what a policy says to limit it.
type expressRoute struct {
	Mount  string `json:"mount,omitempty"`
	Path   string `json:"path"`
	Prefix bool   `json:"prefix,omitempty"`

	kind    snapshot.PathMatch_Type
	policy  string
	sampled string
}

var expressRoutes = []expressRoute{
	{Path: "/users/:id/payments", kind: snapshot.PathMatch_TYPE_TEMPLATE, policy: "/users/{id}/payments", sampled: "/users/7/payments"},
	{Mount: "/shops/:id", Path: "/orders", kind: snapshot.PathMatch_TYPE_TEMPLATE, policy: "/shops/{id}/orders", sampled: "/shops/7/orders"},
	{Path: "/pay", kind: snapshot.PathMatch_TYPE_EXACT, policy: "/pay", sampled: "/pay"},
	{Path: "/caf%C3%A9", kind: snapshot.PathMatch_TYPE_EXACT, policy: "/caf%C3%A9", sampled: "/caf%C3%A9"},
	{Path: "/api", Prefix: true, kind: snapshot.PathMatch_TYPE_PREFIX, policy: "/api", sampled: "/api/v1"},
	{Path: "/pkg.Service/Method", kind: snapshot.PathMatch_TYPE_EXACT, policy: "/pkg.Service/Method", sampled: "/pkg.Service/Method"},
}

// inserts are what routers and proxies read differently.
var inserts = []string{
	"/", "//", "/.", "/./", "/..", "/../", "/x/../", "/x/..", "../", "%2f", "%2F", "%252f", "%2e", "%2e%2e/", "/%2e/", "/%2e%2e/", "%5c", "\\", "\\..\\",
	";", ";a=b", ";/", "/;a", "/..;/", "%3b", "%3Ba", "%00", "%20", "+", "%09", "%0a", "%0d%0a", "\t", "\x0b", "\x0c", "\x7f", "\xa0", "\xc2\xa0", "%a0", "%c2%a0",
	"\xe9", "\xc3\xa9", "\xc3\xa0", "%e9", "\xc0\xaf", "%c0%af", "%c0%ae%c0%ae/", "\xef\xbc\x8f", "%ef%bc%8f", "\xef\xbb\xbf", "%ef%bb%bf", "\xe2\x80\x8b", "\xc5\xbf", "\xe2\x84\xaa",
	"?", "?x", "?/", "?a=/pay", "?\xa0", "?\xc3\xa0", "?\t", "%3f", "#", "#/", "%23", "%", "%u0061", "%zz", "*", ".", "..", "@", "a@b", "/a@b", "//a@b", "//a@b/", ":", ":80", "$", "!", "'", "\"", "<", ">", "{", "}", "|", "^", "`", "[", "]", "&", "=", ",", "~", "-", "_",
}

// prefixes go before a whole path.
var prefixes = []string{
	"http://h", "HTTP://h", "https://h", "http://h:80", "http://a@h", "http:/", "http:", "//h", "//a@b", "///", "/\\", "\\", "//a@b:1", "//@b", "//a@", "/a@b", "//a:b@c", "ws://h", "//a@b/..", "//a%40b", "/%2f/a@b", "*", "",
}

// suffixes go after it.
var suffixes = []string{"", "/", "//", "?x=\xc3\xa0", "?\xa0", "?x#y", "/?x", "?", ".", "\xc2\xa0", "\xa0", "?\xef\xbb\xbf", "/;", "?//a@b\xa0"}

// targets returns the spellings of all routes: each change alone at each place, and
// some together. The same ones each time.
func targets() []string {
	rnd := rand.New(rand.NewPCG(4, 4))
	seen := map[string]bool{}
	var out []string
	add := func(s string) {
		if !seen[s] && !strings.ContainsAny(s, " \r\n") {
			seen[s] = true
			out = append(out, s)
		}
	}
	for _, r := range expressRoutes {
		p := r.sampled
		add(p)
		add(strings.ToUpper(p))
		for _, prefix := range prefixes {
			for _, suffix := range suffixes {
				add(prefix + p + suffix)
			}
		}
		for i := range p {
			for _, c := range respell(p[i]) {
				add(p[:i] + c + p[i+1:])
			}
		}
		for i := 0; i <= len(p); i++ {
			for _, s := range inserts {
				add(p[:i] + s + p[i:])
			}
		}
		for range 1500 {
			add(mixed(rnd, p))
		}
	}
	return out
}

func respell(c byte) []string {
	return []string{fmt.Sprintf("%%%02x", c), fmt.Sprintf("%%%02X", c), fmt.Sprintf("%%25%02x", c), fmt.Sprintf("%%u%04x", c), strings.ToUpper(string(c)), strings.ToLower(string(c))}
}

// mixed is p with two to four changes.
func mixed(rnd *rand.Rand, p string) string {
	pick := func(from []string) string { return from[rnd.IntN(len(from))] }
	for range 2 + rnd.IntN(2) {
		i := rnd.IntN(len(p) + 1)
		if i < len(p) && rnd.IntN(3) == 0 {
			p = p[:i] + pick(respell(p[i])) + p[i+1:]
		} else {
			p = p[:i] + pick(inserts) + p[i:]
		}
	}
	if rnd.IntN(3) == 0 {
		p = pick(prefixes) + p
	}
	if rnd.IntN(3) == 0 {
		p += pick(suffixes)
	}
	return p
}

// latin1 makes bytes characters and back.
func latin1(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

func fromLatin1(s string) string {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

func writeSpellings(t *testing.T, file string) {
	asked := struct {
		Routes  []expressRoute `json:"routes"`
		Targets []string       `json:"targets"`
	}{Routes: expressRoutes}
	for _, s := range targets() {
		asked.Targets = append(asked.Targets, latin1(s))
	}
	b, err := json.Marshal(asked)
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestExpress: what Express led to a route, Weir counts by the route's limit or
// refuses.
func TestExpress(t *testing.T) {
	if *spellings != "" {
		writeSpellings(t, *spellings)
		return
	}
	for _, major := range []string{"4", "5"} {
		for name, pass := range map[string]bool{"": false, ", encoded slashes pass": true} {
			t.Run("Express "+major+name, func(t *testing.T) { checkExpress(t, "testdata/express-"+major+".json", pass) })
		}
	}
}

func checkExpress(t *testing.T, file string, pass bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var answers struct {
		Reached [][2]any `json:"reached"`
	}
	if err := json.Unmarshal(b, &answers); err != nil {
		t.Fatal(err)
	}
	w := newWeir(exchange.Port{PassEncodedSlashes: pass})
	defer w.shutdown()
	limits := make([]*match.Matcher, len(expressRoutes))
	for i, r := range expressRoutes {
		limits[i] = compile(t, r.kind, r.policy)
	}
	counted := make([]int, len(limits))
	for _, a := range answers.Reached {
		route, target := int(a[0].(float64)), fromLatin1(a[1].(string))
		switch limit(w, limits[route], "POST", target) {
		case escaped:
			t.Errorf("%q reaches %s unseen", target, expressRoutes[route].policy)
		case matched:
			counted[route]++
		}
	}
	if slices.Min(counted) < 10 {
		t.Errorf("by route, %v spellings were counted", counted)
	}
	t.Logf("of %d spellings that reach a route %v are counted, the others refused", len(answers.Reached), counted)
}

type verdict int

const (
	refused verdict = iota
	matched
	escaped
)

// limit says what a request of that target is to a limit.
func limit(w *weir, m *match.Matcher, method, target string) verdict {
	v := refused
	w.look = func(x *exchange.Exchange) {
		var p match.Params
		v = escaped
		if _, ok := m.Match(x, &p); ok {
			v = matched
		}
	}
	w.serve([]byte(method + " " + target + " HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	return v
}

func compile(t testing.TB, kind snapshot.PathMatch_Type, value string) *match.Matcher {
	m, err := match.Compile([]*snapshot.Match{{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{Path: &snapshot.PathMatch{Type: kind, Value: value}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
