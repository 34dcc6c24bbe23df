// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flaky is a store in front of a real one that can be away.
type flaky struct {
	record.Store
	// away: nothing is carried out. mute: it is, and the answer is lost.
	away, mute atomic.Bool
	asked      atomic.Int64
	renewed    atomic.Int64
}

func (f *flaky) Do(ctx context.Context, id record.ID, cmd record.Command) (record.Answer, error) {
	f.asked.Add(1)
	if f.away.Load() {
		return record.Answer{}, fmt.Errorf("%w: away", record.ErrUnavailable)
	}
	answer, err := f.Store.Do(ctx, id, cmd)
	if f.mute.Load() {
		return record.Answer{}, fmt.Errorf("%w: mute", record.ErrUnavailable)
	}
	return answer, err
}

func (f *flaky) Renew(ctx context.Context, all []record.Renewal) error {
	if f.away.Load() {
		return fmt.Errorf("%w: away", record.ErrUnavailable)
	}
	f.renewed.Add(int64(len(all)))
	return f.Store.Renew(ctx, all)
}

// counts is Metrics.
type counts struct {
	silence
	inflight, fenced, duplicate, lost, unknown, local atomic.Int64
}

func (c *counts) InFlight(d int)   { c.inflight.Add(int64(d)) }
func (c *counts) Fenced()          { c.fenced.Add(1) }
func (c *counts) Duplicate()       { c.duplicate.Add(1) }
func (c *counts) Lost()            { c.lost.Add(1) }
func (c *counts) Unknown()         { c.unknown.Add(1) }
func (c *counts) ReplayedLocally() { c.local.Add(1) }

// world is a store and some ledgers in a bubble.
type world struct {
	t      *testing.T
	store  *flaky
	memory *memory.Records
	counts counts
	terms  Terms
}

// inWorld runs test with a clock of its own.
func inWorld(t *testing.T, test func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.NewRecords(memory.RecordOptions{})
		defer m.Close()
		test(&world{t: t, store: &flaky{Store: m}, memory: m,
			terms: Terms{Lease: 30 * time.Second, Wait: 5 * time.Second, Retention: 24 * time.Hour}})
	})
}

func (w *world) ledger(edit ...func(*Options)) *Ledger {
	w.t.Helper()
	opts := Options{Store: w.store, Metrics: &w.counts}
	for _, e := range edit {
		e(&opts)
	}
	l, err := New(opts)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func notCached(o *Options) { o.CacheBytes = -1 }

func (w *world) call(n byte) *Call {
	return &Call{ID: record.ID{n}, Fingerprint: record.Digest{1}, Credentials: record.Digest{2}, Terms: &w.terms}
}

func (w *world) claim(l *Ledger, n byte) *Claim {
	w.t.Helper()
	res := l.Begin(w.t.Context(), w.call(n))
	if res.Kind != Claimed {
		w.t.Fatalf("Begin: kind %d, want a claim", res.Kind)
	}
	return res.Claim
}

func (w *world) want(res Result, kind Kind) Result {
	w.t.Helper()
	if res.Kind != kind {
		w.t.Fatalf("kind %d, want %d (%+v)", res.Kind, kind, res)
	}
	return res
}

func reply(body string) *exchange.Reply {
	return &exchange.Reply{
		Status:  201,
		Header:  []exchange.Field{{Name: []byte("Location"), Value: []byte("/p/1")}, {Name: []byte("X-A"), Value: nil}},
		Body:    []byte(body),
		Trailer: []exchange.Field{{Name: []byte("grpc-status"), Value: []byte("0")}},
	}
}

func (w *world) same(got, want *exchange.Reply) {
	w.t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		w.t.Errorf("the reply (-want +got):\n%s", diff)
	}
}

func (w *world) complete(c *Claim, body string) Outcome {
	w.t.Helper()
	if !c.Dispatch() {
		w.t.Fatal("Dispatch refuses")
	}
	defer c.End()
	return c.Complete(w.t.Context(), reply(body))
}

func TestReplay(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		a, b := w.ledger(), w.ledger(notCached)
		defer a.Close()
		defer b.Close()
		c := w.claim(a, 1)
		if c.Attempt != 1 || c.Fence == 0 {
			t.Errorf("claimed as attempt %d, fence %d", c.Attempt, c.Fence)
		}
		if out := w.complete(c, "hello"); out.Saved != Stored {
			t.Errorf("saved %d", out.Saved)
		}
		asked := w.store.asked.Load()
		if asked != 2 {
			t.Errorf("a first call takes %d round trips", asked)
		}
		res := w.want(a.Begin(t.Context(), w.call(1)), Replay)
		w.same(res.Reply, reply("hello"))
		if !res.Local || w.store.asked.Load() != asked {
			t.Error("the store is asked for what is in memory")
		}
		res = w.want(b.Begin(t.Context(), w.call(1)), Replay)
		w.same(res.Reply, reply("hello"))
		if got := w.store.asked.Load() - asked; got != 1 || res.Local {
			t.Errorf("a replay elsewhere takes %d round trips", got)
		}
		time.Sleep(w.terms.Retention)
		w.claim(a, 1).End()
	})
}

