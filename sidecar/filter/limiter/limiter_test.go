// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const second = int64(1e6)

func rule(t interface{ Fatal(...any) }, a Algorithm, limit, windowSeconds, burst uint64) Rule {
	r, err := NewRule(a, limit, windowSeconds, burst)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func costing(t interface{ Fatal(...any) }, r Rule, n uint64) Rule {
	r, err := r.Costing(n)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func drawRule(t *rapid.T, a Algorithm) Rule {
	limit := rapid.Uint64Range(1, 40).Draw(t, "limit")
	window := rapid.Uint64Range(1, 90).Draw(t, "window")
	burst := uint64(0)
	if a == TokenBucket {
		burst = rapid.Uint64Range(1, 3*limit).Draw(t, "burst")
	}
	r := rule(t, a, limit, window, burst)
	return costing(t, r, rapid.Uint64Range(1, min(4, r.capacity())).Draw(t, "cost"))
}

// drawGap is an adversary's: at once, and just before, at and after the moments
// at which the algorithm lets go of something.
func drawGap(t *rapid.T, r Rule, d Decision) int64 {
	width := r.window / Slots
	gaps := []int64{0, 0, 0, 1, width, r.window, r.window - width, 2 * r.window, d.Retry, d.Reset, int64(r.Interval()), rapid.Int64Range(0, r.window).Draw(t, "any")}
	gap := rapid.SampledFrom(gaps).Draw(t, "gap") + rapid.Int64Range(-1, 1).Draw(t, "off")
	return max(0, gap)
}

// arrivals lets an adversary loose on a rule and returns when units were admitted,
// one entry for each. Some are taken back later, as limits in other slots deny them: those
// count as not admitted.
func arrivals(t *rapid.T, r Rule) []int64 {
	type reservation struct{ at, receipt, until int64 }
	var s State
	var admitted []int64
	var reserved []reservation
	now := rapid.Int64Range(0, 10*r.window).Draw(t, "start")
	var d Decision
	for range rapid.IntRange(1, 300).Draw(t, "requests") {
		now += drawGap(t, r, d)
		for i := 0; i < len(reserved); i++ {
			if v := reserved[i]; v.until <= now {
				r.Refund(&s, now, v.receipt)
				reserved = append(reserved[:i], reserved[i+1:]...)
				i--
			}
		}
		if d = r.Take(&s, now, true); !d.Allowed {
			continue
		}
		if rapid.IntRange(0, 5).Draw(t, "refund") == 0 {
			reserved = append(reserved, reservation{now, d.Receipt, now + drawGap(t, r, d)})
			continue
		}
		for range r.cost {
			admitted = append(admitted, now)
		}
	}
	return admitted
}

// worst is the most that were admitted in any closed window of length w.
func worst(admitted []int64, w int64) int {
	most, from := 0, 0
	for i, at := range admitted {
		for at-admitted[from] > w {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

func TestSlidingWindowNeverAdmitsMoreThanItsLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRule(t, SlidingWindow)
		if got := worst(arrivals(t, r), r.window); got > int(r.limit) {
			t.Fatalf("%d admitted in a window of %d", got, r.limit)
		}
	})
}

func TestTokenBucketNeverAdmitsMoreThanLimitAndBurst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRule(t, TokenBucket)
		if got := worst(arrivals(t, r), r.window); got > int(r.limit+r.burst) {
			t.Fatalf("%d admitted in a window of %d with burst %d", got, r.limit, r.burst)
		}
	})
}

func TestFixedWindowNeverAdmitsMoreThanItsLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRule(t, FixedWindow)
		counts := map[int64]uint64{}
		for _, at := range arrivals(t, r) {
			counts[at/r.window]++
		}
		for k, n := range counts {
			if n > r.limit {
				t.Fatalf("%d admitted in window %d of %d", n, k, r.limit)
			}
		}
	})
}

