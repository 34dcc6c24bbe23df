// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"fmt"
	"math"
)

// Algorithm is how a limit counts.
type Algorithm uint8

// The algorithms; the zero value is none of them.
const (
	SlidingWindow Algorithm = iota + 1
	TokenBucket
	FixedWindow
	Concurrency
)

// Bounds of a rule.
const (
	// MaxRate is the most requests per second of window.
	MaxRate = 1_000_000
	// MaxWindowSeconds is a leap year.
	MaxWindowSeconds = 366 * 24 * 3600
	// MaxBurstFactor bounds a burst in multiples of the limit.
	MaxBurstFactor = 10
	// MaxCost is the most that a request can cost.
	MaxCost = 1_000_000
	// Slots is how many slots a sliding window has.
	Slots = 16
)

// Rule is a limit made ready to decide by. Immutable; comparable.
type Rule struct {
	algorithm Algorithm
	limit     uint64
	burst     uint64
	window    int64 // µs
	cost      uint64
	calendar  *Calendar // FixedWindow only; window is that of its longest period
	leased    bool      // TokenBucket only
	postpaid  bool
}

// NewRule checks and makes a rule, under which a request costs 1. The burst counts
// for TokenBucket only, where it must be at least 1.
func NewRule(a Algorithm, limit, windowSeconds, burst uint64) (Rule, error) {
	if windowSeconds < 1 || windowSeconds > MaxWindowSeconds {
		return Rule{}, fmt.Errorf("window of %d s is not between 1 and %d", windowSeconds, MaxWindowSeconds)
	}
	if limit < 1 || limit > MaxRate*windowSeconds {
		return Rule{}, fmt.Errorf("limit %d is not between 1 and %d per second of its window", limit, MaxRate)
	}
	r := Rule{algorithm: a, limit: limit, window: int64(windowSeconds) * 1e6, cost: 1}
	switch a {
	case SlidingWindow:
		if limit > math.MaxUint32 {
			return Rule{}, fmt.Errorf("limit %d is more than the %d a SlidingWindow can count", limit, uint32(math.MaxUint32))
		}
	case FixedWindow:
	case TokenBucket:
		if burst < 1 || burst > MaxBurstFactor*limit {
			return Rule{}, fmt.Errorf("burst %d is not between 1 and %d times the limit", burst, MaxBurstFactor)
		}
		r.burst = burst
		return r, nil
	default:
		return Rule{}, fmt.Errorf("algorithm %d is unknown", a)
	}
	if burst != 0 {
		return Rule{}, fmt.Errorf("burst %d is set, which only a TokenBucket has", burst)
	}
	return r, nil
}

// NewCalendarRule makes a FixedWindow whose windows are those of a calendar.
func NewCalendarRule(limit uint64, c *Calendar) (Rule, error) {
	r, err := NewRule(FixedWindow, limit, c.period.seconds(), 0)
	r.calendar = c
	return r, err
}

// Costing is the rule with another cost of a request, which must fit into the
// limit, or the burst of a TokenBucket.
func (r *Rule) Costing(n uint64) (Rule, error) {
	if n < 1 || n > min(MaxCost, r.capacity()) {
		return Rule{}, fmt.Errorf("cost %d is not between 1 and %d", n, min(MaxCost, r.capacity()))
	}
	c := *r
	c.cost = n
	return c, nil
}

// capacity is the most that can pass at once.
func (r *Rule) capacity() uint64 {
	if r.algorithm == TokenBucket {
		return r.burst
	}
	return r.limit
}

// Algorithm of the rule.
func (r *Rule) Algorithm() Algorithm { return r.algorithm }

// Limit is the number of requests per window.
func (r *Rule) Limit() uint64 { return r.limit }

// Burst is 0 but for TokenBucket.
func (r *Rule) Burst() uint64 { return r.burst }

// Calendar is nil for rules whose windows are all of one length.
func (r *Rule) Calendar() *Calendar { return r.calendar }

// Window in microseconds, 0 for Concurrency; with a calendar, of its longest period.
func (r *Rule) Window() int64 { return r.window }

// Cost of a request, in units of the limit.
func (r *Rule) Cost() uint64 { return r.cost }

// Interval is the window divided by the limit, in microseconds.
func (r *Rule) Interval() float64 { return float64(r.window) / float64(r.limit) }

