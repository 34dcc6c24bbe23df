// SPDX-License-Identifier: Apache-2.0

// Package plane is the sidecar's data plane in the CLI's process: the same
// engine and the same codecs, with listeners of `weir run` in place of captured
// ports. In: snapshots and listeners. Out: proxied connections.
package plane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/admin"
	"weir.dev/weir/sidecar/engine"
	wire "weir.dev/weir/sidecar/wire/http"
)

// Plane serves until Close.
type Plane struct {
	Engine  *engine.Engine
	Metrics *admin.Metrics

	server *wire.Server
	log    *slog.Logger
	wg     sync.WaitGroup
	mu     sync.Mutex
	open   []net.Listener
}

// New makes a plane without listeners and policies.
func New(log *slog.Logger) *Plane {
	m := admin.NewMetrics()
	e := engine.New(engine.Options{Metrics: m})
	return &Plane{
		Engine: e, Metrics: m, log: log,
		server: wire.New(wire.Config{Ports: e, Logger: log, Metrics: m.Wire(nil)}),
	}
}

// Apply puts a snapshot into force; the one before goes on when it is refused.
func (p *Plane) Apply(s *snapshot.Snapshot, secrets *stream.Secrets, peers map[string]uint32) error {
	if secrets != nil {
		if err := p.Engine.SetSecrets(secrets); err != nil {
			return err
		}
	}
	if err := p.Engine.Apply(s); err != nil {
		return err
	}
	p.Engine.SetPeers(peers)
	return nil
}

// Listen serves what arrives at address as traffic of a container port.
func (p *Plane) Listen(address string, port uint16, upstream string) (net.Addr, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	p.mu.Lock()
	p.open = append(p.open, l)
	p.mu.Unlock()
	p.wg.Go(func() { p.accept(l, wire.Target{Port: port, Upstream: upstream}) })
	return l.Addr(), nil
}

func (p *Plane) accept(l net.Listener, to wire.Target) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, perhaps: others may close some
			p.log.Warn("accept", "address", l.Addr().String(), "error", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		p.wg.Go(func() { p.server.ServeConn(c, to) })
	}
}

// Close stops accepting, lets requests end for at most grace, and frees all.
func (p *Plane) Close(grace time.Duration) {
	p.mu.Lock()
	for _, l := range p.open {
		_ = l.Close()
	}
	p.mu.Unlock()
	ctx, stop := context.WithTimeout(context.Background(), grace)
	defer stop()
	_ = p.server.Shutdown(ctx)
	p.wg.Wait()
	p.Engine.Close()
}