// TestRefusals are the same from memory, from the store, and while it is in flight.
func TestRefusals(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		a, b := w.ledger(), w.ledger(notCached)
		defer a.Close()
		defer b.Close()
		other, stranger, both := w.call(1), w.call(1), w.call(1)
		other.Fingerprint = record.Digest{9}
		stranger.Credentials = record.Digest{9}
		both.Fingerprint, both.Credentials = record.Digest{9}, record.Digest{9}
		warned := w.terms
		warned.WarnMismatch = true
		mild := w.call(1)
		mild.Fingerprint, mild.Terms = record.Digest{9}, &warned
		check := func() {
			t.Helper()
			for _, l := range []*Ledger{a, b} {
				start := time.Now()
				w.want(l.Begin(t.Context(), other), Mismatch)
				w.want(l.Begin(t.Context(), stranger), CredentialsDiffer)
				w.want(l.Begin(t.Context(), both), CredentialsDiffer)
				if waited := time.Since(start); waited != 0 {
					t.Errorf("waited %s", waited)
				}
			}
		}
		c := w.claim(a, 1)
		check()
		w.complete(c, "x")
		check()
		for _, l := range []*Ledger{a, b} {
			if res := w.want(l.Begin(t.Context(), mild), Replay); !res.Mismatch {
				t.Error("a mismatch is not told")
			}
		}
	})
}

func TestJoin(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		a, b := w.ledger(notCached), w.ledger(notCached)
		defer a.Close()
		defer b.Close()
		c := w.claim(a, 1)
		var wg sync.WaitGroup
		for i := range 10 {
			l := []*Ledger{a, b}[i%2]
			wg.Go(func() {
				res := l.Begin(t.Context(), w.call(1))
				w.want(res, Joined)
				w.same(res.Reply, reply("x"))
			})
		}
		time.Sleep(2 * time.Second)
		w.complete(c, "x")
		wg.Wait()
	})
}

func TestInFlight(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		a, b := w.ledger(), w.ledger()
		defer a.Close()
		defer b.Close()
		c := w.claim(a, 1)
		for _, l := range []*Ledger{a, b} {
			start := time.Now()
			if res := w.want(l.Begin(t.Context(), w.call(1)), InFlight); res.Retry < time.Second {
				t.Errorf("Retry %s", res.Retry)
			}
			if waited := time.Since(start); waited < 5*time.Second || waited > 6*time.Second {
				t.Errorf("waited %s", waited)
			}
		}
		impatient := w.terms
		impatient.Wait = 0
		call := w.call(1)
		call.Terms = &impatient
		for _, l := range []*Ledger{a, b} {
			start := time.Now()
			w.want(l.Begin(t.Context(), call), InFlight)
			if waited := time.Since(start); waited != 0 {
				t.Errorf("waited %s", waited)
			}
		}
		w.complete(c, "x")
	})
}

// TestReleased: whoever waits is dispatched, with a higher fence where the application
// has seen one.
func TestReleased(t *testing.T) {
	for name, dispatched := range map[string]bool{"sent": true, "not sent": false} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				a, b := w.ledger(), w.ledger()
				defer a.Close()
				defer b.Close()
				c := w.claim(a, 1)
				if dispatched && !c.Dispatch() {
					t.Fatal("Dispatch refuses")
				}
				got := make(chan *Claim)
				for _, l := range []*Ledger{a, b} {
					go func() {
						if res := l.Begin(t.Context(), w.call(1)); res.Kind == Claimed {
							got <- res.Claim
						} else {
							w.want(res, Joined)
							got <- nil
						}
					}()
				}
				time.Sleep(time.Millisecond) // of the store's clock
				c.Release(t.Context())
				c.End()
				next := <-got
				if next == nil || next.Fence <= c.Fence {
					t.Fatalf("next is %+v after fence %d", next, c.Fence)
				}
				if want := map[bool]uint32{true: 2, false: 1}[dispatched]; next.Attempt != want {
					t.Errorf("attempt %d, want %d", next.Attempt, want)
				}
				w.complete(next, "x")
				if <-got != nil {
					t.Error("two are dispatched")
				}
			})
		})
	}
}
