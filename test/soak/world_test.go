// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/h2c"
	wire "weir.dev/weir/sidecar/wire/http"
)

const (
	// always has policies in every snapshot, sometimes in every second. The
	// application behind streams speaks HTTP/2 and has policies always.
	always, sometimes, streams = 8080, 8081, 8082
)

// world is a sidecar between clients and an application.
type world struct {
	t *testing.T
	// apps by container port: what reaches the spliced one is as clients sent it.
	apps   map[uint16]*app
	native *nativeApp
	engine *engine.Engine
	server *wire.Server
	ledger *ledger
	// fronts are where the sidecar listens, by container port.
	fronts map[uint16]string

	ids, calls, swaps, failures atomic.Int64
	// retired counts kept connections that ended before an answer, at the port
	// that is spliced sometimes.
	retired atomic.Int64

	wg  sync.WaitGroup
	lns []net.Listener
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, fronts: map[uint16]string{}, engine: engine.New(engine.Options{})}
	w.apps = map[uint16]*app{}
	for _, port := range []uint16{always, sometimes} {
		a, err := newApp(w.fail, port == always)
		if err != nil {
			t.Fatal(err)
		}
		w.apps[port] = a
	}
	w.native = newNativeApp(t, w.fail)
	w.ledger = newLedger(w.fail)
	w.ledger.asked = func() {
		if w.calls.Add(1)%2 == 0 {
			w.swap()
		}
	}
	w.swap()
	w.server = wire.New(wire.Config{Ports: watched{w.engine, w.ledger}, Logger: slog.New(slog.DiscardHandler), HTTP2: h2c.New})
	for port, a := range w.apps {
		w.listen(port, a.ln.Addr().String())
	}
	w.listen(streams, w.native.addr)
	return w
}

func (w *world) listen(port uint16, upstream string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.lns = append(w.lns, ln)
	w.fronts[port] = ln.Addr().String()
	target := wire.Target{Port: port, Upstream: upstream}
	w.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			w.wg.Go(func() { w.server.ServeConn(c, target) })
		}
	})
}

// fail says what went wrong, the first few times.
func (w *world) fail(format string, args ...any) {
	if w.failures.Add(1) <= 20 {
		w.t.Errorf(format, args...)
	}
}

// end shuts everything down in the order of a pod that stops.
func (w *world) end() {
	for _, ln := range w.lns {
		_ = ln.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		w.fail("%d connections stay though nobody uses them: %v", w.server.Conns(), err)
	}
	w.wg.Wait()
	w.engine.Close()
	w.native.close()
	for port, a := range w.apps {
		a.close()
		if n := a.open.Load(); n != 0 {
			w.fail("port %d: the application has %d connections left", port, n)
		}
	}
}

// watched puts the ledger before the filters of each port that has any.
type watched struct {
	exchange.Ports
	ledger *ledger
}

func (w watched) Port(n uint16) (*exchange.Port, bool) {
	p, ready := w.Ports.Port(n)
	if p == nil || len(p.Chain) == 0 {
		return p, ready
	}
	with := *p
	with.Chain = append(exchange.Chain{w.ledger}, p.Chain...)
	return &with, ready
}

// swap makes another snapshot what serves.
func (w *world) swap() {
	n := w.swaps.Add(1)
	if err := w.engine.Apply(snapshotOf(n)); err != nil {
		w.fail("snapshot %d: %v", n, err)
	}
}

// snapshotOf has other limits, algorithms, keys and settings each time.
func snapshotOf(n int64) *snapshot.Snapshot {
	s := &snapshot.Snapshot{Workload: &snapshot.Workload{Cluster: "local", Namespace: "shop", Key: "soak"}}
	s.Ports = append(s.Ports, &snapshot.Port{
		Number: always, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "a",
		PassEncodedSlashes: n%2 == 0, Identity: &snapshot.Identity{IdentityHeaders: []string{"x-user"}},
	})
	s.Ports = append(s.Ports, &snapshot.Port{Number: streams, Protocol: snapshot.Protocol_PROTOCOL_H2C, RateLimitPolicy: "c"})
	s.RateLimitPolicies = append(s.RateLimitPolicies, policy("a", n), policy("c", n))
	if n%4 < 2 {
		s.Ports = append(s.Ports, &snapshot.Port{Number: sometimes, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "b"})
		s.RateLimitPolicies = append(s.RateLimitPolicies, policy("b", n))
	}
	return s
}

// policy denies some of what is below /limited, and nothing else.
func policy(name string, n int64) *snapshot.RateLimitPolicy {
	algorithms := []snapshot.Algorithm{snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW, snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET, snapshot.Algorithm_ALGORITHM_FIXED_WINDOW}
	limited := &snapshot.Match{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{
		Path: &snapshot.PathMatch{Type: snapshot.PathMatch_TYPE_PREFIX, Value: "/limited"},
	}}}
	p := &snapshot.RateLimitPolicy{
		Name: name, Generation: n, FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK,
		Headers: snapshot.HeaderStyle(1 + n%2),
		Limits: []*snapshot.Limit{{
			Name: "roomy", Algorithm: algorithms[n%3], Limit: 1_000_000, Burst: burst(n%3, 1_000_000), WindowSeconds: 1, Scope: snapshot.Scope_SCOPE_POD,
			OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP,
			Key:          []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_Header{Header: "x-client-id"}}},
		}},
	}
	if n%3 != 0 {
		tight := &snapshot.Limit{
			Name: "tight", Match: []*snapshot.Match{limited}, Algorithm: algorithms[(n/3)%3], Limit: 1 + uint64(rand.IntN(5)), Burst: burst((n/3)%3, 3),
			WindowSeconds: 1, Scope: snapshot.Scope_SCOPE_POD, OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP,
		}
		p.Limits = append(p.Limits, tight)
	}
	return p
}

// burst is only a token bucket's.
func burst(algorithm int64, n uint64) uint64 {
	if algorithm == 1 {
		return n
	}
	return 0
}
