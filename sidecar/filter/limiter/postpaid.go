// SPDX-License-Identifier: Apache-2.0

package limiter

// MaxDebit is the most that one response can cost.
const MaxDebit = 1_000_000_000

// Postpaid is the rule whose units are debited and given back long after they were
// taken: what requests cost is known with their responses. A bucket's debt can then go
// a window beyond the burst. In every window before a request that is let through, what
// was taken, debited and not given back leaves room for it.
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
