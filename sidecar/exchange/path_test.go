// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weir.dev/weir/sidecar/exchange"
)

func TestNormalizePath(t *testing.T) {
	tests := map[string]struct {
		path  string
		flags exchange.PathFlags
	}{
		"":                 {"/", 0},
		"/":                {"/", 0},
		"//":               {"/", 0},
		"/a":               {"/a", 0},
		"/a/":              {"/a", 0},
		"/a//b":            {"/a/b", 0},
		"/a/./b":           {"/a/b", exchange.DotSegments},
		"/a/../b":          {"/b", exchange.DotSegments},
		"/a/b/..":          {"/a", exchange.DotSegments},
		"/a/b/../":         {"/a", exchange.DotSegments},
		"/../../a":         {"/a", exchange.DotSegments},
		"/a//../b":         {"/b", exchange.DotSegments},
		"/.":               {"/", exchange.DotSegments},
		"/..":              {"/", exchange.DotSegments},
		"/...":             {"/...", 0},
		"/.a/..b":          {"/.a/..b", 0},
		"/%61%2D%7e%5F":    {"/a-~_", 0},
		"/%2e%2E/a":        {"/a", exchange.DotSegments | exchange.EncodedDots},
		"/a/.%2e/b":        {"/b", exchange.DotSegments | exchange.EncodedDots},
		"/a%20b%3f":        {"/a%20b%3F", 0},
		"/%25%32%35":       {"/%2525", 0},
		"/%c3%a9":          {"/%C3%A9", 0},
		"/é":               {"/é", 0},
		"/a;b=c,d@e":       {"/a;b=c,d@e", 0},
		"/a%2fb":           {"/a%2Fb", exchange.EncodedSlash},
		"/a%5Cb":           {"/a%5Cb", exchange.EncodedSlash},
		"/a%00":            {"/a%00", exchange.EncodedSlash},
		"/a\\b":            {"/a\\b", exchange.EncodedSlash},
		"/a%":              {"/a%", exchange.InvalidPath},
		"/a%4":             {"/a%4", exchange.InvalidPath},
		"/a%zz":            {"/a%zz", exchange.InvalidPath},
		"/a#b":             {"/a#b", exchange.InvalidPath},
		"/a\xa0":           {"/a\xa0", exchange.InvalidPath},
		"/a b":             {"/a b", exchange.InvalidPath},
		"/%2F/../%2e%2e/x": {"/x", exchange.EncodedSlash | exchange.DotSegments | exchange.EncodedDots},
	}
	for raw, want := range tests {
		t.Run(raw, func(t *testing.T) {
			got, flags := exchange.NormalizePath([]byte("kept"), []byte(raw))
			if string(got) != "kept"+want.path || flags != want.flags {
				t.Errorf("got %q, %b; want %q, %b", got, flags, "kept"+want.path, want.flags)
			}
		})
	}
}

func TestDropParams(t *testing.T) {
	for raw, want := range map[string]string{
		"/pay": "/pay", "/pay;a=b": "/pay", "/pay;a/1;b;c": "/pay/1", "/x/..;/pay": "/x/../pay", "/;": "/", ";": "", "": "", "/a%3Bb": "/a%3Bb",
	} {
		if got := string(exchange.DropParams([]byte("kept"), []byte(raw))); got != "kept"+want {
			t.Errorf("%q became %q, want %q", raw, got, "kept"+want)
		}
	}
}

func TestOpenSlashes(t *testing.T) {
	for raw, want := range map[string]string{
		"/pay": "/pay", "/a%2fb%2F": "/a/b/", "/a%5c\\b": "/a//b", "/a%252F": "/a%252F", "/%2": "/%2", "%zz/": "%zz/", "": "", "/%00": "/%00",
	} {
		if got := string(exchange.OpenSlashes([]byte("kept"), []byte(raw))); got != "kept"+want {
			t.Errorf("%q became %q, want %q", raw, got, "kept"+want)
		}
	}
}

