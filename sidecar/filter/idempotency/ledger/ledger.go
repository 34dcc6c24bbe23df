// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// Metrics is told what happens. Its methods must not wait.
type Metrics interface {
	// InFlight changes how many claims this process has.
	InFlight(delta int)
	// Renewed counts renewals.
	Renewed(n int)
	// Fenced: a claim of this process was no longer its own at a write.
	Fenced()
	// Duplicate: a request was executed here though another claim holds.
	Duplicate()
	// Lost: the store had lost a claim.
	Lost()
	// Unknown: an outcome was recorded as unknown.
	Unknown()
	// Store tells how long one operation took.
	Store(op string, d time.Duration)
	// StoredBytes counts what was written of responses.
	StoredBytes(n int)
	// ReplayedLocally: without the store.
	ReplayedLocally()
}

// Options of a Ledger.
type Options struct {
	// Store of the records.
	Store record.Store
	// Notes is a directory that this ledger has for itself, and that outlives the
	// process: what a crash leaves behind is settled by the next ledger with it. It
	// is made where it is missing. Empty: no notes.
	Notes string
	// CacheBytes bounds the responses kept in memory; 0: DefaultCacheBytes,
	// negative: none.
	CacheBytes int
	// Patience is how long Complete waits for a store that does not answer; 0:
	// DefaultPatience.
	Patience time.Duration
	// Metrics may be nil.
	Metrics Metrics
	// Suspect is told of each request that may have been executed twice, or was. It
	// must not wait; nil: nobody is.
	Suspect func(record.ID, Suspicion)
}

// Suspicion is why a request may have been executed twice.
type Suspicion uint8

// The suspicions.
const (
	// RecordLost: the store had acknowledged its record, and lost it.
	RecordLost Suspicion = iota + 1
	// ExecutedTwice: it was executed here, and another's record holds.
	ExecutedTwice
)

// Defaults of Options.
const (
	DefaultCacheBytes = 8 << 20
	DefaultPatience   = time.Second
)

// Ledger keeps the claims of one process in one store. It outlives the policies that
// use it. Safe for concurrent use.
type Ledger struct {
	opts    Options
	metrics Metrics
	flights [shards]shard
	cache   cache
	notes   *notes
	retries retries
	recent  recent
	doubt   chan struct{} // has room for one
	clock   storeClock
	// minLease is the shortest lease there was, which paces renewals.
	minLease atomic.Int64
	shorter  chan struct{} // has room for one

	// process and claims make owners.
	process [8]byte
	claims  atomic.Uint64

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// New returns a ledger, to be closed. An error: the directory of notes cannot be
// used. What notes of a process before say is settled in the background.
func New(opts Options) (*Ledger, error) {
	if opts.CacheBytes == 0 {
		opts.CacheBytes = DefaultCacheBytes
	}
	if opts.Patience <= 0 {
		opts.Patience = DefaultPatience
	}
	l := &Ledger{opts: opts, metrics: opts.Metrics, shorter: make(chan struct{}, 1), doubt: make(chan struct{}, 1)}
	if l.metrics == nil {
		l.metrics = silence{}
	}
	_, _ = rand.Read(l.process[:])
	l.clock.from = time.Now()
	l.minLease.Store(math.MaxInt64)
	l.cache.init(opts.CacheBytes)
	l.retries.init()
	l.ctx, l.cancel = context.WithCancel(context.Background())
	var left []leftover
	if opts.Notes != "" {
		var err error
		if l.notes, left, err = openNotes(opts.Notes, l.process); err != nil {
			return nil, err
		}
	}
	l.wg.Go(l.renewals)
	l.wg.Go(l.retry)
	l.wg.Go(l.asserts)
	if s, ok := opts.Store.(record.Doubter); ok {
		s.OnDoubt(l.suspect)
	}
	for _, f := range left {
		l.settle(f)
	}
	return l, nil
}

// Close ends what runs in the background. Claims that are open are left to their
// notes and leases. The store has to be closed after it.
func (l *Ledger) Close() {
	l.cancel()
	l.wg.Wait()
	l.notes.close()
}

// Unsettled is how many outcomes wait for the store.
func (l *Ledger) Unsettled() int { return l.retries.len() }

func (l *Ledger) newOwner() (o record.Owner) {
	copy(o[:], l.process[:])
	binary.BigEndian.PutUint64(o[8:], l.claims.Add(1))
	return o
}

// do asks the store.
func (l *Ledger) do(ctx context.Context, id record.ID, cmd record.Command) (record.Answer, error) {
	start := time.Now()
	answer, err := l.opts.Store.Do(ctx, id, cmd)
	l.metrics.Store(cmd.Op.String(), time.Since(start))
	told := cmd.Op == record.Finish || cmd.Op == record.Release && cmd.Ref.Fence != 0
	if cmd.Next != nil && cmd.Next.Flags&record.Shadow != 0 {
		told = false
	}
	if told && err == nil && (answer.Result == record.Applied || answer.Result == record.Lost) {
		l.recent.add(&outcome{id: id, cmd: cmd, at: time.Now()})
	}
	return answer, err
}

// storeClock estimates the store's clock from the fences it gives.
type storeClock struct {
	from   time.Time
	offset atomic.Int64 // 0: not known
}

func (c *storeClock) learn(fence uint64, at time.Time) {
	c.offset.Store(int64(fence) - at.Sub(c.from).Microseconds())
}

// now is 0 where it is not known.
func (c *storeClock) now(at time.Time) uint64 {
	offset := c.offset.Load()
	if offset == 0 {
		return 0
	}
	return uint64(offset + at.Sub(c.from).Microseconds())
}

// silence is Metrics for nobody.
type silence struct{}

func (silence) InFlight(int)                {}
func (silence) Renewed(int)                 {}
func (silence) Fenced()                     {}
func (silence) Duplicate()                  {}
func (silence) Lost()                       {}
func (silence) Unknown()                    {}
func (silence) Store(string, time.Duration) {}
func (silence) StoredBytes(int)             {}
func (silence) ReplayedLocally()            {}
