// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"context"
	"encoding/hex"
	"net/netip"
	"testing"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/filter/ratelimit"
)

// TestBuckets: two requests share a limit of one exactly when they are to be
// counted together. The second is asked after the first.
func TestBuckets(t *testing.T) {
	ip := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	type req struct {
		h    headers
		addr string
		path string
	}
	id := func(v string) headers { return headers{{"x-client-id", v}} }
	skip, deny := snapshot.OnMissingKey_ON_MISSING_KEY_SKIP, snapshot.OnMissingKey_ON_MISSING_KEY_DENY
	byHeader := []*snapshot.KeyPart{header("x-client-id")}
	for name, tc := range map[string]struct {
		key       []*snapshot.KeyPart
		missing   snapshot.OnMissingKey
		one, two  req
		wantFirst int
		want      int
	}{
		"no key, one bucket":             {nil, 0, req{addr: "192.0.2.1"}, req{addr: "192.0.2.2"}, 200, 429},
		"same header":                    {byHeader, 0, req{h: id("a"), addr: "192.0.2.1"}, req{h: id("a"), addr: "192.0.2.2"}, 200, 429},
		"another header":                 {byHeader, 0, req{h: id("a"), addr: "192.0.2.1"}, req{h: id("b"), addr: "192.0.2.1"}, 200, 200},
		"header's case counts":           {byHeader, 0, req{h: id("a"), addr: "192.0.2.1"}, req{h: id("A"), addr: "192.0.2.1"}, 200, 200},
		"missing: the address":           {byHeader, 0, req{addr: "192.0.2.1"}, req{addr: "192.0.2.1"}, 200, 429},
		"missing: another address":       {byHeader, 0, req{addr: "192.0.2.1"}, req{addr: "192.0.2.2"}, 200, 200},
		"missing: IPv6 by network":       {byHeader, 0, req{addr: "2001:db8::1"}, req{addr: "2001:db8::2"}, 200, 429},
		"empty is missing":               {byHeader, 0, req{h: id(""), addr: "192.0.2.1"}, req{addr: "192.0.2.1"}, 200, 429},
		"missing: skipped":               {byHeader, skip, req{addr: "192.0.2.1"}, req{addr: "192.0.2.1"}, 200, 200},
		"missing: denied":                {byHeader, deny, req{addr: "192.0.2.1"}, req{h: id("a"), addr: "192.0.2.1"}, 400, 200},
		"twice: by address":              {byHeader, 0, req{h: headers{{"x-client-id", "a"}, {"x-client-id", "b"}}, addr: "192.0.2.1"}, req{h: headers{{"x-client-id", "c"}, {"x-client-id", "d"}}, addr: "192.0.2.1"}, 200, 429},
		"twice: not skipped":             {byHeader, skip, req{h: headers{{"x-client-id", "a"}, {"x-client-id", "b"}}, addr: "192.0.2.1"}, req{h: headers{{"x-client-id", "c"}, {"x-client-id", "d"}}, addr: "192.0.2.1"}, 200, 429},
		"twice: denied":                  {byHeader, deny, req{h: headers{{"x-client-id", "a"}, {"x-client-id", "a"}}, addr: "192.0.2.1"}, req{h: id("a"), addr: "192.0.2.1"}, 400, 200},
		"a header is no address":         {byHeader, 0, req{h: id("192.0.2.1"), addr: "192.0.2.9"}, req{addr: "192.0.2.1"}, 200, 200},
		"nor its bytes":                  {byHeader, 0, req{h: id("\xc0\x00\x02\x01"), addr: "192.0.2.9"}, req{addr: "192.0.2.1"}, 200, 200},
		"IPv4 in IPv6 is IPv4":           {[]*snapshot.KeyPart{clientIP(64)}, 0, req{addr: "192.0.2.1"}, req{addr: "::ffff:192.0.2.1"}, 200, 429},
		"IPv4 is whole":                  {[]*snapshot.KeyPart{clientIP(1)}, 0, req{addr: "192.0.2.1"}, req{addr: "192.0.2.2"}, 200, 200},
		"IPv6 by prefix":                 {[]*snapshot.KeyPart{clientIP(48)}, 0, req{addr: "2001:db8:1:2::1"}, req{addr: "2001:db8:1:3::1"}, 200, 429},
		"IPv6 past the prefix":           {[]*snapshot.KeyPart{clientIP(64)}, 0, req{addr: "2001:db8:1:2::1"}, req{addr: "2001:db8:1:3::1"}, 200, 200},
		"IPv6 whole":                     {[]*snapshot.KeyPart{clientIP(128)}, 0, req{addr: "2001:db8::1"}, req{addr: "2001:db8::2"}, 200, 200},
		"a zone plays no part":           {[]*snapshot.KeyPart{clientIP(64)}, 0, req{addr: "fe80::1%a"}, req{addr: "fe80::1%b"}, 200, 429},
		"no address: one bucket":         {[]*snapshot.KeyPart{clientIP(64)}, 0, req{}, req{}, 200, 429},
		"members are told apart":         {[]*snapshot.KeyPart{header("x-a"), header("x-b")}, 0, req{h: headers{{"x-a", "1"}, {"x-b", "23"}}}, req{h: headers{{"x-a", "12"}, {"x-b", "3"}}}, 200, 200},
		"parameter":                      {[]*snapshot.KeyPart{pathParam("id")}, 0, req{path: "/users/7"}, req{path: "/users/7"}, 200, 429},
		"another parameter":              {[]*snapshot.KeyPart{pathParam("id")}, 0, req{path: "/users/7"}, req{path: "/users/8"}, 200, 200},
		"parameter spelled otherwise":    {[]*snapshot.KeyPart{pathParam("id")}, 0, req{path: "/users/a:b"}, req{path: "/users/a%3ab"}, 200, 429},
		"parameter's case counts":        {[]*snapshot.KeyPart{pathParam("id")}, 0, req{path: "/users/a"}, req{path: "/users/A"}, 200, 200},
		"template's literal is caseless": {[]*snapshot.KeyPart{pathParam("id")}, 0, req{path: "/users/a"}, req{path: "/Users/a"}, 200, 429},
		"rule without the parameter":     {[]*snapshot.KeyPart{pathParam("id")}, 0, req{path: "/all", addr: "192.0.2.1"}, req{path: "/all", addr: "192.0.2.2"}, 200, 200},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l := perClient("l", 1)
			l.Key = tc.key
			if tc.missing != 0 {
				l.OnMissingKey = tc.missing
			}
			template := &snapshot.PathMatch{Type: snapshot.PathMatch_TYPE_TEMPLATE, Value: "/users/{id}"}
			l.Match = []*snapshot.Match{
				{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{Path: template}}},
				{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{}}},
			}
			f := w.filter(t, policy(l))
			ask := func(r req) int {
				x := &exchange.Exchange{Method: []byte("GET"), Path: []byte("/"), Request: r.h}
				if r.path != "" {
					x.Path = []byte(r.path)
				}
				if r.addr != "" {
					x.Client = ip(r.addr)
				}
				return ask(f, x).Status
			}
			want(t, ask(tc.one), tc.wantFirst)
			want(t, ask(tc.two), tc.want)
		})
	}
}

