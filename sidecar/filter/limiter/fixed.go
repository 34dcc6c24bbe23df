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

func (r *Rule) takeFixed(s *State, now int64, spend bool) (d Decision, healed bool) {
	from, to := r.span(now)
	if s.at != from || s.until != to {
		// What was counted in a window of another length that has not ended when
		// this one began, or in the future of a clock that has stepped back,
		// counts in this one.
		if s.at < 0 || s.until <= from {
			s.count = 0
		}
		healed = s.count > 0
		s.at, s.until = from, to
	}
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

func (r *Rule) refundFixed(s *State, from int64) {
	if _, to := r.span(from); s.at == from && s.until == to {
		s.count -= min(s.count, r.cost)
	}
}
