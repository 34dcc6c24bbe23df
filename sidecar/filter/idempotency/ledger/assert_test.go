// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"sync"
	"testing"
	"time"

	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/store/memory"
)

// failing is a store that can be replaced by one that has not all of it.
type failing struct {
	*flaky
	doubts []func()
}

func (f *failing) OnDoubt(doubt func()) { f.doubts = append(f.doubts, doubt) }

// over has another server take over, empty. Those who use it notice.
func (f *failing) over(w *world) {
	m := memory.NewRecords(memory.RecordOptions{})
	w.t.Cleanup(m.Close)
	f.Store = m
	for _, doubt := range f.doubts {
		doubt()
	}
}

// suspects are what a ledger has said of IDs.
type suspects struct {
	mu   sync.Mutex
	said map[record.ID][]Suspicion
}

func (s *suspects) suspect(id record.ID, why Suspicion) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.said == nil {
		s.said = map[record.ID][]Suspicion{}
	}
	s.said[id] = append(s.said[id], why)
}

func (s *suspects) of(n byte) []Suspicion {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said[record.ID{n}]
}

// inFailover runs test with two ledgers over a store that fails over.
func inFailover(t *testing.T, test func(w *world, f *failing, a, b *Ledger, said *suspects)) {
	inWorld(t, func(w *world) {
		w.terms.Wait = 0
		f, said := &failing{flaky: w.store}, &suspects{}
		edit := func(o *Options) { o.Store, o.Suspect = f, said.suspect }
		a, b := w.ledger(edit), w.ledger(edit)
		defer b.Close()
		defer a.Close()
		test(w, f, a, b, said)
	})
}

// TestAssert: what the store has lost is there again before anybody repeats it, and what
// was executed twice meanwhile is told.
func TestAssert(t *testing.T) {
	inFailover(t, func(w *world, f *failing, a, b *Ledger, said *suspects) {
		t := w.t
		w.complete(w.claim(a, 1), "first")
		w.complete(w.claim(a, 2), "second")
		c := w.claim(a, 3)
		c.Dispatch()
		unknown := w.claim(a, 4)
		unknown.Dispatch()
		unknown.Unknown(t.Context())
		unknown.End()
		released := w.claim(a, 5)
		released.Dispatch()
		released.Release(t.Context())
		released.End()
		unsent := w.claim(a, 6)

		f.over(w)
		time.Sleep(time.Millisecond)
		w.complete(w.claim(b, 2), "twice")
		time.Sleep(time.Second)
		w.same(w.want(b.Begin(t.Context(), w.call(1)), Replay).Reply, reply("first"))
		w.want(b.Begin(t.Context(), w.call(3)), InFlight)
		w.want(b.Begin(t.Context(), w.call(4)), Unknown)
		w.claim(b, 5).End()
		w.claim(b, 6).End()
		unsent.End()
		// One response for all, from now on.
		w.same(w.want(a.Begin(t.Context(), w.call(2)), Replay).Reply, reply("twice"))
		if out := c.Complete(t.Context(), reply("third")); out.Saved != Stored {
			t.Errorf("saved %d", out.Saved)
		}
		c.End()
		w.same(w.want(b.Begin(t.Context(), w.call(3)), Replay).Reply, reply("third"))
		for n, want := range map[byte]int{1: 1, 2: 2, 3: 1, 4: 1, 5: 0, 6: 0} {
			if got := said.of(n); len(got) != want {
				t.Errorf("of %d is said %v, want %d", n, got, want)
			}
		}
		// What is there again is not lost again.
		lost := w.counts.lost.Load()
		for _, doubt := range f.doubts {
			doubt()
		}
		time.Sleep(5 * time.Second)
		if got := w.counts.lost.Load(); got != lost {
			t.Errorf("%d more are counted as lost", got-lost)
		}
	})
}

// TestAssertLater: while the store is away the pass waits, and nothing of it is missing.
func TestAssertLater(t *testing.T) {
	inFailover(t, func(w *world, f *failing, a, b *Ledger, said *suspects) {
		for n := range byte(200) {
			w.complete(w.claim(a, n), "x")
		}
		w.store.away.Store(true)
		f.over(w)
		time.Sleep(30 * time.Second)
		w.store.away.Store(false)
		time.Sleep(3 * time.Second)
		for n := range byte(200) {
			w.want(b.Begin(w.t.Context(), w.call(n)), Replay)
			if len(said.of(n)) != 1 {
				w.t.Fatalf("of %d is said %v", n, said.of(n))
			}
		}
	})
}

// TestAssertUnnoticed: that one claim was lost says that others may be.
func TestAssertUnnoticed(t *testing.T) {
	inFailover(t, func(w *world, f *failing, a, b *Ledger, said *suspects) {
		w.complete(w.claim(a, 1), "x")
		c := w.claim(a, 2)
		f.doubts = nil
		f.over(w)
		w.complete(c, "y")
		time.Sleep(time.Second)
		w.want(b.Begin(w.t.Context(), w.call(1)), Replay)
		if len(said.of(1)) != 1 || len(said.of(2)) != 1 {
			w.t.Errorf("said %v", said.said)
		}
	})
}

// TestAssertOver: what is over, or was long ago, stays away.
func TestAssertOver(t *testing.T) {
	inFailover(t, func(w *world, f *failing, a, b *Ledger, said *suspects) {
		short := w.terms
		short.Retention = 40 * time.Second
		call := w.call(1)
		call.Terms = &short
		w.complete(a.Begin(w.t.Context(), call).Claim, "x")
		w.complete(w.claim(a, 2), "x")
		time.Sleep(38 * time.Second)
		w.complete(w.claim(a, 3), "x")
		time.Sleep(recentFor - 20*time.Second)
		f.over(w)
		time.Sleep(time.Second)
		w.claim(b, 1).End()
		w.claim(b, 2).End()
		w.want(b.Begin(w.t.Context(), w.call(3)), Replay)
	})
}

// TestRecentBounds: the newest stay.
func TestRecentBounds(t *testing.T) {
	var r recent
	now := time.Now()
	add := func(n, size int) {
		r.add(&outcome{id: record.ID{byte(n), byte(n >> 8)}, at: now, cmd: record.Command{Next: &record.Record{Payload: make([]byte, size)}}})
	}
	for n := range 3 * maxRecent / 2 {
		add(n, 1)
	}
	all := r.latest(now)
	if len(all) != maxRecent || all[0].id != (record.ID{byte((3*maxRecent/2 - 1) & 0xff), byte((3*maxRecent/2 - 1) >> 8)}) {
		t.Errorf("%d are kept, the first is %v", len(all), all[0].id)
	}
	add(0, maxRecentBytes)
	add(1, 10)
	if all = r.latest(now); len(all) != 1 || r.bytes != 10 {
		t.Errorf("%d are kept with %d bytes", len(all), r.bytes)
	}
	if all = r.latest(now.Add(2 * recentFor)); len(all) != 0 {
		t.Errorf("%d old ones are kept", len(all))
	}
}
