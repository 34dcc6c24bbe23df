// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"testing"
	"testing/synctest"
	"time"

	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/store/memory"
)

// TestAwayAtBegin: refused, and nobody is blocked by it afterwards.
func TestAwayAtBegin(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.terms.Wait = 0
		a, b := w.ledger(), w.ledger()
		defer a.Close()
		defer b.Close()
		w.store.away.Store(true)
		if res := w.want(a.Begin(t.Context(), w.call(1)), Unavailable); res.Retry <= 0 {
			t.Error("no Retry")
		}
		w.store.away.Store(false)
		w.claim(b, 1).End()
		// A claim whose answer is lost is released.
		w.store.mute.Store(true)
		w.want(a.Begin(t.Context(), w.call(2)), Unavailable)
		w.store.mute.Store(false)
		w.claim(a, 2).End()
		w.store.mute.Store(true)
		w.want(a.Begin(t.Context(), w.call(3)), Unavailable)
		w.store.mute.Store(false)
		time.Sleep(2 * time.Second)
		w.claim(b, 3).End()
		time.Sleep(time.Minute)
		if n := a.Unsettled(); n != 0 {
			t.Errorf("%d are not settled", n)
		}
	})
}

// TestAwayAtComplete: the client gets its answer, and so does everybody else, as soon
// as the store is back.
func TestAwayAtComplete(t *testing.T) {
	for name, away := range map[string]time.Duration{"within the lease": 5 * time.Second, "beyond it": 5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				w.terms.Wait = 0
				a, b := w.ledger(), w.ledger()
				defer a.Close()
				defer b.Close()
				c := w.claim(a, 1)
				c.Dispatch()
				w.store.away.Store(true)
				start := time.Now()
				if out := c.Complete(t.Context(), reply("x")); out.Saved != Pending {
					t.Errorf("saved %d", out.Saved)
				}
				if took := time.Since(start); took > 2*DefaultPatience {
					t.Errorf("took %s", took)
				}
				c.End()
				w.want(a.Begin(t.Context(), w.call(1)), Joined)
				time.Sleep(away)
				w.store.away.Store(false)
				if away > w.terms.Lease {
					w.want(b.Begin(t.Context(), w.call(1)), Unknown)
				}
				time.Sleep(2 * time.Second)
				w.same(w.want(b.Begin(t.Context(), w.call(1)), Replay).Reply, reply("x"))
				if n := a.Unsettled(); n != 0 {
					t.Errorf("%d are not settled", n)
				}
			})
		})
	}
}

// TestPause longer than the lease.
func TestPause(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.terms.AtLeastOnce = true
		a, b := w.ledger(), w.ledger(notCached)
		defer a.Close()
		defer b.Close()
		unsent, sent := w.claim(a, 1), w.claim(a, 2)
		sent.Dispatch()
		// No renewal goes through.
		w.store.away.Store(true)
		time.Sleep(w.terms.Lease + time.Second)
		w.store.away.Store(false)
		if unsent.Dispatch() {
			t.Error("dispatched after its lease")
		}
		unsent.End()
		next := w.claim(b, 2)
		if next.Fence <= sent.Fence || next.Attempt != 2 {
			t.Errorf("took over as %d/%d after %d", next.Fence, next.Attempt, sent.Fence)
		}
		w.complete(next, "winner")
		out := sent.Complete(t.Context(), reply("late"))
		if out.Saved != Superseded {
			t.Fatalf("saved %d", out.Saved)
		}
		w.same(out.Reply, reply("winner"))
		sent.End()
		if w.counts.duplicate.Load() != 1 || w.counts.fenced.Load() != 1 || w.counts.lost.Load() != 0 {
			t.Errorf("counted %+v", &w.counts)
		}
		w.same(w.want(a.Begin(t.Context(), w.call(2)), Replay).Reply, reply("winner"))
	})
}

// TestAwayForLong: requests that were never claimed leave nothing to be done.
func TestAwayForLong(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		m := memory.NewRecords(memory.RecordOptions{MaxBytes: 1})
		defer m.Close()
		w.store.Store = m
		a := w.ledger(func(o *Options) { o.Notes = t.TempDir() })
		defer a.Close()
		c := w.claim(a, 0)
		for i := range 100 {
			w.want(a.Begin(t.Context(), w.call(byte(1+i))), Unavailable)
		}
		if n := a.Unsettled(); n != 0 {
			t.Errorf("%d wait for the store", n)
		}
		if got := len(a.notes.unused); got != slots-1 {
			t.Errorf("%d notes, want 1", slots-got)
		}
		w.complete(c, "x")
	})
}

// lose makes the store lose a record.
func (w *world) lose(n byte, c *Claim) {
	w.t.Helper()
	answer, err := w.memory.Do(w.t.Context(), record.ID{n}, record.Command{Op: record.Release, Ref: c.rec.Ref()})
	if err != nil || answer.Result != record.Applied {
		w.t.Fatal(answer, err)
	}
}

// TestLostClaim is flagged whoever comes first.
func TestLostClaim(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		a, b := w.ledger(), w.ledger()
		defer a.Close()
		defer b.Close()
		c := w.claim(a, 1)
		c.Dispatch()
		w.lose(1, c)
		if out := c.Complete(t.Context(), reply("x")); out.Saved != StoredLost || w.counts.lost.Load() != 1 {
			t.Errorf("saved %d, %d lost", out.Saved, w.counts.lost.Load())
		}
		c.End()

		c = w.claim(a, 2)
		c.Dispatch()
		w.lose(2, c)
		time.Sleep(time.Millisecond)
		w.complete(w.claim(b, 2), "second")
		if out := c.Complete(t.Context(), reply("first")); out.Saved != Superseded || w.counts.lost.Load() != 2 {
			t.Errorf("saved %d, %d lost", out.Saved, w.counts.lost.Load())
		}
		c.End()

		c = w.claim(a, 3)
		c.Dispatch()
		w.lose(3, c)
		c.Unknown(t.Context())
		c.End()
		if w.counts.lost.Load() != 3 {
			t.Errorf("%d lost", w.counts.lost.Load())
		}
		w.want(b.Begin(t.Context(), w.call(3)), Unknown)
	})
}

// TestStoppedWaiting: a proxy that stops keeps nobody.
func TestStoppedWaiting(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.ledger(), w.ledger()
		defer a.Close()
		c := w.claim(a, 1)
		defer c.End()
		done := make(chan Result)
		go func() { done <- b.Begin(w.t.Context(), w.call(1)) }()
		synctest.Wait()
		start := time.Now()
		b.Close()
		w.want(<-done, InFlight)
		if took := time.Since(start); took > 2*time.Second {
			w.t.Errorf("took %s", took)
		}
	})
}
