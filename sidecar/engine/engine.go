// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency"
	"weir.dev/weir/sidecar/filter/idempotency/seal"
	"weir.dev/weir/sidecar/filter/ratelimit"
	"weir.dev/weir/sidecar/jwt"
	"weir.dev/weir/sidecar/nskey"
	"weir.dev/weir/sidecar/store/memory"
	"weir.dev/weir/sidecar/wire/transcode"
)

// StoreMetrics is told how stores fare. Both calls are cheap and never block.
type StoreMetrics interface {
	// StoreError counts a call that gave no decision, by kind: timeout,
	// connection, reply, overload.
	StoreError(store, kind string)
	// StoreBreaker says whether a store's breaker is open: whether it is not
	// asked, and failure policies hold.
	StoreBreaker(store string, open bool)
}

// Metrics is what sidecar/admin counts. No argument comes from a request.
type Metrics interface {
	ratelimit.Metrics
	StoreMetrics
}

// Options of an Engine. The zero value is good.
type Options struct {
	// Metrics may be nil.
	Metrics Metrics
	// StoreTimeout bounds a call to a store, after which its breaker opens;
	// 0: redis.DefaultTimeout.
	StoreTimeout time.Duration
	// Observer makes what sees the requests of ports; nil or a nil result: nobody
	// looks. It is called by Apply when the telemetry is another one than before
	// (nil is one too), so that what it has gathered outlives other changes; the
	// observer before it still hears of requests that began with it.
	Observer func(*snapshot.Telemetry) exchange.Observer
	// Applied is called by Apply with the proxy's settings of each snapshot that is
	// taken, before it serves. It must not block.
	Applied func(Proxy)
	// Notes is a directory that outlives this process, such as a volume of the pod, for
	// notes on requests in flight; empty: a crash leaves them in doubt.
	Notes string
	// Log of what is not as it should be and refuses nothing; may be nil.
	Log *slog.Logger
	// Now is the time of counters in this process, see memory.Options; nil: the clock.
	Now func() int64
}

// Proxy is what a snapshot says to the servers of ports. Zero: their default.
type Proxy struct {
	HeadBytes, MaxConns  int
	Idle, Stall, Connect time.Duration
}

func proxyOf(p *snapshot.Proxy) Proxy {
	milliseconds := func(n uint64) time.Duration { return time.Duration(n) * time.Millisecond }
	return Proxy{
		HeadBytes: int(p.GetHeadBytes()), MaxConns: int(p.GetConnections()),
		Idle: milliseconds(p.GetIdleMilliseconds()), Stall: milliseconds(p.GetStallMilliseconds()), Connect: milliseconds(p.GetConnectMilliseconds()),
	}
}

// Engine holds the program that serves. Safe for concurrent use.
type Engine struct {
	opts    Options
	program atomic.Pointer[program]
	ready   chan struct{}
	tables  *memory.Store
	now     func() int64 // monotonic, µs

	mu      sync.Mutex
	closed  bool
	stores  map[string]*sharedStore
	retired map[*sharedStore]*time.Timer
	secrets map[string]*stream.StoreCredentials
	peers   map[string]*atomic.Uint32
	shadows map[string]*atomic.Uint64 // by <policy>/<limit>
	limits  map[string]bool           // <policy>/<limit> of the program

	crowds map[uint16]*crowd // by port

	tokens map[string]*jwt.Provider

	// ring has the namespace's keys, sealers those of users, by name. recorded are the
	// counts of idempotency policies by name.
	ring     nskey.Ring
	sealers  map[string]*seal.Sealer
	recorded map[string]*idempotency.Shadow
	// recorders are the idempotency policies of the program.
	recorders map[string]bool

	// bodies is what may be held of those that become calls of Thrift.
	bodies *transcode.Budget

	// observer is the one for telemetry; observed: it was asked for.
	observer  exchange.Observer
	telemetry *snapshot.Telemetry
	observed  bool
}

var _ exchange.Ports = (*Engine)(nil)

// program is one snapshot, compiled. Immutable.
type program struct {
	ports map[uint16]*exchange.Port
}

// New returns an engine without a program. It must be closed.
func New(opts Options) *Engine {
	start := time.Now()
	e := &Engine{
		now:     func() int64 { return time.Since(start).Microseconds() },
		opts:    opts,
		ready:   make(chan struct{}),
		stores:  map[string]*sharedStore{},
		retired: map[*sharedStore]*time.Timer{},
		secrets: map[string]*stream.StoreCredentials{},
		peers:   map[string]*atomic.Uint32{},
		shadows: map[string]*atomic.Uint64{},

		sealers:  map[string]*seal.Sealer{},
		recorded: map[string]*idempotency.Shadow{},

		bodies: transcode.NewBudget(transcodedBytes),
	}
	e.tables = memory.New(memory.Options{Now: opts.Now, Swept: e.sweepLeases})
	return e
}

