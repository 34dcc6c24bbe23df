// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	"weir.dev/weir/sidecar/exchange"
)

const (
	// maxQueue bounds the spans that wait; more are dropped.
	maxQueue = 2048
	// maxBatch is how many go in one call.
	maxBatch = 512
)

// Options of an Exporter.
type Options struct {
	// Dial opens the connection to the collector; it is called when there is
	// something to send.
	Dial func() (*grpc.ClientConn, error)
	// Resource says whose spans they are. It is called for each batch.
	Resource func() Resource
	// Version of Weir.
	Version string
	// Dropped counts spans that the collector will not get.
	Dropped func(n int)
	Log     *slog.Logger

	times times
}

// times are what tests shorten.
type times struct {
	// gather is how long the first span of a batch waits for others.
	gather time.Duration
	// idle is how long without a span the goroutine and its connection stay.
	idle time.Duration
	// call bounds one call, giveUp the attempts for one batch.
	call, giveUp time.Duration
	// backoff is the first pause between attempts, maxBackoff the longest.
	backoff, maxBackoff time.Duration
}

func (t *times) setDefaults() {
	or := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	or(&t.gather, time.Second)
	or(&t.idle, time.Minute)
	or(&t.call, 10*time.Second)
	or(&t.giveUp, time.Minute)
	or(&t.backoff, 500*time.Millisecond)
	or(&t.maxBackoff, 5*time.Second)
}

// Exporter sends spans to one collector. Its goroutine and its connection are
// there only while spans come. Safe for concurrent use.
type Exporter struct {
	opts  Options
	spans spans
	// wake has room for one: the queue is not empty any more, or holds a batch.
	wake    chan struct{}
	closing chan struct{}
	wg      sync.WaitGroup
	// sending ends when Close waits no longer.
	sending context.Context
	abort   context.CancelFunc

	mu      sync.Mutex
	queue   []*span
	running bool
	closed  bool
}

// NewExporter starts nothing yet.
func NewExporter(opts Options) *Exporter {
	opts.times.setDefaults()
	ctx, abort := context.WithCancel(context.Background())
	return &Exporter{
		opts: opts, wake: make(chan struct{}, 1), closing: make(chan struct{}),
		sending: ctx, abort: abort,
	}
}

// record queues the span of x, or drops it when there is no room.
func (e *Exporter) record(x *exchange.Exchange, r *exchange.Record) {
	s := e.spans.get()
	s.fill(x, r)
	n := e.push(s)
	switch n {
	case 0:
		e.spans.put(s)
		e.opts.Dropped(1)
	case 1, maxBatch:
		select {
		case e.wake <- struct{}{}:
		default:
		}
	}
}

// push returns how many spans wait then, 0 when s was not taken.
func (e *Exporter) push(s *span) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || len(e.queue) >= maxQueue {
		return 0
	}
	e.queue = append(e.queue, s)
	if !e.running {
		e.running = true
		e.wg.Go(e.run)
	}
	return len(e.queue)
}

// Close sends what waits, as long as ctx allows, and ends the goroutine. Spans
// that come later are dropped.
func (e *Exporter) Close(ctx context.Context) {
	e.mu.Lock()
	was := e.closed
	e.closed = true
	e.mu.Unlock()
	if !was {
		close(e.closing)
	}
	stop := context.AfterFunc(ctx, e.abort)
	e.wg.Wait()
	stop()
	e.abort()
}

// Idle reports whether the exporter has no goroutine: nothing waits, and nothing
// has come for a while.
func (e *Exporter) Idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.running
}

func (e *Exporter) run() {
	s := sender{e: e}
	defer s.close()
	batch := make([]*span, 0, maxBatch)
	for e.await() {
		for {
			batch = e.take(batch[:0])
			if len(batch) == 0 {
				break
			}
			s.send(batch)
			for _, sp := range batch {
				e.spans.put(sp)
			}
			clear(batch)
			if len(batch) < maxBatch {
				break
			}
		}
	}
}

// await returns true when a batch should be sent, and false when the goroutine
// should end: nothing waits, and either nothing came for a while or nothing will.
func (e *Exporter) await() bool {
	var gathered <-chan time.Time
	idle := time.NewTimer(e.opts.times.idle)
	defer idle.Stop()
	for {
		n, closed := e.waiting()
		switch {
		case n >= maxBatch, n > 0 && closed:
			return true
		case n == 0 && closed:
			return !e.retire()
		case n > 0 && gathered == nil:
			t := time.NewTimer(e.opts.times.gather)
			defer t.Stop()
			gathered = t.C
		}
		select {
		case <-gathered:
			return true
		case <-e.wake:
		case <-e.closing:
		case <-idle.C:
			if e.retire() {
				return false
			}
		}
	}
}

func (e *Exporter) waiting() (n int, closed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.queue), e.closed
}

// retire lets the goroutine end, unless a span has come.
func (e *Exporter) retire() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = len(e.queue) > 0
	return !e.running
}

// take moves the oldest spans into batch.
func (e *Exporter) take(batch []*span) []*span {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := min(len(e.queue), maxBatch)
	batch = append(batch, e.queue[:n]...)
	left := copy(e.queue, e.queue[n:])
	clear(e.queue[left:])
	e.queue = e.queue[:left]
	return batch
}
