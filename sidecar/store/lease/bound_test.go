// SPDX-License-Identifier: Apache-2.0

package lease_test

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/store/lease"
)

var one = limiter.Key{1}

// world is a store and what is on its way to and from it, under a clock that is
// moved.
type world struct {
	now    int64
	state  limiter.State
	events []event
	delay  func() int64
	calls  int
}

type event struct {
	at int64
	do func()
}

func (w *world) after(d int64, do func()) {
	e := event{w.now + d, do}
	i, _ := slices.BinarySearchFunc(w.events, e, func(a, b event) int {
		if a.at <= b.at {
			return -1
		}
		return 1
	})
	w.events = slices.Insert(w.events, i, e)
}

func (w *world) advance(to int64) {
	for len(w.events) > 0 && w.events[0].at <= to {
		e := w.events[0]
		w.events = w.events[1:]
		w.now = e.at
		e.do()
	}
	w.now = to
}

func (w *world) Refill(_ limiter.Key, r *limiter.Rule, want uint64, done func(limiter.Decision, bool)) {
	w.calls++
	only := r.Times(0)
	w.after(w.delay(), func() {
		d := only.Lease(&w.state, w.now, want)
		w.after(w.delay(), func() { done(d, true) })
	})
}

func (w *world) Refund(_ limiter.Key, r *limiter.Rule, n uint64, receipt int64) {
	many := r.Times(n)
	w.after(w.delay(), func() { many.Refund(&w.state, w.now, receipt) })
}

// sidecar is one of those that share the store; its clock began some other time.
type sidecar struct {
	w     *world
	table *lease.Table
}

func (w *world) sidecar(skew int64) *sidecar {
	return &sidecar{w, lease.New(func() int64 { return w.now + skew }, w)}
}

// request calls admitted at the moment at which it was decided to let it through.
func (s *sidecar) request(r *limiter.Rule, admitted func(at int64)) limiter.Decision {
	d, ask, known := s.table.Take(one, r)
	if known {
		if d.Allowed {
			admitted(s.w.now)
		}
		return d
	}
	s.w.calls++
	s.w.after(s.w.delay(), func() {
		d := r.Lease(&s.w.state, s.w.now, ask.Want)
		if d.Allowed {
			admitted(s.w.now)
		}
		s.w.after(s.w.delay(), func() { s.table.Answered(one, r, ask, d) })
	})
	return d
}

// worst is the most that were admitted in any closed window of length width.
func worst(at []int64, width int64) int {
	slices.Sort(at)
	most, from := 0, 0
	for i := range at {
		for at[i]-at[from] > width {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

func leased(t interface{ Fatal(...any) }, limit, window, burst uint64) limiter.Rule {
	r, err := limiter.NewRule(limiter.TokenBucket, limit, window, burst)
	if err != nil {
		t.Fatal(err)
	}
	return r.Leased()
}

// TestLeasesKeepTheirBound: whatever arrives at whichever sidecar, however long calls
// take, no window W sees more than L + B + 2·L·H/W.
func TestLeasesKeepTheirBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Uint64Range(1, 3000).Draw(t, "limit")
		burst := rapid.Uint64Range(1, limit).Draw(t, "burst")
		r := leased(t, limit, 1, burst)
		w := &world{now: rapid.Int64Range(1e12, 1e12+1e6).Draw(t, "start")}
		slow := rapid.Int64Range(0, 5000).Draw(t, "slow")
		w.delay = func() int64 { return rapid.Int64Range(0, slow).Draw(t, "delay") }
		var sidecars []*sidecar
		for range rapid.IntRange(1, 4).Draw(t, "sidecars") {
			sidecars = append(sidecars, w.sidecar(rapid.Int64Range(0, 1e9).Draw(t, "skew")))
		}
		var admitted []int64
		gaps := []int64{0, 1, int64(r.Interval()), 1000, 5000, limiter.Reserve, limiter.Horizon, limiter.LeaseLife - 1, limiter.LeaseLife, 200_000, 1_000_000}
		for range rapid.IntRange(1, 60).Draw(t, "bursts") {
			w.advance(w.now + rapid.SampledFrom(gaps).Draw(t, "gap"))
			s := rapid.SampledFrom(sidecars).Draw(t, "sidecar")
			spread := rapid.SampledFrom([]int64{0, 0, 10, 300}).Draw(t, "spread")
			for range rapid.IntRange(1, 150).Draw(t, "requests") {
				w.advance(w.now + spread)
				s.request(&r, func(at int64) { admitted = append(admitted, at) })
			}
		}
		w.advance(w.now + 1e6)
		bound := int(limit+burst) + int(math.Ceil(2*float64(limit)*limiter.Horizon/1e6)) + 1
		if got := worst(admitted, 1e6); got > bound {
			t.Fatalf("%d admitted in a second, at most %d are possible", got, bound)
		}
	})
}

// TestLongRun: of a steady load over ten sidecars what is possible is let through, in
// the long run not more, in any second not a hundredth more than limit and burst; and the
// store is asked for few of the requests.
func TestLongRun(t *testing.T) {
	for name, tc := range map[string]struct {
		perSecond, seconds int
		least              float64 // of what could be let through
		slow               int64   // µs, that a call takes at the most, each way
		calls              float64 // for a request, at the most
	}{
		"overload":               {20_000, 5, 0.97, 150, 0.05},
		"overload, a slow store": {20_000, 5, 0.97, 5000, 0.05},
		"at the limit":           {10_000, 5, 0.95, 150, 0.05},
		"below":                  {8_000, 5, 0.97, 150, 0.05},
		"far below":              {1_000, 5, 0.99, 150, 0.2},
		"ten times that":         {100_000, 2, 0.97, 150, 0.05},
	} {
		t.Run(name, func(t *testing.T) {
			r := leased(t, 10_000, 1, 100)
			seed := uint64(1)
			random := func() uint64 {
				seed = seed*6364136223846793005 + 1442695040888963407
				return seed >> 33
			}
			w := &world{now: 1e12, delay: func() int64 { return 100 + int64(random())%tc.slow }}
			var sidecars []*sidecar
			for range 10 {
				sidecars = append(sidecars, w.sidecar(0))
			}
			var admitted []int64
			n := tc.perSecond * tc.seconds
			start := w.now
			for i := range n {
				w.advance(start + int64(i)*1_000_000/int64(tc.perSecond))
				sidecars[random()%10].request(&r, func(at int64) { admitted = append(admitted, at) })
			}
			w.advance(w.now + 1e6)
			possible := min(tc.perSecond, 10_000) * tc.seconds
			got := len(admitted)
			over := worst(admitted, 1e6)
			t.Logf("let through %d of %d possible, worst second %d, %.4f calls for a request", got, possible, over, float64(w.calls)/float64(n))
			if got > 10_000*tc.seconds+100+500 || float64(got) < tc.least*float64(possible) {
				t.Errorf("let through %d, %d are possible", got, possible)
			}
			if over > (10_000+100)*101/100 {
				t.Errorf("worst second %d", over)
			}
			if calls := float64(w.calls) / float64(n); calls > tc.calls {
				t.Errorf("%.4f calls for a request", calls)
			}
		})
	}
}
