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
	if !r.postpaid || s.at < 0 || float64(now-s.at) >= s.level+s.back {
		s.back = 0
	}
	if level > ceiling {
		if r.postpaid {
			s.back += level - ceiling
		}
		level, healed = ceiling, true
		s.at, s.level = now, ceiling
	}
	return level, healed
}

// refundBucket lowers the debt only while the bucket cannot have been whole since
// the receipt: afterwards time has given the tokens back already, and others
// would be too many.
func (r *Rule) refundBucket(s *State, now, receipt int64) {
	if s.at < 0 || now > receipt {
		return
	}
	s.level = math.Max(s.level-float64(r.cost)*r.Interval(), 0)
}
