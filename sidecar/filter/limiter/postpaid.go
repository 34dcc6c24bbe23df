// SPDX-License-Identifier: Apache-2.0

package limiter

import "math"

// MaxDebit is the most that one response can cost.
const MaxDebit = 1_000_000_000

// ReceiptLife is how long, in µs, what a postpaid bucket has taken can be given back.
const ReceiptLife = 600_000_000

// Postpaid is the rule whose units are debited and given back long after they were
// taken: what requests cost is known with their responses. A bucket's debt can then go
// a window beyond the burst. In every window before a request that is let through, what
// was taken, debited and not given back leaves room for it.
//
// A bucket that had begun to refill when something is given back would refill twice. So
// that nobody has to remember each moment, it is known of each receipt at least how deep
// the debt has been since: a receipt is tat+back at its time, which never goes down, so
// that tat was never less since than the receipt without what is back now. That much of
// the debt, at the present time, is what can be given back.
func (r *Rule) Postpaid() Rule {
	c := *r
	c.postpaid = r.algorithm != Concurrency
	return c
}

// IsPostpaid reports whether r is one of Postpaid.
func (r *Rule) IsPostpaid() bool { return r.postpaid }

// Debt is how far, in µs, a bucket's debt can go beyond its burst; 0 for rules that
// are not paid for later.
func (r *Rule) Debt() int64 {
	if r.postpaid && r.algorithm == TokenBucket {
		return r.window
	}
	return 0
}

// life is how long after at a bucket's state says something.
func (s *State) life() float64 {
	return math.Max(s.level, math.Min(s.level+s.back, ReceiptLife))
}

func (r *Rule) debitBucket(s *State, now int64, n uint64) {
	t := r.Interval()
	level, _ := r.settle(s, now)
	ceiling := float64(r.burst)*t + Reserve + float64(r.Debt())
	next := level + float64(n)*t
	if next > ceiling {
		// What is beyond is forgiven, so that nothing of before is given back besides.
		s.back += level
		next = ceiling
	}
	s.at, s.level = now, next
}

func (r *Rule) giveBack(s *State, now, receipt int64) {
	if s.at < 0 {
		return
	}
	left := math.Max(s.level-float64(now-s.at), 0)
	give := math.Min(math.Min(float64(r.cost)*r.Interval(), float64(receipt-now)-s.back), left)
	if give > 0 {
		s.level -= give
		s.back += give
	}
}
