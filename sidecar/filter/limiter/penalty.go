// SPDX-License-Identifier: Apache-2.0

package limiter

import "fmt"

// MaxDenials bounds those of a penalty.
const MaxDenials = 1_000_000

// strikes is the algorithm of a penalty's state.
const strikes Algorithm = 200

// Penalty bans a key that goes on after many denials. Denials are counted in slots
// as a SlidingWindow's: so many within any window of its length bring the ban, and
// no fewer than that within 17/16 of it. Immutable; comparable.
type Penalty struct {
	denials uint64
	within  int64 // µs
	ban     int64 // µs
}

// NewPenalty checks and makes a penalty.
func NewPenalty(denials, withinSeconds, banSeconds uint64) (Penalty, error) {
	switch {
	case denials < 1 || denials > MaxDenials:
		return Penalty{}, fmt.Errorf("denials %d is not between 1 and %d", denials, MaxDenials)
	case withinSeconds < 1 || withinSeconds > MaxWindowSeconds:
		return Penalty{}, fmt.Errorf("within of %d s is not between 1 and %d", withinSeconds, MaxWindowSeconds)
	case banSeconds < 1 || banSeconds > MaxWindowSeconds:
		return Penalty{}, fmt.Errorf("ban of %d s is not between 1 and %d", banSeconds, MaxWindowSeconds)
	}
	return Penalty{denials: denials, within: int64(withinSeconds) * 1e6, ban: int64(banSeconds) * 1e6}, nil
}

// Denials that bring the ban.
func (p *Penalty) Denials() uint64 { return p.denials }

// Within which they are counted, in µs.
func (p *Penalty) Within() int64 { return p.within }

// Ban is how long it lasts, in µs.
func (p *Penalty) Ban() int64 { return p.ban }

// Banned is how long the key is banned yet, in µs; 0: it is not. A ban that ends
// later than one that begins now, after a step of the clock or under a penalty that
// was longer, is cut to that.
func (p *Penalty) Banned(s *State, now int64) int64 {
	if s.algorithm != strikes || s.until <= now {
		return 0
	}
	s.until = min(s.until, now+p.ban)
	return s.until - now
}

// Strike counts a denial of a key that is not banned, and returns how long it is
// banned for it, in µs; 0: not yet. After a ban the count begins afresh.
func (p *Penalty) Strike(s *State, now int64) int64 {
	now = max(now, 0)
	if s.algorithm != strikes || s.until != 0 {
		*s = State{algorithm: strikes, at: -1}
	}
	width := p.within / Slots
	j := now / width
	s.slide(j, width)
	s.counts[j%(Slots+1)]++
	var sum uint64
	for _, c := range s.counts {
		sum += uint64(c)
	}
	if sum < p.denials {
		return 0
	}
	*s = State{algorithm: strikes, until: now + p.ban}
	return p.ban
}

// BannedFor is the decision on a key that is banned for left µs.
func BannedFor(left int64) Decision {
	return Decision{Banned: true, Retry: left, Reset: left}
}
