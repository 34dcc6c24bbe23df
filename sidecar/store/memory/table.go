// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"sync"
	"sync/atomic"

	"weir.dev/weir/sidecar/filter/limiter"
)

// shards is a power of two: many more than a sidecar has cores.
const shards = 32

// Table keeps the keys of one limit. Safe for concurrent use.
type Table struct {
	now    func() int64
	shards [shards]shard
	// overflow is the bucket of all keys that find no room. It has a lock of its
	// own: keys of every shard meet there.
	overflow struct {
		sync.Mutex
		used  atomic.Bool
		state limiter.State
	}
}

type shard struct {
	sync.Mutex
	max    int
	index  map[limiter.Key]uint32
	states []limiter.State
	free   []uint32
	// swept is when the shard was last found full: it is not searched again for
	// room before the clock has moved on.
	swept int64
}

// sweepPause, in µs, is between two searches of a full shard for room.
const sweepPause = 100_000

func newTable(opts Options) *Table {
	t := &Table{now: opts.Now}
	for i := range t.shards {
		t.shards[i].max = max(1, opts.MaxKeys/shards)
	}
	return t
}

// Take decides on one request of key, counting it when spend is set and the rule
// allows it.
func (t *Table) Take(key limiter.Key, r *limiter.Rule, spend bool) limiter.Decision {
	s := &t.shards[int(key[0])%shards]
	s.Lock()
	// Inside the lock, so that time never goes back for a key.
	now := t.now()
	if state := t.state(s, key, now); state != nil {
		d := r.Take(state, now, spend)
		s.Unlock()
		return d
	}
	s.Unlock()

	t.overflow.Lock()
	defer t.overflow.Unlock()
	t.overflow.used.Store(true)
	d := r.Take(&t.overflow.state, t.now(), spend)
	if r.Algorithm() == limiter.Concurrency {
		d.Receipt = inOverflow
	}
	return d
}

// inOverflow is the receipt of a request in progress that the overflow counts: it has
// to be taken back there, even if its key has found room in the meantime.
const inOverflow = 1

// Refund takes back what a Take with that receipt has spent.
func (t *Table) Refund(key limiter.Key, r *limiter.Rule, receipt int64) {
	s := &t.shards[int(key[0])%shards]
	s.Lock()
	i, ok := s.index[key]
	if ok && (r.Algorithm() != limiter.Concurrency || receipt != inOverflow) {
		r.Refund(&s.states[i], t.now(), receipt)
		s.Unlock()
		return
	}
	s.Unlock()

	t.overflow.Lock()
	defer t.overflow.Unlock()
	r.Refund(&t.overflow.state, t.now(), receipt)
}

// Correct counts delta units more, or less, of what a Take with that receipt has let
// through.
func (t *Table) Correct(key limiter.Key, r *limiter.Rule, receipt, delta int64) {
	if delta < 0 {
		back := r.Times(uint64(-delta))
		t.Refund(key, &back, receipt)
		return
	}
	s := &t.shards[int(key[0])%shards]
	s.Lock()
	now := t.now()
	// What was let through may count nothing any more, what it costs besides does.
	if state := t.state(s, key, now); state != nil {
		r.Debit(state, now, uint64(delta))
		s.Unlock()
		return
	}
	s.Unlock()

	t.overflow.Lock()
	defer t.overflow.Unlock()
	t.overflow.used.Store(true)
	r.Debit(&t.overflow.state, t.now(), uint64(delta))
}

// Banned is how long, in µs, key is banned yet.
func (t *Table) Banned(key limiter.Key, p *limiter.Penalty) int64 {
	s := &t.shards[int(key[0])%shards]
	s.Lock()
	defer s.Unlock()
	if i, ok := s.index[key]; ok {
		return p.Banned(&s.states[i], t.now())
	}
	return 0
}

// Strike counts a denial of key, and returns how long it is banned for it, in µs. A
// key that finds no room is not banned: it would be with all others that do not.
func (t *Table) Strike(key limiter.Key, p *limiter.Penalty) int64 {
	s := &t.shards[int(key[0])%shards]
	s.Lock()
	defer s.Unlock()
	now := t.now()
	if state := t.state(s, key, now); state != nil {
		return p.Strike(state, now)
	}
	return 0
}

// Sweep forgets keys that count nothing any more.
func (t *Table) Sweep() {
	for i := range t.shards {
		s := &t.shards[i]
		s.Lock()
		s.sweep(t.now())
		if len(s.index) == 0 {
			s.index, s.states, s.free = nil, nil, nil
		}
		s.Unlock()
	}
}

// Len is how many keys have a bucket of their own.
func (t *Table) Len() int {
	n := 0
	for i := range t.shards {
		s := &t.shards[i]
		s.Lock()
		n += len(s.index)
		s.Unlock()
	}
	return n
}

// state returns the key's state, new when there is room, else nil.
func (t *Table) state(s *shard, key limiter.Key, now int64) *limiter.State {
	if i, ok := s.index[key]; ok {
		return &s.states[i]
	}
	if len(s.index) >= s.max {
		if now-s.swept < sweepPause {
			return nil
		}
		s.swept = now
		if s.sweep(now); len(s.index) >= s.max {
			return nil
		}
	}
	if s.index == nil {
		s.index = map[limiter.Key]uint32{}
	}
	var i uint32
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
	} else {
		i = uint32(len(s.states))
		s.states = append(s.states, limiter.State{})
	}
	s.index[key] = i
	if t.overflow.used.Load() {
		// The key may have been counted there: what it spent goes with it.
		t.overflow.Lock()
		if !t.overflow.state.InProgress() {
			s.states[i] = t.overflow.state
		}
		if t.overflow.state.Expired(now) {
			t.overflow.used.Store(false)
		}
		t.overflow.Unlock()
	}
	return &s.states[i]
}

func (s *shard) sweep(now int64) {
	for key, i := range s.index {
		if s.states[i].Expired(now) {
			delete(s.index, key)
			s.states[i] = limiter.State{}
			s.free = append(s.free, i)
		}
	}
}
