// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"math"
	"sync"

	"weir.dev/weir/sidecar/filter/limiter"
)

const (
	// shards is a power of two: many more than a sidecar has cores.
	shards = 32
	// maxKeys of a limit.
	maxKeys = 1 << 13
	// pause, in µs, between two questions to a store that has granted less than was
	// wanted: what it has to give meanwhile it owes ahead of time.
	pause = limiter.Reserve
	// idle, in µs, is when a key without requests is forgotten.
	idle = 10_000_000
)

// Source is what a table asks for tokens without waiting.
type Source interface {
	// Refill asks for want tokens, and calls done once with the answer, from another
	// goroutine; ok is false when there was none.
	Refill(key limiter.Key, r *limiter.Rule, want uint64, done func(d limiter.Decision, ok bool))
	// Refund gives back n tokens, of which the last has this receipt.
	Refund(key limiter.Key, r *limiter.Rule, n uint64, receipt int64)
}

// Table holds the leases of one limit. Safe for concurrent use.
type Table struct {
	now    func() int64
	source Source
	shards [shards]shard
}

type shard struct {
	sync.Mutex
	by    map[limiter.Key]*entry
	swept int64
}

// tokens are what is left of a lease.
type tokens struct {
	n uint64
	// next is when the first may be spent, every is between them; µs.
	next, every float64
	expires     int64
	// receipt is that of the first, as if it had been let through by itself.
	receipt float64
}

type entry struct {
	rule limiter.Rule
	// held is spent first, spare is what came before held was gone.
	held, spare tokens
	// asking: a question for tokens is on its way.
	asking bool
	// paused until when the store, which had less than was wanted, is left alone.
	paused int64
	// dry until when the store has nothing, as it has said: a debt can last for long.
	dry int64
	// left is what the store had beside, at the last answer.
	left uint64
	// demand, in tokens per µs, is an average; asked and since are the requests
	// after the last look.
	demand float64
	asked  uint64
	since  int64
	used   int64
}

// New returns a table. now is a monotonic clock in µs.
func New(now func() int64, source Source) *Table { return &Table{now: now, source: source} }

// Take decides on a request, when known is true. Else the store is to be asked, and
// Answered or Failed to be called when Want is not 0.
func (t *Table) Take(key limiter.Key, r *limiter.Rule) (d limiter.Decision, ask limiter.Ask, known bool) {
	s := &t.shards[int(key[0])%shards]
	s.Lock()
	defer s.Unlock()
	now := t.now()
	e := t.entry(s, key, r, now)
	if e == nil {
		return limiter.Decision{}, limiter.Ask{Sent: now}, false
	}
	cost := r.Cost()
	e.asked += cost
	e.used = now
	t.turn(key, e, now)
	if h := &e.held; h.n >= cost {
		at := h.next + float64(cost-1)*h.every
		if at <= float64(now) {
			d.Receipt = int64(h.receipt + float64(cost-1)*h.every)
			h.spend(cost)
			d.Allowed = true
		} else {
			d.Retry = int64(math.Ceil(at)) - now
		}
		t.refill(key, e, now)
		e.describe(&d, cost, now)
		return d, ask, true
	}
	if e.paused > now {
		d.Retry = max(e.paused, e.dry) - now
		e.describe(&d, cost, now)
		return d, ask, true
	}
	ask.Sent = now
	if !e.asking {
		ask.Want = e.want(now)
		e.asking = ask.Want > 0
	}
	return d, ask, false
}

// describe fills in what clients are told: what the process holds, and what the store
// had beside.
func (e *entry) describe(d *limiter.Decision, cost uint64, now int64) {
	if d.Allowed {
		d.Remaining = e.held.ready(now) + e.spare.ready(now) + e.left
		d.Reset = int64(math.Ceil(e.held.every * float64(e.rule.Burst()-min(e.rule.Burst(), d.Remaining))))
		if d.Remaining < cost {
			d.Retry = max(1, int64(math.Ceil(e.held.next))-now)
		}
		return
	}
	d.Reset = max(d.Retry, int64(math.Ceil(e.rule.Interval()*float64(e.rule.Burst()))))
}

// ready is how many may be spent now.
func (h *tokens) ready(now int64) uint64 {
	if h.n == 0 || h.next > float64(now) {
		return 0
	}
	return min(h.n, uint64((float64(now)-h.next)/h.every)+1)
}

func (h *tokens) spend(n uint64) {
	h.n -= n
	h.next += float64(n) * h.every
	h.receipt += float64(n) * h.every
}

// turn gives back what has expired, and goes on to what was in reserve.
func (t *Table) turn(key limiter.Key, e *entry, now int64) {
	for range 2 {
		if e.held.n > 0 && e.held.expires > now {
			return
		}
		t.refund(key, e, &e.held)
		e.held, e.spare = e.spare, tokens{}
	}
}

func (t *Table) refund(key limiter.Key, e *entry, h *tokens) {
	if h.n > 0 {
		t.source.Refund(key, &e.rule, h.n, int64(h.receipt+float64(h.n-1)*h.every))
	}
	*h = tokens{}
}