func TestMissingKeyDenial(t *testing.T) {
	l := perClient("l", 1)
	l.Key = []*snapshot.KeyPart{header("x-client-id"), clientIP(64)}
	l.OnMissingKey = snapshot.OnMissingKey_ON_MISSING_KEY_DENY
	w := newWorld(t)
	other := perClient("other", 5)
	f := w.filter(t, policy(other, l))
	want(t, ask(f, request("")), answer{Status: 400, Denial: exchange.Denial{
		Status: 400,
		Type:   "https://weir.dev/problems/rate-limit-key-missing",
		Title:  "Rate Limit Key Missing",
		Detail: "Limit l counts requests by the header x-client-id and the client's address; each must be sent exactly once and not empty.",
		Policy: "shop/payments",
		Limits: []string{"l"},
	}})
	want(t, w.decided, map[string]int{"l denied missing_key": 1})
}

// TestSlotIsSharedByFilters: a filter finds its memory as another one of the same
// slot has left it.
func TestSlotIsSharedByFilters(t *testing.T) {
	w := newWorld(t)
	small := w.filter(t, policy(perClient("one", 9)))
	large := w.filter(t, busy(snapshot.Scope_SCOPE_POD))
	x := &exchange.Exchange{}
	for _, f := range []exchange.Filter{small, large, small, large} {
		x.Reset()
		x.Method, x.Path, x.Request, x.Client = method, users, fixed, addr
		if f.Head(x) != exchange.Continue {
			t.Fatal("denied")
		}
	}
}

// keys records what a store is asked for.
type keys struct{ got []string }

func (*keys) Release(limiter.Op) {}

func (*keys) Correct(limiter.Op, int64) bool { return true }

func (k *keys) Take(_ context.Context, ops []limiter.Op) error {
	for i := range ops {
		k.got = append(k.got, ops[i].ID+" "+hex.EncodeToString(ops[i].Key[:]))
		ops[i].Decision.Allowed = true
	}
	return nil
}

// TestKeysAreAsBefore: sidecars of two versions must count together during a
// rollout. Who changes a hash gives every client a fresh limit.
func TestKeysAreAsBefore(t *testing.T) {
	store := &keys{}
	env := newWorld(t).env()
	env.Store = store
	all := perClient("all", 5)
	all.Key = nil
	both := perClient("both", 5)
	both.Key = []*snapshot.KeyPart{clientIP(64), header("x-client-id")}
	p := policy(all, both, perClient("client", 5), perClient("client2", 5))
	for _, l := range p.Limits {
		l.Scope = snapshot.Scope_SCOPE_CLUSTER
	}
	f, err := ratelimit.Compile(p, env)
	if err != nil {
		t.Fatal(err)
	}
	ask(f, request("a"))
	ask(f, request(""))
	want(t, store.got, []string{
		"payments/all c0019fa9c1ccfbc6091d8bba20ce82f4",
		"payments/both e7165bcec8c6e5da207ee026b9a0d4ad", // printf 'i\0\0\0\4\300\0\2\1h\0\0\0\1a' | sha256sum
		"payments/client 2d8bbe209f8f95d9e4ee0536e68852fa",
		"payments/client2 2d8bbe209f8f95d9e4ee0536e68852fa",
		"payments/all c0019fa9c1ccfbc6091d8bba20ce82f4",
		"payments/both d8371f1054aed4cd7b98289f403956e0",
		"payments/client 59fca3d57d06b4e61cc26d6ae1460af9",
		"payments/client2 59fca3d57d06b4e61cc26d6ae1460af9",
	})
}