// TestPublishedBounds is the adversarial run of the documentation: bursts at the
// worst moments, a limit of 100.
func TestPublishedBounds(t *testing.T) {
	for name, tc := range map[string]struct {
		a     Algorithm
		burst uint64
		bound int
		// tight: the adversary gets at least that much.
		tight int
	}{
		"sliding":        {SlidingWindow, 0, 100, 100},
		"bucket":         {TokenBucket, 100, 200, 199},
		"bucket short":   {TokenBucket, 10, 110, 109},
		"fixed straddle": {FixedWindow, 0, 200, 200},
	} {
		t.Run(name, func(t *testing.T) {
			r := rule(t, tc.a, 100, 16, tc.burst)
			var s State
			var admitted []int64
			for now := r.window - 1000; now < 3*r.window; now += 500 {
				for r.Take(&s, now, true).Allowed {
					admitted = append(admitted, now)
				}
			}
			if got := worst(admitted, r.window); got > tc.bound || got < tc.tight {
				t.Errorf("worst window admitted %d, want %d to %d", got, tc.tight, tc.bound)
			}
		})
	}
}

// TestDecisionsSayTheTruth: after any history, the Remaining units pass at once and
// no request more; Retry is the first moment at which the next one does.
func TestDecisionsSayTheTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SampledFrom([]Algorithm{SlidingWindow, TokenBucket, FixedWindow}).Draw(t, "algorithm")
		r := drawRule(t, a)
		var s State
		var d Decision
		now := rapid.Int64Range(0, 10*r.window).Draw(t, "start")
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			now += drawGap(t, r, d)
			before := s
			d = r.Take(&s, now, true)
			if !d.Allowed && s != before {
				t.Fatal("a denial changed the state")
			}
		}
		probe := s
		for spent := r.cost; spent <= d.Remaining; spent += r.cost {
			if !r.Take(&probe, now, true).Allowed {
				t.Fatalf("unit %d of %d remaining was denied", spent, d.Remaining)
			}
		}
		full := r.Take(&probe, now, true)
		if full.Allowed || full.Remaining >= r.cost || full.Retry <= 0 {
			t.Fatalf("after the remaining ones: %+v", full)
		}
		if r.Take(&probe, now+full.Retry-1, false).Allowed {
			t.Fatalf("allowed before retry %d", full.Retry)
		}
		if !r.Take(&probe, now+full.Retry, true).Allowed {
			t.Fatalf("denied after retry %d", full.Retry)
		}
	})
}

// TestStateHeals: whatever rules and clocks a state has seen, from the first look
// under a rule it takes a window and a slot, or the time of a burst, until it is
// whole again.
func TestStateHeals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SampledFrom([]Algorithm{SlidingWindow, TokenBucket, FixedWindow}).Draw(t, "algorithm")
		var s State
		var r Rule
		now := rapid.Int64Range(0, 1000*second).Draw(t, "start")
		for range rapid.IntRange(1, 6).Draw(t, "rules") {
			r = drawRule(t, rapid.SampledFrom([]Algorithm{a, a, a, SlidingWindow, TokenBucket}).Draw(t, "now"))
			now = max(0, now+rapid.Int64Range(-100*second, 100*second).Draw(t, "step"))
			for range rapid.IntRange(0, 50).Draw(t, "requests") {
				r.Take(&s, now, true)
			}
		}
		r.Take(&s, now, false)
		end := r.window + r.window/Slots
		if r.algorithm == TokenBucket {
			end = int64(float64(r.burst)*r.Interval()) + Reserve + 1
		}
		d := r.Take(&s, now+end, false)
		want := r.limit
		if r.algorithm == TokenBucket {
			want = r.burst
		}
		if d.Remaining != want {
			t.Fatalf("after %d µs %d of %d remain", end, d.Remaining, want)
		}
	})
}

