// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	keys = flag.Int("faults.keys", 150, "how many payments a run makes")
	seed = flag.Uint64("faults.seed", 0, "seed of the run; 0: a new one")
)

// thorough is from how many payments on all has to be done that can be.
const thorough = 5000

// world is two pods over one Redis, before one application.
type world struct {
	t     *testing.T
	again bool
	seed  uint64
	app   *app
	redis *servers
	pods  []*pod
}

func newWorld(t *testing.T, guarantee string) *world {
	if *keys < thorough {
		// Most of it is waiting.
		t.Parallel()
	}
	w := &world{t: t, again: guarantee == "AtLeastOnce", seed: *seed, app: startApp(t), redis: startServers(t)}
	if w.seed == 0 {
		w.seed = rand.Uint64()
	}
	t.Logf("-faults.seed=%d", w.seed)
	bin := weir(t)
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(policy(guarantee)), 0o600); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		p := newPod(t, fmt.Sprint("pod ", n), bin, file, strings.TrimPrefix(w.app.URL, "http://"), w.redis.primary.Addr)
		w.pods = append(w.pods, p)
	}
	for _, p := range w.pods {
		reachable(t, p.address)
	}
	return w
}

func (w *world) addresses() []string {
	var out []string
	for _, p := range w.pods {
		out = append(out, p.address)
	}
	return out
}

// load makes all payments, some of them by two clients at once, while the nemesis is
// at work, then asks once more for each when all is quiet.
func (w *world) load(n *nemesis) *history {
	h := newHistory()
	stop, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		if n != nil {
			n.run(stop)
		}
	}()
	const clients = 32
	var next, made atomic.Int64
	var wg sync.WaitGroup
	for id := range clients {
		wg.Go(func() {
			c := newClient(w.addresses(), w.seed, uint64(id), w.again)
			for {
				i := int(next.Add(1)) - 1
				// One in eight keys is two clients' at once.
				if i >= *keys+*keys/8 {
					return
				}
				key := fmt.Sprint("pay-", i)
				if i%9 == 8 {
					key = fmt.Sprint("pay-", i/9*9)
				}
				c.pay(key, func(call func() answer) { h.record(id, key, call) })
				made.Add(1)
			}
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	for waiting := true; waiting; {
		select {
		case <-finished:
			waiting = false
		case <-time.After(10 * time.Second):
			w.t.Logf("%d of %d payments", made.Load(), *keys+*keys/8)
		}
	}
	close(stop)
	<-gone
	// Nobody is stuck: after a lease every key has an outcome, known or not.
	time.Sleep(2 * lease)
	c := newClient(w.addresses(), w.seed, clients, w.again)
	for key := range w.app.ledger() {
		for try := 0; ; try++ {
			var got answer
			h.record(clients, key, func() answer { got = c.call(key); return got })
			if got.kind != inProgress && got.kind != nothing && got.kind != refused {
				break
			}
			if w.again && behaviourOf(w.seed, key) == fails {
				break
			}
			if try == 100 {
				w.t.Errorf("%s (%s) has no outcome: %+v", key, behaviourOf(w.seed, key), got)
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return h
}

// dispatches checks the application's ledger: fences rise, and how often a key was
// dispatched that was not said to have been refused.
func (w *world) dispatches() (twice []string) {
	for key, all := range w.app.ledger() {
		executed, fence := 0, uint64(0)
		for _, e := range all {
			if e.fence <= fence {
				w.t.Errorf("%s (%s): fence %d after %d", key, behaviourOf(w.seed, key), e.fence, fence)
			}
			fence = e.fence
			if e.id != all[0].id {
				w.t.Errorf("%s has two ids", key)
			}
			if !e.refused {
				executed++
			}
		}
		if executed > 1 {
			twice = append(twice, key)
		}
	}
	return twice
}

func (w *world) summary(h *history, n *nemesis, began time.Time) {
	dispatched := 0
	for _, all := range w.app.ledger() {
		dispatched += len(all)
	}
	w.t.Logf("%d of %d keys came to the application, with %d calls, %d dispatches, %d effects in %.0f s; answers %v", len(w.app.ledger()), *keys, len(h.ops), dispatched, w.app.effects, time.Since(began).Seconds(), h.counts())
	if n != nil {
		w.t.Logf("the nemesis:\n%s", n.report())
		if missing := n.missing(); len(missing) > 0 && *keys >= thorough {
			w.t.Errorf("never done: %s", strings.Join(missing, ", "))
		}
	}
}

func (w *world) atMostOnce(store bool) {
	began := time.Now()
	n := newNemesis(w, store)
	h := w.load(n)
	w.summary(h, n, began)
	for _, key := range w.dispatches() {
		w.t.Errorf("%s (%s) was dispatched more than once: %+v", key, behaviourOf(w.seed, key), w.app.ledger()[key])
	}
	h.check(w.t, w.seed, !store)
}

// TestAtMostOnce: processes die, stop and lose connections at every point.
func TestAtMostOnce(t *testing.T) { newWorld(t, "AtMostOnce").atMostOnce(false) }

// TestAtMostOnceOverFailingRedis: Redis is killed, stopped and failed over as well, but
// loses no acknowledged write.
func TestAtMostOnceOverFailingRedis(t *testing.T) { newWorld(t, "AtMostOnce").atMostOnce(true) }

// TestAtLeastOnce: whoever goes on asking gets an answer, all get the same, and the
// application can tell the dispatches apart by their fences.
func TestAtLeastOnce(t *testing.T) {
	w := newWorld(t, "AtLeastOnce")
	began := time.Now()
	n := newNemesis(w, false)
	h := w.load(n)
	w.summary(h, n, began)
	t.Logf("%d keys were dispatched more than once", len(w.dispatches()))
	h.check(t, w.seed, true)
}

// TestLossyFailover counts what a Redis that loses acknowledged writes does, which
// nothing can prevent.
func TestLossyFailover(t *testing.T) {
	w := newWorld(t, "AtMostOnce")
	began := time.Now()
	stop, gone := make(chan struct{}), make(chan struct{})
	failovers := 0
	go func() {
		defer close(gone)
		for {
			select {
			case <-stop:
				return
			case <-time.After(1500 * time.Millisecond):
				w.redis.failover(w, true)
				failovers++
			}
		}
	}()
	h := w.load(nil)
	close(stop)
	<-gone
	w.summary(h, nil, began)
	twice, counted := w.dispatches(), 0.0
	for _, p := range w.pods {
		counted += p.metric("weir_idempotency_lost_claims_total") + p.metric("weir_idempotency_duplicate_executions_total")
	}
	silent := 0
	for _, key := range twice {
		if all := w.app.ledger()[key]; !w.suspected(all[0].id) {
			silent++
			t.Errorf("%s (%s) was dispatched more than once, and nobody has said so: %+v", key, behaviourOf(w.seed, key), all)
		}
	}
	t.Logf("%d lossy failovers: %d keys dispatched more than once, %d of them silently; %.0f losses and duplicates counted", failovers, len(twice), silent, counted)
}

// suspected reports whether a sidecar has said that the request may have been executed
// twice.
func (w *world) suspected(id string) bool {
	for _, p := range w.pods {
		if strings.Contains(p.log(), id) {
			return true
		}
	}
	return false
}
