// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"weir.dev/weir/sidecar/filter/limiter"
)

// DefaultTimeout of a call.
const DefaultTimeout = 10 * time.Millisecond

// queueSize bounds the calls that wait for a pipeline, maxBatch those that share
// one.
const (
	queueSize = 4096
	maxBatch  = 128
	workers   = 2
)

// Mode is how the servers are arranged.
type Mode uint8

// The modes.
const (
	Standalone Mode = iota
	Sentinel
	Cluster
)

// Kinds of errors that metrics tell apart.
const (
	// KindTimeout: no answer in time; opens the breaker.
	KindTimeout = "timeout"
	// KindConnection: broken or refused; opens the breaker.
	KindConnection = "connection"
	// KindReply: the server answered with an error.
	KindReply = "reply"
	// KindOverload: more calls wait than there is room for.
	KindOverload = "overload"
)

// Metrics is told what goes wrong.
type Metrics interface {
	StoreError(store, kind string)
	StoreBreaker(store string, open bool)
}

// Options of a Store.
type Options struct {
	// Name for metrics.
	Name string
	Mode Mode
	// Addresses are host:port; of the sentinels with Sentinel.
	Addresses []string
	// MasterName is needed with Sentinel.
	MasterName string
	// TLS; nil: plain TCP. Client certificates come with Credentials.
	TLS *tls.Config
	// KeyPrefix is `<prefix>:<cluster>:<namespace>`.
	KeyPrefix string
	// Timeout of a call; 0: DefaultTimeout.
	Timeout time.Duration
	// NeedCredentials: no connection is tried before SetCredentials.
	NeedCredentials bool
	// Metrics may be nil.
	Metrics Metrics

	connected func(context.Context, *redis.Conn) error
}

// Credentials of a store. Sentinels are asked without.
type Credentials struct {
	Username, Password string
	// Certificate for mutual TLS; may be nil.
	Certificate *tls.Certificate
}

// Store is a connection to shared counters. Safe for concurrent use.
type Store struct {
	opts   Options
	script *script
	queue  chan *call
	calls  sync.Pool
	once   sync.Once
	wg     sync.WaitGroup
	breaker
	identity identity
	// holder names this process among those that hold permits.
	holder  string
	permits permits
	// now is this process's clock, µs since limiter.Epoch: only calendars, whose
	// windows are longer than clocks are apart, are computed by it.
	now func() int64

	// conn is nil until there are credentials.
	conn atomic.Pointer[conn]
	// ctx ends with the store.
	ctx    context.Context
	cancel context.CancelFunc
}

// New returns a store that connects in the background. It must be closed.
func New(opts Options, c *Credentials) *Store {
	return newStore(opts, c, production())
}

func newStore(opts Options, c *Credentials, script *script) *Store {
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	s := &Store{
		opts:    opts,
		script:  script,
		queue:   make(chan *call, queueSize),
		breaker: newBreaker(),
		holder:  rand.Text(),
		permits: newPermits(),
		now:     func() int64 { return max(0, limiter.Micros(time.Now())) },
	}
	s.opts.connected = s.identity.connected
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.calls.New = func() any { return newCall() }
	if c != nil || !opts.NeedCredentials {
		s.conn.Store(newConn(s.opts, c))
	}
	s.wg.Go(s.supervise)
	for range workers {
		s.wg.Go(s.work)
	}
	s.wg.Go(s.beat)
	return s
}

// SetCredentials connects anew, with c, without waiting for it.
func (s *Store) SetCredentials(c Credentials) {
	if old := s.conn.Swap(newConn(s.opts, &c)); old != nil {
		s.wg.Go(old.close)
	}
	s.nudge()
}

// Close ends all connections; Take fails from then on.
func (s *Store) Close() {
	s.once.Do(func() {
		// What is to be given back goes first.
		for range 20 {
			if len(s.queue) == 0 || s.state.Load() != closed {
				break
			}
			time.Sleep(time.Millisecond)
		}
		s.state.Store(open)
		s.cancel()
	})
	s.wg.Wait()
	if c := s.conn.Swap(nil); c != nil {
		c.close()
	}
}

