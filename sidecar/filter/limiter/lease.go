// SPDX-License-Identifier: Apache-2.0

package limiter

// Tokens of a lease are paid for before they are spent. They may be granted up to
// Reserve ahead of the time at which they may be spent, and must be spent within
// LeaseLife of the moment at which they were asked for, both in µs. Together that is
// twice the horizon H of 50 ms, so that with leases a TokenBucket of limit L, burst B
// and window W admits at most L + B + 2·L·H/W in any window: what was paid for within
// a window and LeaseLife before it, where Reserve at most was owed beyond the burst.
const (
	Horizon   = 50_000
	Reserve   = 25_000
	LeaseLife = 75_000
)

// Lease is tokens that were granted at once.
type Lease struct {
	N uint64
	// Level is the bucket's debt before them, in thousandths of a µs: token k, from
	// 1, may be spent when Level + k·Interval − burst·Interval has gone by.
	Level int64
}

// NotBefore is how long after the grant the first token of l may be spent, in µs;
// often below 0.
func (r *Rule) NotBefore(l Lease) float64 {
	return float64(l.Level)/1000 + (1-float64(r.burst))*r.Interval()
}

// Leased is the rule whose tokens are leased; only of a TokenBucket.
func (r *Rule) Leased() Rule {
	c := *r
	c.leased = r.algorithm == TokenBucket
	return c
}

// IsLeased reports whether tokens of r are leased.
func (r *Rule) IsLeased() bool { return r.leased }

// Times is the rule with another cost, unchecked: 0 for a request of tokens only, more
// than the burst for a refund of many.
func (r *Rule) Times(cost uint64) Rule {
	c := *r
	c.cost = cost
	return c
}

// Lease is Take with a request for further tokens. Half of what there is at the most
// is granted to one, whatever is decided on the request itself.
func (r *Rule) Lease(s *State, now int64, want uint64) Decision {
	now = max(now, 0)
	if s.algorithm != TokenBucket {
		*s = State{algorithm: TokenBucket, at: -1}
	}
	next := *s
	d, healed := r.takeBucket(&next, now, true, want)
	if d.Allowed || healed {
		*s = next
	}
	return d
}

// Ask is a question that a request puts to the store itself.
type Ask struct {
	// Want is how many tokens to ask for besides.
	Want uint64
	// Sent is when, by the clock of whoever holds the lease.
	Sent int64
}
