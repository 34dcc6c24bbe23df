// SPDX-License-Identifier: Apache-2.0

package limiter

// span is where the window around now begins and ends.
func (r *Rule) span(now int64) (from, to int64) {
	if r.calendar != nil {
		return r.calendar.Window(now)
	}
	from = now / r.window * r.window
	return from, from + r.window
}

// turn moves s to the window around now.
func (r *Rule) turn(s *State, now int64) (healed bool) {
	from, to := r.span(now)
	if s.at == from && s.until == to {
		return false
	}
	// What was counted in a window of another length that has not ended when
	// this one began, or in the future of a clock that has stepped back,
	// counts in this one.
	if s.at < 0 || s.until <= from {
		s.count = 0
	}
	s.at, s.until = from, to
	return s.count > 0
}

func (r *Rule) takeFixed(s *State, now int64, spend bool) (d Decision, healed bool) {
	healed = r.turn(s, now)
	from, to := s.at, s.until
	d = Decision{Allowed: s.count+r.cost <= r.limit, Receipt: from}
	if d.Allowed && spend {
		s.count += r.cost
	}
	d.Reset = to - now
	if s.count < r.limit {
		d.Remaining = r.limit - s.count
	}
	if d.Remaining < r.cost {
		d.Retry = d.Reset
	}
	return d, healed
}

// mostCounted is what a fixed window counts to: doubles are exact up to there.
const mostCounted = 1e15

func (r *Rule) debitFixed(s *State, now int64, n uint64) {
	r.turn(s, now)
	s.count = min(s.count+n, max(s.count, mostCounted))
}

func (r *Rule) refundFixed(s *State, from int64) {
	if _, to := r.span(from); s.at == from && s.until == to {
		s.count -= min(s.count, r.cost)
	}
}
