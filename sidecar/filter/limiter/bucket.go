// SPDX-License-Identifier: Apache-2.0

package limiter

import "math"

// slack, in µs, absorbs the rounding of T = W/L, which is no whole number. It is
// a thousandth of the shortest T there can be.
const slack = 1e-3

// takeBucket is the GCRA. The theoretical arrival time is kept as a debt
// relative to the last request and not as an absolute time: doubles are a
// millionth of a microsecond apart there, so that rates of a million per second
// are exact.
func (r *Rule) takeBucket(s *State, now int64, spend bool, want uint64) (d Decision, healed bool) {
	t := r.Interval()
	tau := float64(r.burst) * t
	level, healed := r.settle(s, now)
	need := float64(r.cost) * t
	d = Decision{Allowed: level+need <= tau+slack}
	if d.Allowed && spend {
		level += need
		s.at, s.level = now, level
	}
	d.Receipt = now + int64(level+s.back)
	d.Remaining = uint64(math.Max((tau-level+slack)/t, 0))
	if d.Remaining < r.cost {
		d.Retry = max(1, int64(math.Ceil(level+need-tau-slack)))
	}
	d.Reset = int64(math.Ceil(level))
	if spend && r.leased && want > 0 {
		if room := math.Floor((tau+Reserve-level)/t + 1e-6); room >= 1 {
			d.Lease = Lease{N: uint64(min(float64(want), math.Ceil(room/2))), Level: int64(math.Ceil(level * 1000))}
			level += float64(d.Lease.N) * t
			s.at, s.level, healed = now, level, true
		}
	}
	return d, healed
}

// settle returns the debt at the time now, never more than there can be.
func (r *Rule) settle(s *State, now int64) (level float64, healed bool) {
	// The Reserve also where nothing is leased: pods that lease may share the bucket.
	ceiling := float64(r.burst)*r.Interval() + Reserve + float64(r.Debt())
	if s.at >= 0 {
		level = math.Max(s.level-float64(now-s.at), 0)
	}
	if s.at < 0 || float64(now-s.at) >= s.level+s.back {
		s.back = 0
	}
	if level > ceiling {
		s.back += level - ceiling
		level, healed = ceiling, true
		s.at, s.level = now, ceiling
	}
	return level, healed
}

// ReceiptLife is how long, in µs, what a bucket has let through can be given back.
const ReceiptLife = 600_000_000

// refundBucket lowers the debt. A bucket that had begun to refill since would refill
// twice, so that no more is given back than the debt has been all the time since. Nobody
// remembers each moment, but this is known: a receipt is tat+back at its time, which
// never goes down. So tat was never less since than the receipt without what is back now,
// and the debt never less than that without the present time.
func (r *Rule) refundBucket(s *State, now, receipt int64) {
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

// life is how long after at a bucket's state says something.
func (s *State) life() float64 {
	return math.Max(s.level, math.Min(s.level+s.back, ReceiptLife))
}