// Take decides on ops, see ratelimit.Store. Its error is
// limiter.ErrUnavailable.
func (s *Store) Take(ctx context.Context, ops []limiter.Op) error {
	if !s.passes(ctx) {
		return limiter.ErrUnavailable
	}
	if !slices.ContainsFunc(ops, concurrent) {
		return s.ask(ctx, ops)
	}
	s.permits.asked(ops)
	err := s.ask(ctx, ops)
	s.permits.answered(ops, err)
	return err
}

func (s *Store) ask(ctx context.Context, ops []limiter.Op) error {
	c := s.calls.Get().(*call)
	c.load(ops)
	select {
	case s.queue <- c:
	default:
		s.calls.Put(c)
		s.failed(KindOverload)
		return limiter.ErrUnavailable
	}
	if !s.wait(ctx, c) {
		return limiter.ErrUnavailable
	}
	err := c.err
	for i := range ops {
		ops[i].Decision = c.ops[i].Decision
	}
	s.calls.Put(c)
	if err != nil {
		return limiter.ErrUnavailable
	}
	return nil
}

// Release gives back the permit of a request that is over, or tokens, whose op Take
// has allowed. It does not wait.
func (s *Store) Release(op limiter.Op) {
	if concurrent(op) {
		s.permits.release(&op)
	}
	s.send(verbRefund, op, queueSize)
}

// Correct counts delta units more, or less, of a request whose op Take has allowed. It
// does not wait; false: it was dropped, because the store is away, or busy.
func (s *Store) Correct(op limiter.Op, delta int64) bool {
	verb := verbDebit
	if delta < 0 {
		verb, delta = verbRefund, -delta
	}
	r := op.Rule.Times(uint64(delta))
	op.Rule, op.Want = &r, 0
	// Decisions go first: half of the queue is theirs.
	return s.send(verb, op, queueSize/2)
}

// send puts op into the queue, unless that has room calls already.
func (s *Store) send(verb string, op limiter.Op, room int) bool {
	c := s.calls.Get().(*call)
	c.ops, c.err, c.release, c.verb, c.then = append(c.ops[:0], op), nil, true, verb, nil
	c.state.Store(callAbandoned)
	if s.state.Load() == closed && len(s.queue) < room {
		select {
		case s.queue <- c:
			return true
		default:
		}
	}
	s.permits.released(c.ops, limiter.ErrUnavailable)
	s.calls.Put(c)
	return false
}

// wait returns false when c has been left to the worker.
func (s *Store) wait(ctx context.Context, c *call) bool {
	start := time.Now()
	c.timer.Reset(s.opts.Timeout)
	defer c.timer.Stop()
	for grace := true; ; grace = false {
		select {
		case <-c.done:
			return true
		case <-c.timer.C:
			// A timer that rings late says that this process was not given the
			// processor: the answer may lie there unread.
			if grace && time.Since(start) > s.opts.Timeout*11/10 {
				c.timer.Reset(s.opts.Timeout)
				continue
			}
			if !c.abandon() {
				return true
			}
			s.failed(KindTimeout)
			s.trip()
			return false
		case <-ctx.Done():
			return !c.abandon()
		}
	}
}

func (s *Store) failed(kind string) {
	if s.opts.Metrics != nil {
		s.opts.Metrics.StoreError(s.opts.Name, kind)
	}
}

// call is one Take on its way through a pipeline. It is returned to the pool by
// whoever is last with it: the caller, or the worker when the caller has left.
type call struct {
	ops []limiter.Op
	// release: the ops are given back or debited, by verb, and nobody waits.
	release bool
	verb    string
	// then is told of the answer in the place of somebody who waits.
	then  func(ops []limiter.Op, err error)
	err   error
	done  chan struct{}
	timer *time.Timer
	state atomic.Uint32
}

const (
	callPending uint32 = iota
	callFinished
	callAbandoned
)

// abandon leaves c to the worker. It returns false when the answer came first; it
// has been taken then.
func (c *call) abandon() bool {
	if c.state.CompareAndSwap(callPending, callAbandoned) {
		return true
	}
	<-c.done
	return false
}

func newCall() *call {
	c := &call{done: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	c.timer.Stop()
	return c
}

func (c *call) load(ops []limiter.Op) {
	c.ops = append(c.ops[:0], ops...)
	c.err, c.release, c.then = nil, false, nil
	c.state.Store(callPending)
}
