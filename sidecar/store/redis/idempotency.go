// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// Records keeps idempotency records in a store: a record.Store. Its calls share
// pipelines of their own, and the store's connections and breaker.
//
// A record is one string under `<prefix>:{i<hex of its ID>}`. Its time to live is its
// whole retention, so that its age is told by the server's clock.
//
// Begin, Look and Expire fail at once while the breaker is open. The others, which say
// what has happened already, are tried even then. All wait for longer than a limit
// does: nothing stands in for a record, and a server that writes each one to its disk
// before it answers (appendfsync always) may well take those 10 ms.
type Records struct {
	store  *Store
	script *script
	queue  chan *recordCall
	calls  sync.Pool
	clock  serverClock
	// noSetNXGet and noSetIfEq are when, by clock.local, a server has last not known
	// `SET NX GET` (before Redis 7) or `SET IFEQ` (before Redis 8.4 and Valkey 8.1);
	// 0: never. They are found out by using them, so that it is the server that
	// answers that counts: after a failover it may be of another version.
	noSetNXGet, noSetIfEq atomic.Int64
}

// askAgain is, in µs, after which a server is tried again with what one did not know.
const askAgain = 10 * 60 * 1_000_000

// NewRecords returns records that live in s, until s is closed.
func NewRecords(s *Store) *Records {
	r := &Records{
		store:  s,
		script: newScript(idempotencyLua),
		queue:  make(chan *recordCall, queueSize),
	}
	r.clock.start()
	r.calls.New = func() any { return newRecordCall() }
	for range workers {
		s.wg.Go(r.work)
	}
	return r
}

// patience is how long a call waits: as long as a connection does.
func (r *Records) patience() time.Duration { return max(ioTimeout, 2*r.store.opts.Timeout) }

// Do implements record.Store.
func (r *Records) Do(ctx context.Context, id record.ID, cmd record.Command) (record.Answer, error) {
	c := r.calls.Get().(*recordCall)
	c.load(r.store.opts.KeyPrefix, id, &cmd)
	if err := r.push(ctx, c); err != nil {
		return record.Answer{}, err
	}
	return r.pull(ctx, c, &cmd)
}

// Renew implements record.Store.
func (r *Records) Renew(ctx context.Context, all []record.Renewal) error {
	for from := 0; from < len(all); from += maxBatch {
		batch := all[from:min(from+maxBatch, len(all))]
		calls := make([]*recordCall, 0, len(batch))
		var failed error
		for i := range batch {
			c := r.calls.Get().(*recordCall)
			c.load(r.store.opts.KeyPrefix, batch[i].ID, &record.Command{Op: record.Renew, Next: batch[i].Claim})
			if failed = r.push(ctx, c); failed != nil {
				break
			}
			calls = append(calls, c)
		}
		for i, c := range calls {
			answer, err := r.pull(ctx, c, &record.Command{Op: record.Renew, Next: batch[i].Claim})
			batch[i].Answer = answer
			if err != nil {
				failed = err
			}
		}
		if failed != nil {
			return failed
		}
	}
	return nil
}

// insists: op says what has happened already.
func insists(op record.Op) bool {
	return op == record.Finish || op == record.Release || op == record.Renew
}

// push queues c, or gives it back.
func (r *Records) push(ctx context.Context, c *recordCall) error {
	s := r.store
	select {
	case <-s.ctx.Done():
		r.calls.Put(c)
		return notSent("it is closed")
	default:
	}
	if !insists(c.op) && !s.passes(ctx) {
		r.calls.Put(c)
		return notSent("its breaker is open")
	}
	select {
	case r.queue <- c:
		return nil
	default:
	}
	if !insists(c.op) {
		r.calls.Put(c)
		s.failed(KindOverload)
		return notSent("too many calls wait")
	}
	c.timer.Reset(r.patience())
	defer c.timer.Stop()
	err := error(nil)
	select {
	case r.queue <- c:
		return nil
	case <-c.timer.C:
		s.failed(KindOverload)
		err = notSent("too many calls wait")
	case <-s.ctx.Done():
		err = notSent("it is closed")
	case <-ctx.Done():
		err = ctx.Err()
	}
	r.calls.Put(c)
	return err
}

func notSent(why string) error {
	return fmt.Errorf("%w: %w: %s", record.ErrUnavailable, record.ErrNotSent, why)
}

// pull waits for the answer to c.
func (r *Records) pull(ctx context.Context, c *recordCall, cmd *record.Command) (record.Answer, error) {
	if err := r.wait(ctx, c); err != nil {
		return record.Answer{}, err
	}
	answer, err := c.answer, c.err
	if next := cmd.Next; err == nil && answer.Result == record.Applied && next != nil {
		switch {
		case cmd.Op == record.Begin && answer.Record == nil:
			next.Fence, next.Origin, next.Attempt = c.fence, c.fence, 1
			answer.Record = next
		case (cmd.Op == record.Begin || cmd.Op == record.Expire) && answer.Record != nil:
			next.Fence, next.Origin, next.Attempt = answer.Record.Fence, answer.Record.Origin, answer.Record.Attempt
			answer.Record = next
		}
	}
	r.calls.Put(c)
	if err != nil {
		return record.Answer{}, fmt.Errorf("%w: %w", record.ErrUnavailable, err)
	}
	return answer, nil
}

// wait leaves c to the worker when it returns an error.
func (r *Records) wait(ctx context.Context, c *recordCall) error {
	s, limit := r.store, r.patience()
	start := time.Now()
	c.timer.Reset(limit)
	defer c.timer.Stop()
	for grace := true; ; grace = false {
		select {
		case <-c.done:
			return nil
		case <-c.timer.C:
			// As for limits: a timer that rings late tells of this process, not of
			// the server.
			if grace && time.Since(start) > limit*11/10 {
				c.timer.Reset(limit)
				continue
			}
			if !c.abandon() {
				return nil
			}
			s.failed(KindTimeout)
			s.trip()
			return fmt.Errorf("%w: no answer in %s", record.ErrUnavailable, limit)
		case <-s.ctx.Done():
			if !c.abandon() {
				return nil
			}
			return fmt.Errorf("%w: it is closed", record.ErrUnavailable)
		case <-ctx.Done():
			if !c.abandon() {
				return nil
			}
			return ctx.Err()
		}
	}
}

// serverClock estimates the server's clock.
type serverClock struct {
	from    time.Time
	offset  atomic.Int64
	sampled atomic.Int64 // by local; 0: never
}

func (c *serverClock) start() { c.from = time.Now() }

// local is this process's clock, in µs, which never goes back.
func (c *serverClock) local() int64 { return 1 + time.Since(c.from).Microseconds() }

// sampleEvery is, in µs, how often the server is asked for its time.
const sampleEvery = 10 * 1_000_000

func (c *serverClock) due() bool {
	at := c.sampled.Load()
	return at == 0 || c.local()-at > sampleEvery
}

// sample is told what the server's clock was between two moments of the local one.
func (c *serverClock) sample(server time.Time, before, after int64) {
	c.offset.Store(server.UnixMicro() - (before+after)/2)
	c.sampled.Store(after)
}

func (c *serverClock) now() uint64 { return uint64(max(1, c.local()+c.offset.Load())) }
