// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"maps"
	"sync"
	"time"

	"weir.dev/weir/sidecar/filter/limiter"
)

// DefaultMaxKeys is how many keys a table holds before the others share a bucket;
// a full table takes about 5 MiB.
const DefaultMaxKeys = 1 << 15

// sweepEvery is how often tables are rid of expired keys.
const sweepEvery = 15 * time.Second

// Options of a Store. The zero value is good.
type Options struct {
	// MaxKeys per table; 0: DefaultMaxKeys.
	MaxKeys int
	// Now is the time in µs since limiter.Epoch; it must not go back. nil: the
	// monotonic clock.
	Now func() int64
	// Swept is called after each sweep; nil: nobody is.
	Swept func()
}

// Store holds a table for each limit. Safe for concurrent use.
type Store struct {
	opts Options
	done chan struct{}
	wg   sync.WaitGroup
	once sync.Once

	mu      sync.Mutex
	tables  map[string]*Table
	bans    map[string]*Table
	denials map[string]*Denials
}

// New returns a store whose sweeper runs until Close.
func New(opts Options) *Store {
	if opts.MaxKeys <= 0 {
		opts.MaxKeys = DefaultMaxKeys
	}
	if opts.Now == nil {
		opts.Now = monotonic()
	}
	s := &Store{opts: opts, done: make(chan struct{}), tables: map[string]*Table{},
		bans: map[string]*Table{}, denials: map[string]*Denials{}}
	s.wg.Go(s.sweep)
	return s
}

// monotonic is the wall clock at first, so that fixed windows are aligned, then
// what has gone by since. A machine that does not know the date begins at Epoch.
func monotonic() func() int64 {
	start := time.Now()
	base := max(0, limiter.Micros(start))
	return func() int64 { return base + time.Since(start).Microseconds() }
}

// Table returns the table of a limit, the same one until Retain drops it.
func (s *Store) Table(id string) *Table {
	return got(s, s.tables, id, newTable)
}

// Bans returns the table of the keys that a limit has denied or banned, likewise.
func (s *Store) Bans(id string) *Table {
	return got(s, s.bans, id, newTable)
}

// Denials returns what is known of a limit's denials by the store of, likewise.
// Another store knows of none.
func (s *Store) Denials(id string, of any) *Denials {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.denials[id]
	if d == nil || d.of != of {
		d = &Denials{now: s.opts.Now, of: of}
		s.denials[id] = d
	}
	return d
}

func got[T any](s *Store, all map[string]*T, id string, make func(Options) *T) *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := all[id]
	if t == nil {
		t = make(s.opts)
		all[id] = t
	}
	return t
}

// Retain drops what belongs to all limits but those for which keep is true.
func (s *Store) Retain(keep func(id string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	drop := func(id string) bool { return !keep(id) }
	maps.DeleteFunc(s.tables, func(id string, _ *Table) bool { return drop(id) })
	maps.DeleteFunc(s.bans, func(id string, _ *Table) bool { return drop(id) })
	maps.DeleteFunc(s.denials, func(id string, _ *Denials) bool { return drop(id) })
}

// Close ends the sweeper. Tables can still be used.
func (s *Store) Close() {
	s.once.Do(func() { close(s.done) })
	s.wg.Wait()
}

func (s *Store) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-tick.C:
			for _, t := range s.all() {
				t.Sweep()
			}
			if s.opts.Swept != nil {
				s.opts.Swept()
			}
		}
	}
}

type sweeper interface{ Sweep() }

func (s *Store) all() []sweeper {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []sweeper
	for _, t := range s.tables {
		all = append(all, t)
	}
	for _, t := range s.bans {
		all = append(all, t)
	}
	for _, d := range s.denials {
		all = append(all, d)
	}
	return all
}
