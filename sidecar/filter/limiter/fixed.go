// SPDX-License-Identifier: Apache-2.0

package limiter

func (r *Rule) takeFixed(s *State, now int64, spend bool) (d Decision, healed bool) {
	k := now / r.window
	if s.at != k || s.unit != r.window {
		// What was counted in a window of another length that has not ended when
		// this one began, or in the future of a clock that has stepped back,
		// counts in this one.
		if s.at < 0 || (s.at+1)*s.unit <= k*r.window {
			s.count = 0
		}
		healed = s.count > 0
		s.at, s.unit = k, r.window
	}
	d = Decision{Allowed: s.count+r.cost <= r.limit, Receipt: k}
	if d.Allowed && spend {
		s.count += r.cost
	}
	d.Reset = (k+1)*r.window - now
	if s.count < r.limit {
		d.Remaining = r.limit - s.count
	}
	if d.Remaining < r.cost {
		d.Retry = d.Reset
	}
	return d, healed
}

func (r *Rule) refundFixed(s *State, k int64) {
	if s.at == k && s.unit == r.window {
		s.count -= min(s.count, r.cost)
	}
}
