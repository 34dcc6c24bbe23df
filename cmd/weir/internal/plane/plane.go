// SPDX-License-Identifier: Apache-2.0

// Package plane is the sidecar's data plane in the CLI's process: the same
// engine and the same codecs, with listeners of `weir run` in place of captured
// ports. In: snapshots and listeners. Out: proxied connections.
package plane

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/admin"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/store/redis"
	"weir.dev/weir/sidecar/telemetry"
	"weir.dev/weir/sidecar/telemetry/trace"
	wire "weir.dev/weir/sidecar/wire/http"
	"weir.dev/weir/sidecar/wire/listen"
	"weir.dev/weir/sidecar/wire/proxy"
)

// Plane serves until Close.
type Plane struct {
	Engine  *engine.Engine
	Metrics *admin.Metrics

	telemetry *telemetry.Telemetry
	// applied is the snapshot that serves.
	applied atomic.Pointer[snapshot.Snapshot]
	server  *proxy.Server
	log     *slog.Logger
	wg      sync.WaitGroup
	// accepting ends with Close.
	accepting     context.Context
	stopAccepting context.CancelFunc
}

// New makes a plane without listeners and policies. Where a snapshot asks for an
// access log, its lines go to out. notes is a folder for notes on requests in flight;
// empty: none are kept.
func New(log *slog.Logger, out io.Writer, version, notes string) *Plane {
	redis.LogTo(log)
	p := &Plane{Metrics: admin.NewMetrics(), log: log}
	p.telemetry = telemetry.New(telemetry.Options{
		Out: out, Version: version, Metrics: p.Metrics, Log: log,
		Resource: func() trace.Resource { return telemetry.ResourceOf(p.applied.Load(), "", "") },
	})
	p.Engine = engine.New(engine.Options{
		Metrics:  admin.NewStoreLog(p.Metrics, log),
		Observer: p.telemetry.Observer,
		Notes:    notes,
		Log:      log,
		Applied:  func(s engine.Proxy) { p.server.Configure(wire.Settings(s)) },
	})
	p.server = proxy.New(proxy.Config{Ports: p.Engine, Logger: log, HTTP: p.Metrics.Wire(nil), Thrift: p.Metrics.Thrift(nil)})
	p.accepting, p.stopAccepting = context.WithCancel(context.Background())
	return p
}

// Apply puts a snapshot into force; the one before goes on when it is refused.
func (p *Plane) Apply(s *snapshot.Snapshot, secrets *stream.Secrets, peers map[string]uint32) error {
	if secrets != nil {
		if err := p.Engine.SetSecrets(secrets); err != nil {
			return err
		}
	}
	if _, lacking := stream.Cut(s, engine.Features()); len(lacking) > 0 {
		return fmt.Errorf("this version does not enforce %s", strings.Join(lacking, ", "))
	}
	if err := p.Engine.Apply(s); err != nil {
		return err
	}
	p.applied.Store(s)
	p.Engine.SetPeers(peers)
	return nil
}

// Listen serves what arrives at address as traffic of a container port.
func (p *Plane) Listen(address string, port uint16, upstream string) (net.Addr, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	p.wg.Go(func() {
		if err := listen.Serve(p.accepting, l, listen.Fixed(port, upstream), p.server, p.log); err != nil {
			p.log.Error("listener ended", "address", l.Addr().String(), "error", err)
		}
	})
	return l.Addr(), nil
}

// Close stops accepting, lets requests end for at most grace, and frees all.
func (p *Plane) Close(grace time.Duration) {
	p.stopAccepting()
	p.wg.Wait()
	ctx, stop := context.WithTimeout(context.Background(), grace)
	defer stop()
	_ = p.server.Shutdown(ctx) // what is cut after grace has had its time
	p.Engine.Close()
	flush, cancel := context.WithTimeout(context.Background(), min(grace, 3*time.Second))
	defer cancel()
	p.telemetry.Close(flush)
}