// want is how many tokens serve a key's demand over a horizon; 0 for keys whose
// requests are so far apart that each had better ask by itself.
func (e *entry) want(now int64) uint64 {
	if gone := now - e.since; gone >= limiter.Horizon/4 {
		rate := float64(e.asked) / float64(gone)
		// What was long ago counts little; a rise counts at once.
		keep := math.Exp(-float64(gone) / (4 * limiter.Horizon))
		e.demand = max(rate, keep*e.demand+(1-keep)*rate)
		e.asked, e.since = 0, now
	}
	return uint64(e.demand*limiter.Horizon + 0.5)
}

// refill asks for tokens beside the requests, when those that are held will not last.
func (t *Table) refill(key limiter.Key, e *entry, now int64) {
	if e.asking || e.spare.n > 0 || e.paused > now {
		return
	}
	want := uint64(e.demand * limiter.Horizon)
	if e.held.n > want/4 && e.held.expires-now > limiter.LeaseLife/4 {
		return
	}
	if want = e.want(now); want == 0 {
		return
	}
	e.asking = true
	r := e.rule
	t.source.Refill(key, &r, want, func(d limiter.Decision, ok bool) {
		if ok {
			t.Answered(key, &r, limiter.Ask{Want: want, Sent: now}, d)
		} else {
			t.Failed(key, limiter.Ask{Want: want})
		}
	})
}

// Answered takes what the store granted to ask.
func (t *Table) Answered(key limiter.Key, r *limiter.Rule, ask limiter.Ask, d limiter.Decision) {
	if ask.Want == 0 {
		return
	}
	s := &t.shards[int(key[0])%shards]
	s.Lock()
	defer s.Unlock()
	now := t.now()
	got := tokens{n: d.Lease.N, every: r.Interval(), expires: ask.Sent + limiter.LeaseLife}
	got.next = float64(now) + r.NotBefore(d.Lease)
	got.receipt = float64(d.Receipt) + got.every
	e := s.by[key]
	if e == nil || e.rule != *r {
		t.refund(key, &entry{rule: *r}, &got)
		return
	}
	e.asking = false
	e.left = d.Remaining - min(d.Remaining, got.n)
	e.paused, e.dry = 0, 0
	if !d.Allowed {
		e.dry = now + d.Retry
	}
	// A limit whose tokens come slowly says itself when it can be asked again.
	if got.n < ask.Want && got.every < pause {
		e.paused = now + pause
	}
	t.turn(key, e, now)
	if e.held.n == 0 {
		e.held = got
		return
	}
	t.refund(key, e, &e.spare)
	e.spare = got
}

// Failed says that ask had no answer.
func (t *Table) Failed(key limiter.Key, ask limiter.Ask) {
	if ask.Want == 0 {
		return
	}
	s := &t.shards[int(key[0])%shards]
	s.Lock()
	defer s.Unlock()
	if e := s.by[key]; e != nil {
		e.asking = false
	}
}

// Return takes back the tokens of a request that Take has allowed and something else
// denied.
func (t *Table) Return(key limiter.Key, r *limiter.Rule) {
	s := &t.shards[int(key[0])%shards]
	s.Lock()
	defer s.Unlock()
	if e := s.by[key]; e != nil && e.rule == *r && (e.held.n > 0 || e.held.every > 0) {
		e.held.n += r.Cost()
		e.held.next -= float64(r.Cost()) * e.held.every
		e.held.receipt -= float64(r.Cost()) * e.held.every
	}
}

// entry is nil when there is no room for the key.
func (t *Table) entry(s *shard, key limiter.Key, r *limiter.Rule, now int64) *entry {
	e := s.by[key]
	if e != nil {
		if e.rule != *r {
			t.drop(key, e)
			*e = entry{rule: *r, since: now}
		}
		return e
	}
	if len(s.by) >= maxKeys/shards {
		if now-s.swept < idle/10 {
			return nil
		}
		s.swept = now
		if t.sweep(s, now); len(s.by) >= maxKeys/shards {
			return nil
		}
	}
	if s.by == nil {
		s.by = map[limiter.Key]*entry{}
	}
	e = &entry{rule: *r, since: now}
	s.by[key] = e
	return e
}

func (t *Table) drop(key limiter.Key, e *entry) {
	t.refund(key, e, &e.held)
	t.refund(key, e, &e.spare)
}

func (t *Table) sweep(s *shard, now int64) {
	for key, e := range s.by {
		if now-e.used > idle && !e.asking {
			t.drop(key, e)
			delete(s.by, key)
		}
	}
}

// Sweep forgets keys without requests.
func (t *Table) Sweep() {
	for i := range t.shards {
		s := &t.shards[i]
		s.Lock()
		t.sweep(s, t.now())
		s.Unlock()
	}
}

// Close gives back everything.
func (t *Table) Close() {
	for i := range t.shards {
		s := &t.shards[i]
		s.Lock()
		for key, e := range s.by {
			t.drop(key, e)
		}
		s.by = nil
		s.Unlock()
	}
}
