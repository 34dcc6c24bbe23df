// SPDX-License-Identifier: Apache-2.0

package rules_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

func TestFields(t *testing.T) {
	id := &exchange.Identity{Headers: []string{"x-user-id"}}
	for name, test := range map[string]struct {
		value               string
		hop, listed, stolen bool // listed: Connection can take it away
	}{
		"Connection": {"", true, true, false}, "keep-alive": {"", true, true, false}, "Proxy-Connection": {"", true, true, false},
		"TE": {"gzip", true, true, false}, "te": {"Trailers", false, true, false}, "Upgrade": {"websocket", true, true, false},
		"HTTP2-Settings": {"AAA", true, true, false}, "X-Hop": {"", false, true, false},
		"X-Forwarded-Whatever": {"", false, false, false}, "Content-Length": {"", false, false, false}, "Host": {"", false, false, false},
		"Traceparent": {"", false, false, false}, "tracestate": {"", false, false, false}, "Idempotency-Key": {"", false, false, false},
		"X-User-Id": {"", false, false, true}, "x_user-ID": {"", false, false, true}, "X-User": {"", false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rules.HopByHop([]byte(name), []byte(test.value)); got != test.hop {
				t.Errorf("hop-by-hop %v", got)
			}
			list := []byte("close, " + strings.ToUpper(name) + " ,x")
			if got := rules.Listed(list, []byte(name), id); got != test.listed {
				t.Errorf("Connection takes it away: %v", got)
			}
			if rules.Listed([]byte("close, x"), []byte(name), id) || rules.Listed(nil, []byte(name), id) {
				t.Error("Connection takes away what it does not name")
			}
			if got := rules.IsIdentity([]byte(name), id); got != test.stolen || rules.IsIdentity([]byte(name), nil) {
				t.Errorf("identity %v", got)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	type paths struct{ Path, Dotted, Bare, Open, Problem string }
	chain := exchange.Chain{nil}
	var memory rules.Paths
	for name, test := range map[string]struct {
		raw, query string
		port       *exchange.Port
		want       paths
	}{
		"plain":            {"/a//b/", "", &exchange.Port{Chain: chain}, paths{Path: "/a/b"}},
		"star":             {"*", "", &exchange.Port{Chain: chain}, paths{Path: "*"}},
		"dots":             {"/a/../b", "", &exchange.Port{Chain: chain}, paths{Path: "/b", Dotted: "/a/../b"}},
		"parameters":       {"/a;x/b", "", &exchange.Port{Chain: chain}, paths{Path: "/a;x/b", Bare: "/a/b"}},
		"escaped dots":     {"/a/%2e%2e/b", "", &exchange.Port{Chain: chain}, paths{Path: "/b", Problem: rules.ProblemMalformed}},
		"broken escape":    {"/%zz", "", &exchange.Port{Chain: chain}, paths{Path: "/%zz", Problem: rules.ProblemMalformed}},
		"fragment":         {"/a", "b#c", &exchange.Port{Chain: chain}, paths{Path: "/a", Problem: rules.ProblemMalformed}},
		"slash":            {"/a%2fb", "", &exchange.Port{Chain: chain}, paths{Path: "/a%2Fb", Problem: rules.ProblemEncodedSlash}},
		"slash that may":   {"/a%2fb", "", &exchange.Port{Chain: chain, PassEncodedSlashes: true}, paths{Path: "/a%2Fb", Open: "/a/b"}},
		"nobody governs":   {"/a%2f%zz;b", "", &exchange.Port{}, paths{Path: "/a%2F%zz;b"}},
		"nobody knows it":  {"/a%2f", "", nil, paths{Path: "/a%2F"}},
		"slash parameters": {"/a;x%2fb", "", &exchange.Port{Chain: chain, PassEncodedSlashes: true}, paths{Path: "/a;x%2Fb", Bare: "/a", Open: "/a;x/b"}},
	} {
		t.Run(name, func(t *testing.T) {
			x := &exchange.Exchange{RawPath: []byte(test.raw), Query: []byte(test.query)}
			d, ok := memory.Fill(x, test.port)
			got := paths{string(x.Path), string(x.DottedPath), string(x.BarePath), string(x.OpenPath), d.Type}
			if diff := cmp.Diff(test.want, got); diff != "" || ok != (test.want.Problem == "") {
				t.Errorf("%v\n%s", ok, diff)
			}
		})
	}
}

func TestForwardedFor(t *testing.T) {
	peer := netip.MustParseAddr("2001:db8::1")
	for sent, want := range map[string]string{"": "2001:db8::1", "1.2.3.4": "1.2.3.4, 2001:db8::1"} {
		if got := string(rules.AppendForwardedFor(nil, []byte(sent), peer)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := string(rules.AppendForwardedFor(nil, []byte("1.2.3.4"), netip.Addr{})); got != "1.2.3.4" {
		t.Errorf("got %q", got)
	}
}

// TestProblem: whatever is in a denial, the document is JSON that says it.
func TestProblem(t *testing.T) {
	d := exchange.Denial{Status: 429, Type: "urn:x", Title: "a\"b\\", Detail: "\x00\n\x1fé\xff", Limits: []string{"one", "two"}}
	var got struct {
		Type, Title, Detail string
		Status              int
		Violated            []string `json:"violated-policies"`
	}
	if err := json.Unmarshal(rules.AppendProblem(nil, &d), &got); err != nil {
		t.Fatal(err)
	}
	if got.Title != d.Title || got.Detail != "\x00\n\x1fé�" || got.Status != 429 || len(got.Violated) != 2 {
		t.Errorf("got %+v", got)
	}
	for wait, want := range map[time.Duration]int64{1: 1, time.Second: 1, time.Second + 1: 2, 0: 1} {
		if got := rules.RetryAfter(wait); got != want {
			t.Errorf("%v: got %d, want %d", wait, got, want)
		}
	}
}