// TestForgettingWhatHasExpired: a state that says it has expired decides as a fresh
// one does.
func TestForgettingWhatHasExpired(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRule(t, rapid.SampledFrom([]Algorithm{SlidingWindow, TokenBucket, FixedWindow}).Draw(t, "algorithm"))
		var s, fresh State
		var d Decision
		now := rapid.Int64Range(0, 10*r.window).Draw(t, "start")
		for range rapid.IntRange(1, 30).Draw(t, "requests") {
			now += drawGap(t, r, d)
			d = r.Take(&s, now, true)
		}
		for _, at := range []int64{now + d.Reset - 1, now + d.Reset, now + drawGap(t, r, d), now + 3*r.window, now + 40*r.window} {
			if !s.Expired(at) {
				continue
			}
			if diff := cmp.Diff(r.Take(&fresh, at, false), r.Take(&s, at, false)); diff != "" {
				t.Fatalf("at %d (-fresh +expired)\n%s", at-now, diff)
			}
		}
		if !s.Expired(now + 40*r.window) {
			t.Fatal("a state does not expire")
		}
	})
}

// TestChangedLimitKeepsWhatWasCounted: a change of limit or window gives nobody
// anything that the rule before had spent already.
func TestChangedLimitKeepsWhatWasCounted(t *testing.T) {
	for name, tc := range map[string]struct {
		before, after Rule
		want          uint64
	}{
		"sliding, limit raised":    {rule(t, SlidingWindow, 5, 60, 0), rule(t, SlidingWindow, 7, 60, 0), 2},
		"sliding, limit lowered":   {rule(t, SlidingWindow, 5, 60, 0), rule(t, SlidingWindow, 3, 60, 0), 0},
		"sliding, window shorter":  {rule(t, SlidingWindow, 5, 60, 0), rule(t, SlidingWindow, 5, 10, 0), 0},
		"sliding, window longer":   {rule(t, SlidingWindow, 5, 10, 0), rule(t, SlidingWindow, 9, 60, 0), 4},
		"fixed, limit raised":      {rule(t, FixedWindow, 5, 60, 0), rule(t, FixedWindow, 7, 60, 0), 2},
		"fixed, window longer":     {rule(t, FixedWindow, 5, 60, 0), rule(t, FixedWindow, 7, 3600, 0), 2},
		"bucket, burst lowered":    {rule(t, TokenBucket, 60, 60, 60), rule(t, TokenBucket, 60, 60, 10), 0},
		"bucket, rate raised":      {rule(t, TokenBucket, 60, 60, 60), rule(t, TokenBucket, 600, 60, 600), 0},
		"another algorithm: fresh": {rule(t, FixedWindow, 5, 60, 0), rule(t, SlidingWindow, 5, 60, 0), 5},
	} {
		t.Run(name, func(t *testing.T) {
			var s State
			now := 3600 * second
			for tc.before.Take(&s, now, true).Allowed {
			}
			if got := tc.after.Take(&s, now, false).Remaining; got != tc.want {
				t.Errorf("remaining %d, want %d", got, tc.want)
			}
		})
	}
}

// TestHighRates: a period of no whole number of µs neither gains nor loses.
func TestHighRates(t *testing.T) {
	for name, limit := range map[string]uint64{"1M/s": 1_000_000, "300k/s": 300_000, "333,333/s": 333_333} {
		t.Run(name, func(t *testing.T) {
			r := rule(t, TokenBucket, limit, 1, 100)
			var s State
			rng := rand.New(rand.NewPCG(1, 2))
			n := uint64(0)
			now, end := 6*365*24*3600*second, 6*365*24*3600*second+2*second
			for ; now < end; now += rng.Int64N(3) {
				for r.Take(&s, now, true).Allowed {
					n++
				}
			}
			if want := 2*limit + 100; n > want || n < want-2 {
				t.Errorf("%d admitted in 2 s, want %d", n, want)
			}
		})
	}
}

func TestNewRuleRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		a                    Algorithm
		limit, window, burst uint64
		want                 string
	}{
		"no window":      {SlidingWindow, 1, 0, 0, "window of 0 s is not between 1 and 31622400"},
		"no limit":       {SlidingWindow, 0, 1, 0, "limit 0 is not between 1 and 1000000 per second of its window"},
		"too fast":       {FixedWindow, 1_000_001, 1, 0, "limit 1000001 is not between 1 and 1000000 per second of its window"},
		"no burst":       {TokenBucket, 1, 1, 0, "burst 0 is not between 1 and 10 times the limit"},
		"burst too big":  {TokenBucket, 1, 1, 11, "burst 11 is not between 1 and 10 times the limit"},
		"stray burst":    {SlidingWindow, 1, 1, 1, "burst 1 is set, which only a TokenBucket has"},
		"unknown":        {9, 1, 1, 0, "algorithm 9 is unknown"},
		"uncountable":    {SlidingWindow, 5_000_000_000, 86400, 0, "limit 5000000000 is more than the 4294967295 a SlidingWindow can count"},
		"limit overflow": {SlidingWindow, 1, 1 << 63, 0, "window of 9223372036854775808 s is not between 1 and 31622400"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewRule(tc.a, tc.limit, tc.window, tc.burst)
			if err == nil || err.Error() != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestCostingRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		r    Rule
		n    uint64
		want string
	}{
		"nothing":        {rule(t, SlidingWindow, 5, 60, 0), 0, "cost 0 is not between 1 and 5"},
		"over the limit": {rule(t, FixedWindow, 5, 60, 0), 6, "cost 6 is not between 1 and 5"},
		"over the burst": {rule(t, TokenBucket, 5, 60, 3), 4, "cost 4 is not between 1 and 3"},
		"absurd":         {rule(t, FixedWindow, 60_000_000, 60, 0), 1_000_001, "cost 1000001 is not between 1 and 1000000"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tc.r.Costing(tc.n); err == nil || err.Error() != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestShare(t *testing.T) {
	for name, tc := range map[string]struct {
		r    Rule
		pods uint32
		want Rule
	}{
		"nobody known":  {rule(t, SlidingWindow, 5, 60, 0), 0, rule(t, SlidingWindow, 5, 60, 0)},
		"alone":         {rule(t, SlidingWindow, 5, 60, 0), 1, rule(t, SlidingWindow, 5, 60, 0)},
		"two":           {rule(t, SlidingWindow, 5, 60, 0), 2, rule(t, SlidingWindow, 2, 60, 0)},
		"more than it":  {rule(t, SlidingWindow, 5, 60, 0), 9, rule(t, SlidingWindow, 1, 60, 0)},
		"burst divided": {rule(t, TokenBucket, 600, 60, 60), 4, rule(t, TokenBucket, 150, 60, 15)},
		"room for one":  {costing(t, rule(t, SlidingWindow, 6, 60, 0), 3), 5, costing(t, rule(t, SlidingWindow, 3, 60, 0), 3)},
		"one at a time": {costing(t, rule(t, TokenBucket, 600, 60, 6), 3), 4, costing(t, rule(t, TokenBucket, 150, 60, 3), 3)},
		"burst of one":  {rule(t, TokenBucket, 600, 60, 2), 4, rule(t, TokenBucket, 150, 60, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.r.Share(tc.pods), cmp.AllowUnexported(Rule{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func BenchmarkTake(b *testing.B) {
	for name, r := range map[string]Rule{
		"sliding": rule(b, SlidingWindow, 1_000_000, 60, 0),
		"bucket":  rule(b, TokenBucket, 60_000_000, 60, 600),
		"fixed":   rule(b, FixedWindow, 60_000_000, 60, 0),
	} {
		b.Run(name, func(b *testing.B) {
			var s State
			now := int64(0)
			for b.Loop() {
				now += 20
				r.Take(&s, now, true)
			}
		})
	}
}
