// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// DefaultRecordBytes bounds the idempotency records of a process.
const DefaultRecordBytes = 64 << 20

// recordCost is what a record takes besides its payload.
const recordCost = 400

// RecordOptions of Records. The zero value is good.
type RecordOptions struct {
	// MaxBytes; 0: DefaultRecordBytes.
	MaxBytes int
	// Swept is called after each sweep; nil: nobody is.
	Swept func()
}

// Records keeps idempotency records in this process: a record.Store. What it has
// promised to keep it keeps: when it is full no further request is claimed, while
// those that are claimed can be finished, beyond the bound.
type Records struct {
	opts RecordOptions
	from time.Time
	done chan struct{}
	once sync.Once
	wg   sync.WaitGroup

	mu    sync.Mutex
	all   map[record.ID]*kept
	bytes int
	// searched is when room was last looked for.
	searched time.Time
}

// searchPause is between two searches of full records for room.
const searchPause = time.Second

type kept struct {
	rec           record.Record
	since, expire time.Time
}

// NewRecords returns records whose sweeper runs until Close.
func NewRecords(opts RecordOptions) *Records {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = DefaultRecordBytes
	}
	r := &Records{opts: opts, from: time.Now(), done: make(chan struct{}), all: map[record.ID]*kept{}}
	r.wg.Go(r.sweep)
	return r
}

// Close ends the sweeper. The records can still be used.
func (r *Records) Close() {
	r.once.Do(func() { close(r.done) })
	r.wg.Wait()
}

// Bytes is about what the records take.
func (r *Records) Bytes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}

// Do implements record.Store.
func (r *Records) Do(ctx context.Context, id record.ID, cmd record.Command) (record.Answer, error) {
	if err := ctx.Err(); err != nil {
		return record.Answer{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.apply(id, cmd)
}

// Renew implements record.Store.
func (r *Records) Renew(ctx context.Context, all []record.Renewal) error {
	for i := range all {
		answer, err := r.Do(ctx, all[i].ID, record.Command{Op: record.Renew, Next: all[i].Claim})
		if err != nil {
			return err
		}
		all[i].Answer = answer
	}
	return nil
}

func (r *Records) apply(id record.ID, cmd record.Command) (record.Answer, error) {
	now := time.Now()
	k := r.all[id]
	if k != nil && !now.Before(k.expire) {
		r.drop(id, k)
		k = nil
	}
	if k == nil && cmd.Op == record.Begin && r.bytes >= r.opts.MaxBytes {
		if now.Sub(r.searched) >= searchPause {
			r.searched = now
			r.expired(now)
		}
		if r.bytes >= r.opts.MaxBytes {
			return record.Answer{}, fmt.Errorf("%w: %w: it is full with %d bytes", record.ErrUnavailable, record.ErrNotSent, r.bytes)
		}
	}
	var cur *record.Record
	var age time.Duration
	if k != nil {
		copied := k.rec
		cur, age = &copied, now.Sub(k.since)
	}
	step := record.Apply(cur, age, r.micros(now), cmd)
	if step.Write {
		if k != nil {
			r.drop(id, k)
		}
		if step.Record != nil {
			r.keep(id, step, now)
		}
	}
	return step.Answer, nil
}

// micros is the wall clock at first, then what has gone by since.
func (r *Records) micros(now time.Time) uint64 {
	return uint64(r.from.UnixMicro() + now.Sub(r.from).Microseconds())
}

func (r *Records) keep(id record.ID, step record.Step, now time.Time) {
	k := &kept{rec: *step.Record, since: now, expire: now.Add(step.Keep)}
	// The payload is the caller's.
	k.rec.Payload = append([]byte(nil), step.Record.Payload...)
	r.all[id] = k
	r.bytes += recordCost + len(k.rec.Payload)
}

func (r *Records) drop(id record.ID, k *kept) {
	delete(r.all, id)
	r.bytes -= recordCost + len(k.rec.Payload)
}

// expired forgets what is over.
func (r *Records) expired(now time.Time) {
	for id, k := range r.all {
		if !now.Before(k.expire) {
			r.drop(id, k)
		}
	}
}

func (r *Records) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.done:
			return
		case <-tick.C:
			r.mu.Lock()
			r.expired(time.Now())
			r.mu.Unlock()
			if r.opts.Swept != nil {
				r.opts.Swept()
			}
		}
	}
}
