// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"weir.dev/weir/sidecar/filter/limiter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustRule(t testing.TB, limit uint64) *limiter.Rule {
	t.Helper()
	r, err := limiter.NewRule(limiter.SlidingWindow, limit, 60, 0)
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

func key(i int) (k limiter.Key) {
	binary.BigEndian.PutUint64(k[8:], uint64(i))
	k[0] = byte(i)
	return k
}

// clock is a time that tests set.
type clock struct{ µs atomic.Int64 }

func (c *clock) now() int64 { return c.µs.Load() }

func open(t testing.TB, opts Options) *Store {
	s := New(opts)
	t.Cleanup(s.Close)
	return s
}

func TestConcurrentTakesAdmitTheLimit(t *testing.T) {
	table := open(t, Options{}).Table("p/l")
	r := mustRule(t, 100)
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if table.Take(key(1), r, true).Allowed {
					admitted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if admitted.Load() != 100 {
		t.Errorf("admitted %d of 800, want 100", admitted.Load())
	}
}

// TestOverflow: a client that makes up keys fills the table; from then on all keys
// without a bucket share one, those that have one keep it, and a key that gets one
// later does not begin afresh.
func TestOverflow(t *testing.T) {
	c := &clock{}
	c.µs.Store(1e15)
	s := open(t, Options{MaxKeys: shards * 4, Now: c.now})
	table, r := s.Table("p/l"), mustRule(t, 5)
	table.Take(key(0), r, true)

	admitted := 0
	for i := 1; i < 100_000; i++ {
		if table.Take(key(i), r, true).Allowed {
			admitted++
		}
	}
	if want := shards*4 - 1 + 5; admitted != want {
		t.Errorf("%d made-up keys were admitted, want %d: one each while there is room, then five together", admitted, want)
	}
	if table.Len() != shards*4 {
		t.Errorf("the table holds %d keys, want %d", table.Len(), shards*4)
	}
	if got := table.Take(key(0), r, true); !got.Allowed || got.Remaining != 3 {
		t.Errorf("a key of before: %+v, want its own bucket", got)
	}

	// The first keys expire while the overflow, used again, does not.
	c.µs.Add(63_700_000)
	for i := range 5 {
		table.Take(key(200_000+32*i), r, true)
	}
	if got := table.Take(key(900_000), r, true); !got.Allowed {
		t.Errorf("after the sweep there is room: %+v", got)
	}
	c.µs.Add(200_000_000)
	table.Sweep()
	if table.Len() != 0 {
		t.Errorf("%d keys are left after all have expired", table.Len())
	}
}

func TestKeyThatLeavesTheOverflowKeepsWhatItSpent(t *testing.T) {
	c := &clock{}
	c.µs.Store(1e15)
	table, r := open(t, Options{MaxKeys: shards, Now: c.now}).Table("p/l"), mustRule(t, 5)
	table.Take(key(0), r, true) // fills the shard
	c.µs.Add(30_000_000)
	for range 5 {
		table.Take(key(32), r, true) // the same shard: overflow
	}
	c.µs.Add(35_000_000) // the first key has expired, the overflow has not
	if got := table.Take(key(32), r, true); got.Allowed || table.Len() != 1 {
		t.Errorf("got %+v with %d keys, want a denial: five were admitted 35 s ago", got, table.Len())
	}
}

func TestRefund(t *testing.T) {
	table, r := open(t, Options{}).Table("p/l"), mustRule(t, 2)
	d := table.Take(key(1), r, true)
	table.Refund(key(1), r, d.Receipt)
	if got := table.Take(key(1), r, false).Remaining; got != 2 {
		t.Errorf("remaining %d, want 2", got)
	}
}

func TestRetain(t *testing.T) {
	s := open(t, Options{})
	kept, dropped := s.Table("p/kept"), s.Table("p/dropped")
	s.Retain(func(id string) bool { return id == "p/kept" })
	if s.Table("p/kept") != kept {
		t.Error("the kept table is another")
	}
	if s.Table("p/dropped") == dropped {
		t.Error("the dropped table is there again")
	}
}

func TestSweeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		defer s.Close()
		table := s.Table("p/l")
		table.Take(key(1), mustRule(t, 5), true)
		time.Sleep(50 * time.Second)
		if table.Len() != 1 {
			t.Error("swept too early")
		}
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if table.Len() != 0 {
			t.Error("not swept")
		}
	})
}

func TestTakeDoesNotAllocate(t *testing.T) {
	table, r := open(t, Options{}).Table("p/l"), mustRule(t, 1_000_000)
	table.Take(key(1), r, true)
	if n := testing.AllocsPerRun(1000, func() { table.Take(key(1), r, true) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTake(b *testing.B) {
	table, r := open(b, Options{}).Table("p/l"), mustRule(b, 60_000_000)
	for i := range 10_000 {
		table.Take(key(i), r, true)
	}
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			table.Take(key(i%10_000), r, true)
		}
	})
}
