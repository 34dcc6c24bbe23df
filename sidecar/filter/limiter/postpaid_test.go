// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"testing"

	"pgregory.net/rapid"
)

// charge is what a request has cost so far, at the time of its first unit; what is
// debited later is a charge of its own.
type charge struct {
	at int64
	n  uint64
}

// inProgress is a request whose response is to come.
type inProgress struct {
	charge  int
	receipt int64
}

// TestPostpaidBound: whatever is debited and given back, and when, a request is let
// through only when the charges in the time before leave room for it.
func TestPostpaidBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain := drawRule(t, rapid.SampledFrom([]Algorithm{SlidingWindow, TokenBucket, FixedWindow}).Draw(t, "algorithm"))
		if rapid.Bool().Draw(t, "large") {
			plain = costing(t, plain, rapid.Uint64Range(1, plain.capacity()).Draw(t, "costs"))
		}
		r := plain.Postpaid()
		var s State
		var charges []charge
		var open []inProgress
		now := rapid.Int64Range(0, 10*r.window).Draw(t, "start")
		var d Decision
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			now += drawGap(t, r, d)
			if len(open) > 0 && rapid.Bool().Draw(t, "response") {
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				answer(t, &r, &s, now, open[i], &charges)
				open = append(open[:i], open[i+1:]...)
				continue
			}
			if d = r.Take(&s, now, true); !d.Allowed {
				continue
			}
			charges = append(charges, charge{now, r.cost})
			open = append(open, inProgress{len(charges) - 1, d.Receipt})
			hasRoom(t, &r, now, charges)
		}
	})
}

// answer tells the rule what a request has cost in the end.
func answer(t *rapid.T, r *Rule, s *State, now int64, p inProgress, charges *[]charge) {
	if rapid.Bool().Draw(t, "back") {
		n := rapid.Uint64Range(1, r.cost).Draw(t, "less")
		back := r.Times(n)
		back.Refund(s, now, p.receipt)
		(*charges)[p.charge].n -= n
		return
	}
	n := rapid.SampledFrom([]uint64{1, 2, r.limit, MaxDebit}).Draw(t, "more")
	r.Debit(s, now, n)
	*charges = append(*charges, charge{now, n})
}

func hasRoom(t *rapid.T, r *Rule, now int64, charges []charge) {
	sum := uint64(0)
	for i := len(charges) - 1; i >= 0; i-- {
		c := charges[i]
		back := now - c.at
		if back > r.window {
			return
		}
		if r.algorithm == FixedWindow && c.at/r.window != now/r.window {
			return
		}
		sum += c.n
		most := float64(r.limit)
		if r.algorithm == TokenBucket {
			most = float64(r.burst) + float64(back)/r.Interval() + 1e-6
		}
		if float64(sum) > most {
			t.Fatalf("%d units are charged within %d µs, %.1f are possible", sum, back, most)
		}
	}
}

// TestDebtsWearOff: no debt denies for longer than a window and a slot, or what the
// burst takes besides; and Retry is the first moment at which it does not.
func TestDebtsWearOff(t *testing.T) {
	for name, tc := range map[string]struct {
		r Rule
		// at the latest
		retry int64
	}{
		"sliding": {rule(t, SlidingWindow, 10, 60, 0), 64 * second},
		"bucket":  {rule(t, TokenBucket, 10, 60, 5), 66*second + Reserve},
		"fixed":   {rule(t, FixedWindow, 10, 60, 0), 60 * second},
	} {
		t.Run(name, func(t *testing.T) {
			r := tc.r.Postpaid()
			var s State
			now := 3601 * second
			for range 10 {
				r.Debit(&s, now, MaxDebit)
			}
			d := r.Take(&s, now, true)
			if d.Allowed || d.Remaining != 0 || d.Retry > tc.retry || d.Retry < 50*second {
				t.Fatalf("in debt: %+v", d)
			}
			if r.Take(&s, now+d.Retry-1, true).Allowed {
				t.Error("let through before the time that was said")
			}
			if !r.Take(&s, now+d.Retry, true).Allowed {
				t.Error("denied at the time that was said")
			}
		})
	}
}

// TestWhatIsGivenBackIsFree: requests that are given back, at once or a moment later,
// never add up.
func TestWhatIsGivenBackIsFree(t *testing.T) {
	for name, plain := range map[string]Rule{
		"sliding": rule(t, SlidingWindow, 10, 3600, 0),
		"bucket":  rule(t, TokenBucket, 10, 3600, 10),
		"fixed":   rule(t, FixedWindow, 10, 3600, 0),
	} {
		t.Run(name, func(t *testing.T) {
			r := plain.Postpaid()
			var s State
			now := 3600 * second
			r.Take(&s, now, true)
			for i := range 200 {
				var receipts []int64
				for range 9 {
					d := r.Take(&s, now, true)
					if !d.Allowed {
						t.Fatalf("round %d: %+v", i, d)
					}
					receipts = append(receipts, d.Receipt)
				}
				now += 20_000
				for _, receipt := range receipts {
					r.Refund(&s, now, receipt)
				}
			}
			if d := r.Take(&s, now, false); d.Remaining != 9 {
				t.Errorf("%d remain, want 9", d.Remaining)
			}
		})
	}
}

// TestReceiptsOutlivePlainRules: units are as many when a rule becomes postpaid, or is it
// no more.
func TestReceiptsOutlivePlainRules(t *testing.T) {
	plain := rule(t, TokenBucket, 10, 3600, 10)
	r := plain.Postpaid()
	var s State
	now := 3600 * second
	plain.Take(&s, now, true)
	receipt := r.Take(&s, now, true).Receipt
	r.Take(&s, now, true)
	r.Refund(&s, now, receipt)
	if d := plain.Take(&s, now, true); d.Remaining != 7 {
		t.Errorf("%d remain, want 7", d.Remaining)
	}
	// A receipt of before buys nothing more.
	now += 3600 * second
	r.Refund(&s, now, receipt)
	if d := r.Take(&s, now, true); d.Remaining != 9 {
		t.Errorf("%d remain, want 9", d.Remaining)
	}
}

// TestForgottenReceipts: a state that has expired has nothing that a receipt, while it
// lives, could be given back from.
func TestForgottenReceipts(t *testing.T) {
	plain := rule(t, TokenBucket, 10, 3600, 10)
	r := plain.Postpaid()
	var s State
	now := 3600 * second
	first, second := r.Take(&s, now, true).Receipt, r.Take(&s, now, true).Receipt
	r.Refund(&s, now, first)
	r.Refund(&s, now, second)
	if r.Take(&s, now, false).Remaining != 10 {
		t.Fatal("not whole")
	}
	if s.Expired(now) || !s.Expired(now+ReceiptLife) {
		t.Error("the state has to last as long as its receipts")
	}
	r.Take(&s, now, true)
	r.Refund(&s, now, second)
	if got := r.Take(&s, now, false).Remaining; got != 9 {
		t.Errorf("given back twice: %d remain, want 9", got)
	}
}
