// SPDX-License-Identifier: Apache-2.0

package redis

import "weir.dev/weir/sidecar/filter/limiter"

// Tokens are those of one limit, to be leased: a lease.Source.
type Tokens struct {
	store *Store
	id    string
}

// Tokens of the limit `<policy>/<limit>`.
func (s *Store) Tokens(id string) Tokens { return Tokens{s, id} }

// Refill asks for want tokens without waiting, and calls done once.
func (t Tokens) Refill(key limiter.Key, r *limiter.Rule, want uint64, done func(d limiter.Decision, ok bool)) {
	s, only := t.store, r.Times(0)
	c := s.calls.Get().(*call)
	c.load([]limiter.Op{{ID: t.id, Rule: &only, Key: key, Want: want}})
	c.then = func(ops []limiter.Op, err error) { done(ops[0].Decision, err == nil) }
	if s.state.Load() == closed {
		select {
		case s.queue <- c:
			return
		default:
			s.failed(KindOverload)
		}
	}
	s.calls.Put(c)
	// Whoever asks may hold a lock that done takes.
	go done(limiter.Decision{}, false)
}

// Refund gives back n tokens, of which the last has this receipt.
func (t Tokens) Refund(key limiter.Key, r *limiter.Rule, n uint64, receipt int64) {
	many := r.Times(n)
	t.store.Release(limiter.Op{ID: t.id, Rule: &many, Key: key, Decision: limiter.Decision{Receipt: receipt}})
}
