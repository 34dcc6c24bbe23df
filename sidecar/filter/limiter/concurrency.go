// SPDX-License-Identifier: Apache-2.0

package limiter

import "fmt"

// MaxConcurrency is the most requests that can be in progress under one limit.
const MaxConcurrency = 1_000_000

// NewConcurrency makes a rule that bounds how many requests are in progress. What
// Take admits counts until Refund.
func NewConcurrency(limit uint64) (Rule, error) {
	if limit < 1 || limit > MaxConcurrency {
		return Rule{}, fmt.Errorf("limit %d is not between 1 and %d requests in progress", limit, MaxConcurrency)
	}
	return Rule{algorithm: Concurrency, limit: limit, cost: 1}, nil
}

func (r *Rule) takeConcurrency(s *State, spend bool) (d Decision) {
	d.Allowed = s.count < r.limit
	if d.Allowed && spend {
		s.count++
	}
	if s.count < r.limit {
		d.Remaining = r.limit - s.count
	}
	return d
}

// InProgress reports whether s counts requests in progress: each is taken back where
// it was counted, so that a copy would count for ever.
func (s *State) InProgress() bool { return s.algorithm == Concurrency }