// Features are what this engine can enforce, for Hello.
func Features() []string {
	return []string{
		stream.FeatureH2C, stream.FeatureIdempotency, stream.FeatureProxy,
		stream.FeatureCalendar, stream.FeatureConcurrency, stream.FeatureFreeReplays, stream.FeatureJWT, stream.FeatureLeased, stream.FeaturePenalty, stream.FeatureRateLimit, stream.FeatureRateLimit2,
		stream.FeatureResponseCost, stream.FeatureThrift, stream.FeatureTranscode,
		stream.FeatureUpgrade,
	}
}

// Port returns what governs a container port, see exchange.Ports.
func (e *Engine) Port(number uint16) (*exchange.Port, bool) {
	p := e.program.Load()
	if p == nil {
		return nil, false
	}
	return p.ports[number], true
}

// Ready is closed by the first Apply that succeeds.
func (e *Engine) Ready() <-chan struct{} { return e.ready }

// Apply makes snap what serves. The error is a *Refusal, and the old program
// serves on. The snapshot must not be changed afterwards.
func (e *Engine) Apply(snap *snapshot.Snapshot) error {
	if err := validate(snap); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return &Refusal{Reason: "the engine is closed"}
	}
	b := newBuild(e, snap)
	p, err := b.program()
	if err != nil {
		b.abandon()
		return err
	}
	first := e.program.Load() == nil
	e.observe(p, snap.GetTelemetry())
	if e.opts.Applied != nil {
		e.opts.Applied(proxyOf(snap.GetProxy()))
	}
	e.program.Store(p)
	b.commit()
	if first {
		close(e.ready)
	}
	return nil
}

// observe gives the ports of a program that will serve their observer.
func (e *Engine) observe(p *program, t *snapshot.Telemetry) {
	if e.opts.Observer == nil {
		return
	}
	if !e.observed || !proto.Equal(e.telemetry, t) {
		e.observer, e.telemetry, e.observed = e.opts.Observer(t), t, true
	}
	for _, port := range p.ports {
		if port.Protocol != exchange.Opaque {
			port.Observer = e.observer
		}
	}
}

// SetPeers sets how many ready pods share each policy, by name. A policy that is
// not named keeps its number; 1 holds until there is one.
func (e *Engine) SetPeers(ready map[string]uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for policy, n := range ready {
		e.peersOf(policy).Store(n)
	}
}

// peersOf is kept for policies that are not there yet: pod counts may come
// before the snapshot.
func (e *Engine) peersOf(policy string) *atomic.Uint32 {
	n := e.peers[policy]
	if n == nil {
		n = new(atomic.Uint32)
		e.peers[policy] = n
	}
	return n
}

func (e *Engine) shadowOf(id string) *atomic.Uint64 {
	n := e.shadows[id]
	if n == nil {
		n = new(atomic.Uint64)
		e.shadows[id] = n
	}
	return n
}

// Report returns the counters of shadow limits and policies that are not 0, the ports
// whose clients come through few peers, and stores that may lose records, sorted. Other problems are the listeners' to add.
func (e *Engine) Report() *stream.Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := &stream.Report{}
	for id, n := range e.shadows {
		if n.Load() == 0 {
			continue
		}
		policy, limit, _ := strings.Cut(id, "/")
		r.Shadow = append(r.Shadow, &stream.ShadowCount{Policy: policy, Limit: limit, WouldDeny: n.Load()})
	}
	e.reportIdempotency(r)
	for port, c := range e.crowds {
		if c.is.Load() {
			r.Problems = append(r.Problems, &stream.PortProblem{Kind: stream.PortProblem_KIND_FEW_PEERS, Port: uint32(port)})
		}
	}
	slices.SortFunc(r.Problems, func(a, b *stream.PortProblem) int { return int(a.GetPort()) - int(b.GetPort()) })
	slices.SortFunc(r.IdempotencyShadow, func(a, b *stream.IdempotencyShadow) int { return strings.Compare(a.GetPolicy(), b.GetPolicy()) })
	slices.SortFunc(r.Stores, func(a, b *stream.StoreProblem) int { return strings.Compare(a.GetStore(), b.GetStore()) })
	slices.SortFunc(r.Shadow, func(a, b *stream.ShadowCount) int {
		return strings.Compare(a.GetPolicy()+"/"+a.GetLimit(), b.GetPolicy()+"/"+b.GetLimit())
	})
	return r
}
