// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/filter/ratelimit"
	"weir.dev/weir/sidecar/store/memory"
)

// inProgress bounds requests in progress for each X-Client-Id.
func inProgress(name string, n uint64, scope snapshot.Scope) *snapshot.Limit {
	l := perClient(name, n)
	l.Algorithm, l.WindowSeconds, l.Scope = snapshot.Algorithm_ALGORITHM_CONCURRENCY, 0, scope
	return l
}

func TestConcurrency(t *testing.T) {
	for name, scope := range map[string]snapshot.Scope{"pod": snapshot.Scope_SCOPE_POD, "cluster": snapshot.Scope_SCOPE_CLUSTER} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.store = &sharedStore{w: w}
			f := w.filter(t, policy(inProgress("l", 2, scope)))
			first, second := request("a"), request("a")
			if f.Head(first) != exchange.Continue || f.Head(second) != exchange.Continue {
				t.Fatal("denied")
			}
			want(t, ask(f, request("a")), answer{
				Status: 503, Policy: `"l";q=2;qu="concurrent-requests"`, Limits: `"l";r=0`,
				Denial: exchange.Denial{
					Status: 503, Type: ratelimit.TypeReducedCapacity, Title: "Temporarily Reduced Capacity", Policy: "shop/payments",
					Detail: "Limit l allows 2 requests in progress; retry in 1 s.",
					Limits: []string{"l"}, RetryAfter: time.Second, Exhausted: true,
				},
			})
			want(t, ask(f, request("b")).Limits, `"l";r=1`)
			f.End(first, exchange.Replied)
			want(t, ask(f, request("a")).Status, 200)
			f.End(second, exchange.Aborted)
			want(t, ask(f, request("a")).Limits, `"l";r=1`)
		})
	}
}

// TestConcurrencyIsAllOrNothing: a request that another limit denies holds nothing,
// and is answered as that limit says.
func TestConcurrencyIsAllOrNothing(t *testing.T) {
	for name, scope := range map[string]snapshot.Scope{"pod": snapshot.Scope_SCOPE_POD, "cluster": snapshot.Scope_SCOPE_CLUSTER} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.store = &sharedStore{w: w}
			quota := perClient("quota", 1)
			f := w.filter(t, policy(inProgress("a-held", 2, snapshot.Scope_SCOPE_POD), inProgress("held", 2, scope), quota))
			want(t, statuses(f, "a", 5), []int{200, 429, 429, 429, 429})
			w.µs.Add(64e6)
			want(t, ask(f, request("a")).Limits, `"a-held";r=1, "held";r=1, "quota";r=0;t=64`)
		})
	}
}

func TestConcurrencyShadow(t *testing.T) {
	w := newWorld(t)
	l := inProgress("l", 1, snapshot.Scope_SCOPE_POD)
	l.Shadow = true
	f := w.filter(t, policy(l, perClient("quota", 2)))
	x := request("a")
	f.Head(x)
	want(t, ask(f, request("a")).Status, 200)
	want(t, w.shadows["payments/l"].Load(), uint64(1))
	want(t, ask(f, request("a")).Status, 429)
	f.End(x, exchange.Replied)
	ask(f, request("a"))
	want(t, w.shadows["payments/l"].Load(), uint64(2))
}

// TestConcurrencyFallback: what a pod's share admitted is given back to the share,
// also when the store is back by then.
func TestConcurrencyFallback(t *testing.T) {
	w := newWorld(t)
	w.store = &sharedStore{w: w, away: true}
	w.peers.Store(2)
	f := w.filter(t, policy(inProgress("l", 4, snapshot.Scope_SCOPE_CLUSTER)))
	x, y := request("a"), request("a")
	f.Head(x)
	f.Head(y)
	want(t, ask(f, request("a")).Status, 503)
	w.store.away = false
	f.End(x, exchange.Replied)
	f.End(y, exchange.Replied)
	want(t, ask(f, request("a")).Limits, `"l";r=3`)
	w.store.away = true
	want(t, ask(f, request("a")).Limits, `"l";r=1`)
}

// TestConcurrencyNeverExceedsItsLimit: of requests that begin and end in any order,
// with more keys than there is room for, no more than the limit are in progress for
// a key, and all permits come back.
func TestConcurrencyNeverExceedsItsLimit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		w.tables = memory.New(memory.Options{MaxKeys: 1, Now: w.µs.Load})
		defer w.tables.Close()
		limit := rapid.Uint64Range(1, 4).Draw(rt, "limit")
		l := inProgress("l", limit, snapshot.Scope_SCOPE_POD)
		f := w.filter(t, policy(l))
		var open []*exchange.Exchange
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			if len(open) > 0 && rapid.Bool().Draw(rt, "end") {
				i := rapid.IntRange(0, len(open)-1).Draw(rt, "which")
				f.End(open[i], exchange.Replied)
				open = append(open[:i], open[i+1:]...)
				w.tables.Table("payments/l").Sweep()
				continue
			}
			x := request("only")
			if f.Head(x) == exchange.Continue {
				open = append(open, x)
			}
			if uint64(len(open)) > limit {
				rt.Fatalf("%d in progress, the limit is %d", len(open), limit)
			}
		}
		for _, x := range open {
			f.End(x, exchange.Replied)
		}
		w.tables.Table("payments/l").Sweep()
		if n := w.tables.Table("payments/l").Len(); n != 0 {
			rt.Fatalf("%d keys hold permits at the end", n)
		}
	})
}

// TestConcurrencyInTheOverflow: keys without room share their permits, which come
// back though the keys have found room since.
func TestConcurrencyInTheOverflow(t *testing.T) {
	tables := memory.New(memory.Options{MaxKeys: 1, Now: func() int64 { return 1e12 }})
	t.Cleanup(tables.Close)
	table := tables.Table("l")
	r, err := limiter.NewConcurrency(2)
	if err != nil {
		t.Fatal(err)
	}
	// All of one shard, which has room for one.
	a, b, c := limiter.Key{1: 1}, limiter.Key{1: 2}, limiter.Key{1: 3}
	own := table.Take(a, &r, true)
	one, two := table.Take(b, &r, true), table.Take(c, &r, true)
	if table.Take(b, &r, true).Allowed {
		t.Error("the overflow admits more than the limit")
	}
	table.Refund(a, &r, own.Receipt)
	table.Sweep()
	if got := table.Take(b, &r, true); got.Remaining != 1 {
		t.Errorf("a key that has found room has %d left, want 1", got.Remaining)
	}
	table.Refund(b, &r, one.Receipt)
	table.Refund(c, &r, two.Receipt)
	if got := table.Take(c, &r, true); !got.Allowed || got.Remaining != 1 {
		t.Errorf("the overflow keeps permits: %+v", got)
	}
}
