// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"testing"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/filter/ratelimit"
)

// purse is leases with some tokens, which writes down what it is told.
type purse struct {
	held uint64
	wait int64 // for the next, when none is held; 0: ask the store
	log  []string
}

func (p *purse) Take(_ limiter.Key, r *limiter.Rule) (d limiter.Decision, ask limiter.Ask, known bool) {
	if p.held >= r.Cost() {
		p.held -= r.Cost()
		return limiter.Decision{Allowed: true, Remaining: p.held}, ask, true
	}
	if p.wait > 0 {
		return limiter.Decision{Retry: p.wait, Reset: p.wait}, ask, true
	}
	return d, limiter.Ask{Want: 7}, false
}

func (p *purse) Answered(_ limiter.Key, _ *limiter.Rule, _ limiter.Ask, d limiter.Decision) {
	p.log = append(p.log, "answered")
	p.held += d.Lease.N
}

func (p *purse) Failed(limiter.Key, limiter.Ask) { p.log = append(p.log, "failed") }

func (p *purse) Return(_ limiter.Key, r *limiter.Rule) {
	p.log = append(p.log, "returned")
	p.held += r.Cost()
}

func leased(name string, n uint64) *snapshot.Limit {
	l := perClient(name, n)
	l.Algorithm, l.Burst, l.Leased, l.Scope = snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET, n, true, snapshot.Scope_SCOPE_CLUSTER
	return l
}

func (w *world) leasing(t *testing.T, p *purse, limits ...*snapshot.Limit) *ratelimit.Filter {
	t.Helper()
	w.store = &sharedStore{w: w}
	env := w.env()
	env.Leases = func(string) ratelimit.Leases { return p }
	f, err := ratelimit.Compile(policy(limits...), env)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestHeldTokensCostNoCall(t *testing.T) {
	w, p := newWorld(t), &purse{held: 2, wait: 1_500_000}
	f := w.leasing(t, p, leased("l", 60))
	want(t, ask(f, request("a")), answer{Status: 200, Policy: `"l";q=60;w=60;weir-burst=60`, Limits: `"l";r=1;t=1`})
	want(t, statuses(f, "a", 2), []int{200, 429})
	got := ask(f, request("a"))
	want(t, got.Limits, `"l";r=0;t=2`)
	want(t, got.Denial.Detail, "Limit l allows 60 requests per 60 s; retry in 2 s.")
	want(t, w.store.calls, 0)
	want(t, w.decided, map[string]int{"l allowed lease": 2, "l denied lease": 2})
}

func TestTokensAreAskedForWithARequest(t *testing.T) {
	w, p := newWorld(t), &purse{}
	f := w.leasing(t, p, leased("l", 60))
	want(t, ask(f, request("a")).Status, 200)
	want(t, w.store.last[0].Want, uint64(7))
	want(t, p.log, []string{"answered"})
	w.store.away = true
	want(t, ask(f, request("b")).Status, 200) // by the pod's share
	want(t, p.log, []string{"answered", "failed"})
}

// TestTokensAreAllOrNothing: a request that another limit denies costs none.
func TestTokensAreAllOrNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		held uint64
		want []string
	}{
		"held":       {5, []string{"returned"}},
		"from store": {0, []string{"answered", "failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, p := newWorld(t), &purse{held: tc.held}
			narrow := perClient("narrow", 1)
			narrow.Scope = snapshot.Scope_SCOPE_CLUSTER
			f := w.leasing(t, p, leased("l", 60), narrow)
			want(t, statuses(f, "a", 2), []int{200, 429})
			want(t, p.log, tc.want)
			if tc.held > 0 {
				want(t, p.held, tc.held-1)
			}
			// The denial is known by now: nobody is asked.
			calls := w.store.calls
			want(t, statuses(f, "a", 1), []int{429})
			want(t, w.store.calls, calls)
			want(t, p.log[len(p.log)-1], map[string]string{"held": "returned", "from store": "failed"}[name])
		})
	}
}

func TestHeldTokensDoNotAllocate(t *testing.T) {
	w := newWorld(t)
	w.store = &sharedStore{w: w}
	env := w.env()
	env.Metrics = nil
	env.Leases = func(string) ratelimit.Leases { return &purse{held: 1 << 40} }
	f, err := ratelimit.Compile(policy(leased("l", 60_000_000)), env)
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange.Exchange{}
	got := testing.AllocsPerRun(1000, func() {
		x.Reset()
		x.Method, x.Path, x.Request, x.Client = method, users, fixed, addr
		if f.Head(x) != exchange.Continue {
			t.Error("denied")
		}
		f.End(x, exchange.Replied)
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}
