// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/filter/ratelimit"
	"weir.dev/weir/sidecar/store/memory"
)

func TestAllowPathDoesNotAllocate(t *testing.T) {
	for name, scope := range map[string]snapshot.Scope{"pod": snapshot.Scope_SCOPE_POD, "cluster": snapshot.Scope_SCOPE_CLUSTER} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.store = &sharedStore{w: w}
			x := request("0123456789abcdef0123456789abcdef")
			x.Path = []byte("/users/42/payments")
			store := &allowAll{}
			env := w.env()
			env.Store, env.Metrics = store, nil
			f, err := ratelimit.Compile(busy(scope), env)
			if err != nil {
				t.Fatal(err)
			}
			f = f.Under(&exchange.Identity{Headers: []string{"x-probe"}})
			got := testing.AllocsPerRun(1000, func() {
				x.Reset()
				x.Method, x.Path, x.Query, x.Request, x.Client = method, users, query, fixed, addr
				if f.Head(x) != exchange.Continue {
					t.Error("denied")
				}
				f.ResponseHead(x)
				f.End(x, exchange.Replied)
			})
			if got != 0 {
				t.Errorf("%v allocations", got)
			}
		})
	}
}

var (
	method  = []byte("POST")
	users   = []byte("/users/42/payments")
	addr    = netip.MustParseAddr("2001:db8::1")
	addr4   = netip.MustParseAddr("10.0.0.1")
	cookies = []byte(`theme=dark; sid="a%20b"`)
	query   = []byte("a=1&user=%41b")
	fixed   = &one{"x-client-id", []byte("0123456789abcdef0123456789abcdef")}
)

// one is a single field.
type one struct {
	name  string
	value []byte
}

func (o *one) Header(name string) ([]byte, int) {
	if name == o.name {
		return o.value, 1
	}
	if name == "cookie" {
		return cookies, 1
	}
	return nil, 0
}

type allowAll struct{}

func (*allowAll) Release(limiter.Op) {}

func (*allowAll) Correct(limiter.Op, int64) bool { return true }

func (*allowAll) Take(_ context.Context, ops []limiter.Op) error {
	for i := range ops {
		ops[i].Decision = limiter.Decision{Allowed: true, Remaining: 7, Reset: 60e6}
	}
	return nil
}

// busy is a policy with all kinds of keys and algorithms, which denies nobody.
func busy(scope snapshot.Scope) *snapshot.RateLimitPolicy {
	a := perClient("sliding", 60_000_000)
	b := perClient("bucket", 60_000_000)
	b.Algorithm, b.Burst = snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET, 1_000_000
	b.Key = []*snapshot.KeyPart{clientIP(64), header("x-client-id")}
	c := perClient("fixed", 60_000_000)
	c.Algorithm = snapshot.Algorithm_ALGORITHM_FIXED_WINDOW
	c.Key = []*snapshot.KeyPart{pathParam("userId")}
	c.Match = []*snapshot.Match{{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{
		Methods: []string{"POST"},
		Path:    &snapshot.PathMatch{Type: snapshot.PathMatch_TYPE_TEMPLATE, Value: "/users/{userId}/payments"},
	}}}}
	d := perClient("parameter", 60_000_000)
	d.Key = []*snapshot.KeyPart{queryParam("user"), cookie("sid")}
	d.Cost = 2
	for i := range 64 {
		a.Overrides = append(a.Overrides, &snapshot.Override{Key: []string{fmt.Sprint(i)}, Limit: 5})
	}
	for _, l := range []*snapshot.Limit{a, b, c, d} {
		l.Scope = scope
	}
	p := policy(a, b, c, d)
	p.Headers = snapshot.HeaderStyle_HEADER_STYLE_BOTH
	p.Exempt = []*snapshot.Exemption{
		{Kind: &snapshot.Exemption_SourceCidr{SourceCidr: "10.0.0.0/8"}},
		{Kind: &snapshot.Exemption_Header{Header: &snapshot.HeaderMatch{Name: "x-probe", Value: "1"}}},
	}
	return p
}

func BenchmarkHead(b *testing.B) {
	for name, p := range map[string]*snapshot.RateLimitPolicy{
		"one limit":   policy(perClient("per-client", 60_000_000)),
		"four limits": busy(snapshot.Scope_SCOPE_POD),
	} {
		b.Run(name, func(b *testing.B) {
			tables := memory.New(memory.Options{})
			defer tables.Close()
			w := &world{tables: tables, shadows: map[string]*atomic.Uint64{}}
			env := w.env()
			env.Metrics = nil
			f, err := ratelimit.Compile(p, env)
			if err != nil {
				b.Fatal(err)
			}
			x := &exchange.Exchange{}
			b.ReportAllocs()
			for b.Loop() {
				x.Reset()
				x.Method, x.Path, x.Request, x.Client = method, users, fixed, addr
				f.Head(x)
				f.End(x, exchange.Replied)
			}
		})
	}
}
