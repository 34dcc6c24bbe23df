// SPDX-License-Identifier: Apache-2.0

package fuzz

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/match"
)

// muxPatterns are the routes of a ServeMux that a path of that kind stands for.
// Parameters get names that Go has for identifiers, braces that are none are
// escaped.
func muxPatterns(kind snapshot.PathMatch_Type, value string) []string {
	segments := strings.Split(strings.TrimSuffix(value, "/"), "/")
	for i, s := range segments {
		if kind == snapshot.PathMatch_TYPE_TEMPLATE && strings.HasPrefix(s, "{") {
			segments[i] = fmt.Sprintf("{p%d}", i)
			continue
		}
		segments[i] = strings.NewReplacer("{", "%7B", "}", "%7D").Replace(s)
	}
	base := strings.Join(segments, "/")
	slash := base + "/{$}"
	if kind == snapshot.PathMatch_TYPE_PREFIX {
		slash = base + "/"
	}
	if base == "" {
		return []string{slash}
	}
	return []string{base, slash}
}

// newMux has those routes, nil where ServeMux cannot have them.
func newMux(patterns []string) (mux *http.ServeMux) {
	defer func() {
		if recover() != nil {
			mux = nil
		}
	}()
	mux = http.NewServeMux()
	for _, p := range patterns {
		mux.HandleFunc("POST "+p, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	}
	return mux
}

// serves reports whether the route gets a request of that target, and where the
// client is sent when it does not.
func serves(mux *http.ServeMux, target string) (yes bool, location string) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("POST " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")))
	if err != nil {
		return false, ""
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Code == http.StatusTeapot, w.Header().Get("Location")
}

// FuzzServeMux: no target that ServeMux leads to a route escapes a limit on it, nor
// does the one that it redirects to.
func FuzzServeMux(f *testing.F) {
	kinds := []snapshot.PathMatch_Type{snapshot.PathMatch_TYPE_EXACT, snapshot.PathMatch_TYPE_PREFIX, snapshot.PathMatch_TYPE_TEMPLATE}
	for i, seed := range [][2]string{
		{"/pay", "/p%61y"}, {"/api", "/api//x"}, {"/users/{id}/payments", "/users/%37/payments"},
		{"/caf\u00e9", "/caf%C3%A9"}, {"/a%20b", "/x/../a%20b/"}, {"/users/{id}/payments", "/users/a%2Fb\"/payments"},
		{"/", "//"}, {"/api/", "http://h/api?x"}, {"/{a}/{b}", "/x;y/z"},
		{"/%2F", "/%2f"}, {"/api", "/api%2Fx%5C\\"}, {"/pay/{id}", "/pay/%2e%2e"},
		{"/a", "//a@b/a"}, {"/v1", "/v1/%zz"}, {"/{x}", "/\xc3\xa0"},
	} {
		f.Add(uint8(i%len(kinds)), seed[0], seed[1])
	}
	strict, pass := newWeir(exchange.Port{}), newWeir(exchange.Port{PassEncodedSlashes: true})
	f.Cleanup(strict.shutdown)
	f.Cleanup(pass.shutdown)
	f.Fuzz(func(t *testing.T, k uint8, value, target string) {
		kind := kinds[int(k)%len(kinds)]
		m, err := match.Compile([]*snapshot.Match{{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{Path: &snapshot.PathMatch{Type: kind, Value: value}}}}})
		if err != nil || target == "" || strings.ContainsAny(target, " \r\n") {
			return
		}
		if strings.Contains(strings.ToUpper(value), "%2F") {
			// ServeMux takes a segment that is a slash for the end of the path.
			return
		}
		mux := newMux(muxPatterns(kind, value))
		if mux == nil {
			return
		}
		for range 2 {
			yes, location := serves(mux, target)
			if yes && (limit(strict, m, "POST", target) == escaped || limit(pass, m, "POST", target) == escaped) {
				t.Fatalf("%q reaches %q unseen", target, value)
			}
			if target = location; target == "" {
				return
			}
		}
	})
}
