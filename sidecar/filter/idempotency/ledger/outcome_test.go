// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"testing"
	"testing/synctest"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

func TestUnknown(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		a, b := w.ledger(), w.ledger()
		defer a.Close()
		defer b.Close()
		c := w.claim(a, 1)
		c.Dispatch()
		joined := make(chan Result)
		go func() { joined <- a.Begin(t.Context(), w.call(1)) }()
		synctest.Wait()
		c.Overdue(t.Context())
		w.want(<-joined, Unknown)
		for _, l := range []*Ledger{a, b} {
			w.want(l.Begin(t.Context(), w.call(1)), Unknown)
		}
		time.Sleep(time.Hour)
		w.want(b.Begin(t.Context(), w.call(1)), Unknown)
		// The response comes yet.
		if out := c.Complete(t.Context(), reply("late")); out.Saved != Stored {
			t.Errorf("saved %d", out.Saved)
		}
		c.End()
		for _, l := range []*Ledger{a, b} {
			w.same(w.want(l.Begin(t.Context(), w.call(1)), Replay).Reply, reply("late"))
		}
		if got := w.counts.unknown.Load(); got != 1 {
			t.Errorf("%d unknown, want 1", got)
		}
	})
}

// TestEnd settles what nothing has settled.
func TestEnd(t *testing.T) {
	for name, test := range map[string]struct {
		dispatched, atLeastOnce bool
		want                    Kind
		after                   Kind
	}{
		"not sent":             {false, false, Claimed, 0},
		"sent, at most once":   {true, false, Unknown, Unknown},
		"sent, at least once":  {true, true, InFlight, Claimed},
		"not sent, and at all": {false, true, Claimed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				w.terms.AtLeastOnce, w.terms.Wait = test.atLeastOnce, 0
				a, b := w.ledger(), w.ledger()
				defer a.Close()
				defer b.Close()
				c := w.claim(a, 1)
				if test.dispatched {
					c.Dispatch()
				}
				c.End()
				synctest.Wait()
				res := w.want(b.Begin(t.Context(), w.call(1)), test.want)
				if res.Claim != nil {
					res.Claim.End()
					return
				}
				time.Sleep(w.terms.Lease)
				res = w.want(b.Begin(t.Context(), w.call(1)), test.after)
				if res.Claim != nil {
					if res.Claim.Attempt != 2 || res.Claim.Fence <= c.Fence {
						t.Errorf("took over as %+v", res.Claim)
					}
					res.Claim.End()
				}
			})
		})
	}
}

func TestTombstone(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		a, b := w.ledger(), w.ledger()
		defer a.Close()
		defer b.Close()
		c := w.claim(a, 1)
		c.Dispatch()
		if out := c.Tombstone(t.Context(), 201, []byte("/p/2")); out.Saved != Stored {
			t.Errorf("saved %d", out.Saved)
		}
		c.End()
		for _, l := range []*Ledger{a, b} {
			res := w.want(l.Begin(t.Context(), w.call(1)), NotRetained)
			w.same(res.Reply, &exchange.Reply{Status: 201, Header: []exchange.Field{{Name: []byte("Location"), Value: []byte("/p/2")}}})
		}
	})
}

// TestRenewal: a call that takes long is nobody else's, and one that is short costs
// no renewal.
func TestRenewal(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.terms.AtLeastOnce, w.terms.Wait = true, 0
		a, b := w.ledger(), w.ledger()
		defer a.Close()
		defer b.Close()
		c := w.claim(a, 1)
		c.Dispatch()
		time.Sleep(w.terms.Lease/3 - time.Second)
		if got := w.store.renewed.Load(); got != 0 {
			t.Errorf("%d renewals before a third of the lease", got)
		}
		for range 100 {
			time.Sleep(10 * time.Second)
			w.want(b.Begin(t.Context(), w.call(1)), InFlight)
		}
		if out := c.Complete(t.Context(), reply("x")); out.Saved != Stored {
			t.Errorf("saved %d", out.Saved)
		}
		c.End()
	})
}
