// SPDX-License-Identifier: Apache-2.0

package limiter

// takeSliding admits when the slots j-16 to j, the oldest whole, leave room for the
// request.
func (r *Rule) takeSliding(s *State, now int64, spend bool) (d Decision, healed bool) {
	width := r.window / Slots
	j := now / width
	healed = s.slide(j, width)

	var sum uint64
	for _, c := range s.counts {
		sum += uint64(c)
	}
	d = Decision{Allowed: sum+r.cost <= r.limit, Receipt: j}
	if d.Allowed && spend {
		s.counts[j%(Slots+1)] += uint32(r.cost)
		sum += r.cost
	}
	if sum < r.limit {
		d.Remaining = r.limit - sum
	}
	left := sum
	for i := j - Slots; i <= j; i++ {
		c := s.countAt(i)
		if c == 0 {
			continue
		}
		// A slot leaves the sum when 17 slots have begun after it.
		leaves := (i+Slots+1)*width - now
		if d.Reset == 0 {
			d.Reset = leaves
		}
		left -= uint64(c)
		if sum+r.cost > r.limit && left+r.cost <= r.limit {
			d.Retry = leaves
			break
		}
	}
	return d, healed
}

func (s *State) countAt(slot int64) uint32 {
	if slot < 0 {
		return 0
	}
	return s.counts[slot%(Slots+1)]
}

// slide moves the slots so that j is the newest. Slots of another width, after a
// change of the window, count at the last moment they can have been; slots of
// the future, after a clock has stepped back, count as now.
func (s *State) slide(j, width int64) (healed bool) {
	if s.at == j && s.unit == width {
		return false
	}
	if s.at < 0 {
		s.at, s.unit = j, width
		return false
	}
	if s.unit == width && j > s.at {
		for i := s.at + 1; i <= j && i <= s.at+Slots+1; i++ {
			s.counts[i%(Slots+1)] = 0
		}
		s.at = j
		return false
	}
	old, at, unit := s.counts, s.at, s.unit
	s.counts, s.at, s.unit = [Slots + 1]uint32{}, j, width
	for i := max(0, at-Slots); i <= at; i++ {
		c := old[i%(Slots+1)]
		to := i
		if unit != width {
			to = ((i+1)*unit - 1) / width
		}
		healed = healed || c > 0 && to > j
		to = min(to, j)
		if to >= j-Slots {
			p := &s.counts[to%(Slots+1)]
			*p = uint32(min(uint64(*p)+uint64(c), 1<<32-1))
		}
	}
	return healed
}

func (r *Rule) debitSliding(s *State, now int64, n uint64) {
	width := r.window / Slots
	j := now / width
	s.slide(j, width)
	p := &s.counts[j%(Slots+1)]
	*p = uint32(min(uint64(*p)+n, 1<<32-1))
}

// refundSliding lowers a slot that is in the window, of s and of now.
func (r *Rule) refundSliding(s *State, now, slot int64) {
	width := r.window / Slots
	if s.unit != width || slot > min(s.at, now/width) || slot < max(s.at, now/width)-Slots {
		return
	}
	p := &s.counts[slot%(Slots+1)]
	*p -= uint32(min(uint64(*p), r.cost))
}
