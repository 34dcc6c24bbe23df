// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"sync"
	"sync/atomic"

	"weir.dev/weir/sidecar/filter/limiter"
)

// maxDenials bounds the keys of which a limit's denials are kept.
const maxDenials = 1 << 12

// shortest, in µs, is the wait that is worth keeping: a store answers in less.
const shortest = 1000

// longest, in µs, is how long a denial is kept that can end before its time, because
// something is given back.
const longest = 1_000_000

// Denials remembers what a store has denied, until the moment at which it can say
// otherwise: a key that is denied costs no call until then. What finds no room is
// not kept. Safe for concurrent use.
type Denials struct {
	now    func() int64
	of     any
	used   atomic.Int64
	shards [shards]denialShard
}

type denialShard struct {
	sync.Mutex
	by map[limiter.Key]denial
	// swept is when the shard was last found full, see sweepPause.
	swept int64
}

type denial struct {
	at int64
	// until when it is kept, retry until when it holds.
	until, retry int64
	// rule and penalty are those it was denied under.
	rule    limiter.Rule
	penalty limiter.Penalty
	d       limiter.Decision
}

// Put remembers a denial that has been learned now. Its Retry counts from now: it is
// kept for longer than it holds at the store by the time that the answer took, never
// for less. p may be nil.
func (c *Denials) Put(key limiter.Key, r *limiter.Rule, p *limiter.Penalty, d limiter.Decision) {
	if d.Allowed || d.Retry < shortest {
		return
	}
	s := &c.shards[int(key[0])%shards]
	s.Lock()
	defer s.Unlock()
	now := c.now()
	if _, ok := s.by[key]; !ok {
		if len(s.by) >= maxDenials/shards {
			if now-s.swept < sweepPause {
				return
			}
			s.swept = now
			if c.sweep(s, now); len(s.by) >= maxDenials/shards {
				return
			}
		}
		c.used.Add(1)
	}
	if s.by == nil {
		s.by = map[limiter.Key]denial{}
	}
	e := denial{at: now, until: now + d.Retry, retry: now + d.Retry, rule: *r, d: d}
	if r.IsPostpaid() && !d.Banned {
		e.until = min(e.until, now+longest)
	}
	if p != nil {
		e.penalty = *p
	}
	s.by[key] = e
}

// Get returns the denial that still holds for key under the same rule and penalty.
func (c *Denials) Get(key limiter.Key, r *limiter.Rule, p *limiter.Penalty) (limiter.Decision, bool) {
	if c.used.Load() == 0 {
		return limiter.Decision{}, false
	}
	s := &c.shards[int(key[0])%shards]
	s.Lock()
	defer s.Unlock()
	e, ok := s.by[key]
	if !ok {
		return limiter.Decision{}, false
	}
	now := c.now()
	if now >= e.until || e.rule != *r || p == nil && e.penalty != (limiter.Penalty{}) || p != nil && e.penalty != *p {
		delete(s.by, key)
		c.used.Add(-1)
		return limiter.Decision{}, false
	}
	d := e.d
	d.Retry = e.retry - now
	d.Reset = max(0, d.Reset-(now-e.at))
	return d, true
}

// Sweep forgets what does not hold any more.
func (c *Denials) Sweep() {
	for i := range c.shards {
		s := &c.shards[i]
		s.Lock()
		c.sweep(s, c.now())
		if len(s.by) == 0 {
			s.by = nil
		}
		s.Unlock()
	}
}

func (c *Denials) sweep(s *denialShard, now int64) {
	for key, e := range s.by {
		if now >= e.until {
			delete(s.by, key)
			c.used.Add(-1)
		}
	}
}

// Len is how many keys are denied.
func (c *Denials) Len() int { return int(c.used.Load()) }