// Share is the part of the rule that one of n pods enforces by itself: limit and
// burst divided, rounded down, but enough for one request.
func (r *Rule) Share(n uint32) Rule {
	s := *r
	if n < 2 {
		return s
	}
	least := r.cost
	if s.algorithm == TokenBucket {
		s.burst = max(least, s.burst/uint64(n))
		least = 1
	}
	s.limit = max(least, s.limit/uint64(n))
	return s
}

// Decision is what a rule says to one request, and where its key stands after.
type Decision struct {
	Allowed bool
	// Banned: a penalty holds, whatever the rule says.
	Banned bool
	// Remaining units that would be allowed at once.
	Remaining uint64
	// Retry is how long until a request can be allowed, in µs; 0 while Remaining is
	// enough for one.
	Retry int64
	// Reset is, in µs, how long until Remaining first grows (SlidingWindow), is
	// whole again (TokenBucket), or the window ends (FixedWindow).
	Reset int64
	// Receipt tells Refund what was spent.
	Receipt int64
	// Lease is what was granted besides, see Rule.Lease.
	Lease Lease
}

// State of one key under one rule. The zero value has seen no request.
type State struct {
	algorithm Algorithm
	// unit is the slot width under which at and counts were written, in µs.
	unit int64
	// at is the newest slot, when the window begins, or the time of level.
	at int64
	// level is a bucket's debt in µs: tat - at.
	level float64
	// back is what a bucket was given back, in µs, while receipts of before can still
	// be used, see refundBucket.
	back float64
	// count of a fixed window, or of requests in progress.
	count uint64
	// until is when a fixed window ends; of a penalty's state when the ban does, 0
	// when there is none.
	until int64
	// counts of the slots at-16 to at, each at its number modulo 17.
	counts [Slots + 1]uint32
}

// Take decides on one request at the time now (µs since Epoch) and counts it when
// it is allowed and spend is set; else s stays as it is, unless it is healed of a
// future that a clock has stepped back from, or a debt that the rule does not have
// any more: that must begin to wear off at once. Times before Epoch count as it.
func (r *Rule) Take(s *State, now int64, spend bool) Decision {
	now = max(now, 0)
	next := *s
	if next.algorithm != r.algorithm {
		next = State{algorithm: r.algorithm, at: -1}
	}
	var d Decision
	var healed bool
	switch r.algorithm {
	case SlidingWindow:
		d, healed = r.takeSliding(&next, now, spend)
	case TokenBucket:
		d, healed = r.takeBucket(&next, now, spend, 0)
	case Concurrency:
		d = r.takeConcurrency(&next, spend)
	default:
		d, healed = r.takeFixed(&next, now, spend)
	}
	if d.Allowed && spend || healed {
		*s = next
	}
	return d
}

// Refund takes back what a Take with that receipt has spent, as far as that is
// still counted.
func (r *Rule) Refund(s *State, now, receipt int64) {
	if s.algorithm != r.algorithm {
		return
	}
	switch r.algorithm {
	case SlidingWindow:
		r.refundSliding(s, now, receipt)
	case TokenBucket:
		r.refundBucket(s, now, receipt)
	case Concurrency:
		s.count -= min(s.count, 1)
	default:
		r.refundFixed(s, receipt)
	}
}

// Debit counts n units more of requests that were let through, whether there is room
// for them or not. Times before Epoch count as it.
func (r *Rule) Debit(s *State, now int64, n uint64) {
	now = max(now, 0)
	if s.algorithm != r.algorithm {
		*s = State{algorithm: r.algorithm, at: -1}
	}
	switch r.algorithm {
	case SlidingWindow:
		r.debitSliding(s, now, n)
	case TokenBucket:
		r.debitBucket(s, now, n)
	case FixedWindow:
		r.debitFixed(s, now, n)
	}
}

// Expired reports whether forgetting s at the time now changes no decision.
func (s *State) Expired(now int64) bool {
	switch s.algorithm {
	case SlidingWindow:
		return now/max(s.unit, 1) > s.at+Slots
	case TokenBucket:
		return float64(now-s.at) >= s.life()
	case FixedWindow:
		return now >= s.until
	case Concurrency:
		return s.count == 0
	case strikes:
		if s.until != 0 {
			return s.until <= now
		}
		return now/max(s.unit, 1) > s.at+Slots
	default:
		return true
	}
}