// checkPath holds what must hold for every path.
func checkPath(t interface{ Errorf(string, ...any) }, raw string) {
	got, flags := exchange.NormalizePath(nil, []byte(raw))
	path := string(got)
	if path[0] != '/' || len(path) > 1 && strings.HasSuffix(path, "/") || strings.Contains(path, "//") {
		t.Errorf("%q became %q", raw, path)
	}
	for s := range strings.SplitSeq(path, "/") {
		if s == "." || s == ".." {
			t.Errorf("%q became %q, which has a dot segment", raw, path)
		}
	}
	if flags&exchange.InvalidPath != 0 {
		return
	}
	again, _ := exchange.NormalizePath(nil, got)
	if string(again) != path {
		t.Errorf("%q became %q and that %q", raw, path, again)
	}
}

func TestNormalizePathProperties(t *testing.T) {
	piece := rapid.SampledFrom([]string{"/", "//", ".", "..", "%2e", "%2E", "a", "%61", "%2f", "%5c", "%00", "%25", "%", "%4", "é", "\xa0", "\\", "#", " ", ";", "b"})
	rapid.Check(t, func(t *rapid.T) {
		checkPath(t, "/"+strings.Join(rapid.SliceOf(piece).Draw(t, "pieces"), ""))
	})
}

// escapes reports whether net/http's router leads raw to the route /pay/{id}
// although the path made ready does not look like it.
func escapes(raw string) bool {
	u, err := url.ParseRequestURI(raw)
	if err != nil {
		return false
	}
	got, flags := exchange.NormalizePath(nil, []byte(strings.SplitN(raw, "?", 2)[0]))
	if flags&^exchange.DotSegments != 0 {
		return false
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/pay/{id}", func(http.ResponseWriter, *http.Request) {})
	_, pattern := mux.Handler(&http.Request{Method: "GET", URL: u, Host: "h"})
	if pattern == "" {
		return false
	}
	return !pay(string(got))
}

// pay is what the route /pay/{id} of a policy covers.
func pay(path string) bool {
	segments := strings.Split(path, "/")
	return len(segments) == 3 && strings.EqualFold(segments[1], "pay")
}

// express is Express's route /pay/:id, as path-to-regexp compiles it.
var express = regexp.MustCompile(`(?i)^/pay/([^/]+?)/?$`)

// escapesExpress reports whether Express leads raw to /pay/:id although neither
// form of the path looks like it. Express matches the path as it was sent and
// decodes parameters only; it decodes nothing of a literal.
func escapesExpress(raw string) bool {
	path := strings.SplitN(raw, "?", 2)[0]
	got, flags := exchange.NormalizePath(nil, []byte(path))
	if flags&^exchange.DotSegments != 0 || !express.MatchString(path) {
		return false
	}
	return !pay(string(got)) && !pay(string(exchange.KeepDots(nil, []byte(path))))
}

func TestNoSpellingEscapesARouter(t *testing.T) {
	piece := rapid.SampledFrom([]string{"/", "pay", "p%61y", "%70ay", "..", "%2e%2e", ".", "%2e", "//", "x", "%41", "?", "a/.."})
	rapid.Check(t, func(t *rapid.T) {
		raw := "/" + strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "pieces"), "")
		if escapes(raw) || escapesExpress(raw) {
			t.Errorf("%q reaches /pay/{id} unseen", raw)
		}
	})
}

func FuzzNormalizePath(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/%2e%2e/pay/1", "/pay/%41", "//pay//1/", "/a%2fb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		checkPath(t, raw)
		if strings.HasPrefix(raw, "/") && (escapes(raw) || escapesExpress(raw)) {
			t.Errorf("%q reaches /pay/{id} unseen", raw)
		}
	})
}

func TestNormalizePathDoesNotAllocate(t *testing.T) {
	dst, raw := make([]byte, 0, 64), []byte("/users/%34%32/./payments/")
	if n := testing.AllocsPerRun(100, func() { exchange.NormalizePath(dst, raw) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
