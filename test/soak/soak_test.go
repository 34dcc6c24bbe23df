// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"flag"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir.dev/weir/sidecar/exchange"
)

var duration = flag.Duration("soak.duration", 12*time.Second, "how long to soak")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// one makes calls singly, batch several at once.
func (w *world) one(change func(*call)) func() []*call {
	return func() []*call { return w.batch(1, change) }
}

func (w *world) batch(n int, change func(*call)) []*call {
	calls := make([]*call, n)
	for i := range calls {
		calls[i] = random(uint64(w.ids.Add(1)))
		if change != nil {
			change(calls[i])
		}
	}
	return calls
}

// clients starts all kinds.
func (w *world) clients(ctx context.Context) *sync.WaitGroup {
	var wg sync.WaitGroup
	start := func(n int, f func()) {
		for range n {
			wg.Go(f)
		}
	}
	run := func(k client, next func() []*call) func() {
		return func() {
			k := k
			k.w = w
			k.run(ctx, next)
		}
	}
	small := func(c *call) { c.up, c.down = c.up%400, c.down%400 }
	// Spliced, the application's own Connection: close is the client's.
	keeping := func(c *call) {
		small(c)
		if c.reply == "close" || c.reply == "http10" {
			c.reply = "plain"
		}
	}
	for _, port := range []uint16{always, sometimes} {
		start(3, run(client{port: port}, w.one(nil)))
		start(2, run(client{port: port}, w.one(small)))
		start(1, run(client{port: port}, func() []*call { return w.batch(6, keeping) }))
		start(1, run(client{port: port, piece: 1, nap: 50 * time.Microsecond}, w.one(small)))
		start(1, run(client{port: port, piece: 2048, nap: 200 * time.Microsecond}, w.one(nil)))
		start(2, func() { w.wreck(ctx, port) })
	}
	start(1, run(client{port: always}, w.one(func(c *call) {
		c.method, c.up, c.expect = "POST", 1+c.up, true
	})))
	start(1, func() { w.tunnels(ctx) })
	for _, port := range []uint16{always, streams} {
		start(1, func() { w.http2(ctx, port) })
		start(1, func() { w.wreck2(ctx, port) })
	}
	start(1, run(client{port: always}, w.one(func(c *call) { c.reply = "early"; c.up %= 30_000 })))
	start(2, run(client{port: always}, w.one(func(c *call) {
		c.reply, c.limited, c.method, c.up, c.chunked = pick(wrong), false, "GET", 0, false
	})))
	return &wg
}

// heap is what is in use after everything unused was collected.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// TestSoak runs everything at once.
func TestSoak(t *testing.T) {
	w := newWorld(t)
	used := make([]int64, 0, 2)
	for _, part := range []time.Duration{*duration / 4, *duration - *duration/4} {
		ctx, cancel := context.WithTimeout(context.Background(), part)
		w.clients(ctx).Wait()
		cancel()
		used = append(used, heap())
		if w.failures.Load() > 0 {
			break
		}
	}
	w.end()
	w.ledger.audit()
	if len(used) == 2 && used[1]-used[0] > 16<<20 {
		t.Errorf("memory in use grew from %d to %d KiB", used[0]>>10, used[1]>>10)
	}
	t.Logf("%d requests, %d snapshots, %d failures, %d kept connections retired; heap %v",
		w.calls.Load(), w.swaps.Load(), w.failures.Load(), w.retired.Load(), used)
	for o := exchange.NotSent; o <= exchange.Aborted; o++ {
		t.Logf("%s: %d", o, w.ledger.outcomes[o].Load())
	}
}
