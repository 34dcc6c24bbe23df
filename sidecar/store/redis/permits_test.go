// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

func slots(t testing.TB, n uint64) *limiter.Rule {
	t.Helper()
	r, err := limiter.NewConcurrency(n)
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

// left is how many permits the store has for op, without taking one.
func left(t testing.TB, s *Store, op limiter.Op) uint64 {
	t.Helper()
	got := take(t, s, op)[0]
	if got.Decision.Allowed {
		s.Release(got)
		return got.Decision.Remaining + 1
	}
	return got.Decision.Remaining
}

func TestPermitsAreShared(t *testing.T) {
	server := redistest.Start(t)
	stores := []*Store{dial(t, options(server.Addr)), dial(t, options(server.Addr))}
	r := slots(t, 5)
	var now, most, denied atomic.Int64
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for range 60 {
				s := stores[g%2]
				op := limiter.Op{ID: "p/l", Rule: r, Key: key(1)}
				ops := []limiter.Op{op}
				if err := s.Take(t.Context(), ops); err != nil {
					t.Error(err)
					return
				}
				if !ops[0].Decision.Allowed {
					denied.Add(1)
					continue
				}
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				runtime.Gosched()
				now.Add(-1)
				s.Release(op)
			}
		})
	}
	wg.Wait()
	if most.Load() > 5 || denied.Load() == 0 {
		t.Errorf("%d in progress at once, %d denied", most.Load(), denied.Load())
	}
	eventually(t, "all permits are back", func() bool { return left(t, stores[0], limiter.Op{ID: "p/l", Rule: r, Key: key(1)}) == 5 })
}

// TestPermitsOfACrashedHolder come back when its last sign of life is 8 s old, and
// those of one that beats do not.
func TestPermitsOfACrashedHolder(t *testing.T) {
	server := redistest.Start(t)
	script := clocked(t)
	alive, crashed := newStore(options(server.Addr), nil, script), newStore(options(server.Addr), nil, script)
	t.Cleanup(alive.Close)
	t.Cleanup(crashed.Close)
	op := limiter.Op{ID: "p/l", Rule: slots(t, 3), Key: key(1)}
	at(t, alive, 1e15)
	take(t, alive, op)
	take(t, crashed, op)
	take(t, crashed, op)
	if take(t, alive, op)[0].Decision.Allowed {
		t.Fatal("a fourth request is let through")
	}
	for i := range 3 {
		at(t, alive, 1e15+int64(i)*2_500_000)
		alive.beatOnce()
	}
	at(t, alive, 1e15+7_999_999)
	if got := left(t, alive, op); got != 0 {
		t.Errorf("before the time %d permits are left, want 0", got)
	}
	at(t, alive, 1e15+8_000_000)
	if got := left(t, alive, op); got != 2 {
		t.Errorf("after it %d permits are left, want 2", got)
	}
	if ttl := alive.conn.Load().PTTL(t.Context(), alive.key(&op, ":held:")).Val().Seconds(); ttl <= 0 || ttl > 9 {
		t.Errorf("the key is kept for %v s", ttl)
	}
}

// TestBeatsCorrect what the store counts after it has lost data, or has counted a
// request whose answer was lost.
func TestBeatsCorrect(t *testing.T) {
	server := redistest.Start(t)
	s, other := dial(t, options(server.Addr)), dial(t, options(server.Addr))
	op := limiter.Op{ID: "p/l", Rule: slots(t, 3), Key: key(1)}
	take(t, s, op)
	take(t, s, op)
	server.Do("FLUSHALL", "+OK")
	s.beatOnce()
	if got := left(t, other, op); got != 1 {
		t.Errorf("after a loss %d permits are left, want 1", got)
	}
	// A take that the process does not know of.
	keys, args := s.arguments("take", []limiter.Op{op})
	if err := s.conn.Load().EvalSha(t.Context(), s.script.sha, keys, args...).Err(); err != nil {
		t.Fatal(err)
	}
	s.permits.asked([]limiter.Op{op})
	s.permits.answered([]limiter.Op{op}, limiter.ErrUnavailable)
	eventually(t, "the probe's permit is back", func() bool { return len(other.permits.looks()) == 0 })
	s.beatOnce()
	if got := left(t, other, op); got != 1 {
		t.Errorf("after a lost answer %d permits are left, want 1", got)
	}
	s.Release(op)
	s.Release(op)
	eventually(t, "all permits are back", func() bool { return left(t, other, op) == 3 })
	if n := len(s.permits.looks()); n != 0 {
		t.Errorf("%d holdings are kept of nothing", n)
	}
}

// TestPermitsWhileTheStoreIsAway: what ends then is given back by a beat later.
func TestPermitsWhileTheStoreIsAway(t *testing.T) {
	server := redistest.Start(t)
	s, other := dial(t, options(server.Addr)), dial(t, options(server.Addr))
	op := limiter.Op{ID: "p/l", Rule: slots(t, 2), Key: key(1)}
	take(t, s, op)
	s.state.Store(open)
	s.Release(op)
	if len(s.permits.looks()) != 1 {
		t.Fatal("a permit that the store may count is forgotten")
	}
	s.state.Store(closed)
	s.beatOnce()
	if got := left(t, other, op); got != 2 || len(s.permits.looks()) != 0 {
		t.Errorf("%d permits are left, want 2; %d holdings", got, len(s.permits.looks()))
	}
}

// TestPermitsAreAllOrNothing also over the slots of a cluster.
func TestPermitsAreAllOrNothing(t *testing.T) {
	opts := options(redistest.StartCluster(t).Addr)
	opts.Mode = Cluster
	s := dial(t, opts)
	held := limiter.Op{ID: "p/held", Rule: slots(t, 3), Key: key(1)}
	narrow := limiter.Op{ID: "p/narrow", Rule: mustRule(t, limiter.SlidingWindow, 1, 3600, 0), Key: key(2)}
	for i := range 5 {
		got := take(t, s, held, narrow)
		if got[1].Decision.Allowed != (i == 0) {
			t.Fatalf("request %d: %+v", i, got)
		}
	}
	if looks := s.permits.looks(); len(looks) != 1 || looks[0].n != 1 {
		t.Errorf("holdings %+v, want one of 1", looks)
	}
	eventually(t, "what was reserved is given back", func() bool { return left(t, s, held) == 2 })
}
