// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/admin"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/rls"
	"weir.dev/weir/sidecar/source"
)

// rlsFlags are those of the rate limit service of gateways.
type rlsFlags struct {
	snapshots []string
	operator  string
	listen    string
	status    string
	admin     string
	replicas  uint32
	// token and ca are files of a pod.
	token, ca string
}

func rlsCommand(log *slog.Logger, level *slog.LevelVar) *cobra.Command {
	f := rlsFlags{token: podspec.FileToken, ca: podspec.FileCA}
	c := &cobra.Command{
		Use:   "rls",
		Short: "Serve Envoy's rate limit protocol, for gateways",
		Long: `Answers envoy.service.ratelimit.v3 from RateLimitPolicies. The domain of a
policy's port is NAMESPACE/SERVICE/PORT, see docs/gateway.md.

A snapshot is a file of weir compile; each is of one namespace, and there may be
several. With --operator, as the chart has it, policies of all namespaces come
from the operator in place of files.

  weir compile -f policy.yaml --redis redis:6379 -o snapshot.json
  weir-sidecar rls --snapshot snapshot.json --listen 0.0.0.0:8081`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), log, level) },
	}
	c.Flags().StringArrayVar(&f.snapshots, "snapshot", nil, "file of weir compile to serve; may be given several times")
	c.Flags().StringVar(&f.operator, "operator", "", "HOST:PORT of the operator's config stream, in a pod of its own ServiceAccount")
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8081", "HOST:PORT for gateways")
	c.Flags().StringVar(&f.status, "status", "", "HOST:PORT for health and metrics (default: none)")
	c.Flags().StringVar(&f.admin, "admin", "", "HOST:PORT for these, dump and pprof, on loopback only (default: none)")
	c.Flags().Uint32Var(&f.replicas, "replicas", 1, "how many such processes share the stores, for failurePolicy LocalFallback")
	return c
}

func (f *rlsFlags) check() error {
	switch {
	case (len(f.snapshots) == 0) == (f.operator == ""):
		return errors.New("either name at least one file of weir compile with --snapshot, or the operator with --operator")
	case f.replicas == 0:
		return errors.New("--replicas is 1 at least: this process counts too")
	}
	return nil
}

// gateway is a running rate limit service.
type gateway struct {
	*rlsFlags
	log     *slog.Logger
	metrics *admin.Metrics
	service *rls.Service
}

func (f *rlsFlags) run(ctx context.Context, log *slog.Logger, level *slog.LevelVar) error {
	if err := f.check(); err != nil {
		return err
	}
	g := &gateway{rlsFlags: f, log: log, metrics: admin.NewMetrics()}
	g.service = rls.New(rls.Options{Log: log, Metrics: g.metrics})
	options := admin.Options{
		Version: version, Ready: g.ready, Metrics: g.metrics, Level: level,
		Snapshot: func() *stream.SnapshotUpdate { return nil },
	}
	if f.operator == "" {
		stop, err := g.serveFiles(&options)
		defer stop()
		if err != nil {
			return err
		}
	} else {
		defer g.follow(ctx, &options)()
	}
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	a := admin.New(options)
	for flag, h := range map[string]http.Handler{f.status: a.Public(), f.admin: a.All()} {
		if flag == "" {
			continue
		}
		if err := serveAdmin(ctx, log, flag, h); err != nil {
			_ = l.Close()
			return err
		}
	}
	log.Info("listening for gateways", "address", l.Addr().String())
	return rls.ListenAndServe(ctx, l, g.service)
}

func (g *gateway) ready() bool {
	select {
	case <-g.service.Ready():
		return true
	default:
		return false
	}
}

func (g *gateway) engine() *engine.Engine {
	return engine.New(engine.Options{Metrics: admin.NewStoreLog(g.metrics, g.log)})
}

// serveFiles serves the snapshots until stop.
func (g *gateway) serveFiles(o *admin.Options) (stop func(), err error) {
	var engines []*engine.Engine
	stop = func() {
		for _, e := range engines {
			e.Close()
		}
	}
	domains := rls.Domains{}
	var first *stream.SnapshotUpdate
	for _, file := range g.snapshots {
		snap, err := readSnapshot(file)
		if err != nil {
			return stop, err
		}
		if err := rls.Enforceable(snap); err != nil {
			return stop, fmt.Errorf("%s: %w", file, err)
		}
		e := g.engine()
		engines = append(engines, e)
		if err := e.Apply(snap); err != nil {
			return stop, fmt.Errorf("%s: %w", file, err)
		}
		peers := map[string]uint32{}
		for _, p := range snap.GetRateLimitPolicies() {
			peers[p.GetName()] = g.replicas
		}
		e.SetPeers(peers)
		if err := domains.Add(snap, e); err != nil {
			return stop, fmt.Errorf("%s: %w", file, err)
		}
		if first == nil {
			first = &stream.SnapshotUpdate{Hash: snapshot.Hash(snap), Snapshot: snap}
		}
	}
	// Of several files the dump has the first.
	o.Snapshot = func() *stream.SnapshotUpdate { return first }
	g.service.Serve(domains)
	for name := range domains {
		g.log.Info("domain", "name", name)
	}
	return stop, nil
}

// follow serves what the operator says until stop.
func (g *gateway) follow(ctx context.Context, o *admin.Options) (stop func()) {
	fleet := rls.NewFleet(rls.FleetOptions{Service: g.service, Engine: g.engine, Replicas: g.replicas, Log: g.log})
	src := source.NewFleet(source.Options{
		Address: g.operator, TokenFile: g.token, CAFile: g.ca, Version: version, Features: engine.Features(), Log: g.log,
	}, fleet)
	o.Connected = src.Connected
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = src.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
		fleet.Close()
	}
}

// serveAdmin serves h until ctx ends.
func serveAdmin(ctx context.Context, log *slog.Logger, address string, h http.Handler) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen for admin on %s: %w", address, err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.Serve(l) }()
	context.AfterFunc(ctx, func() { _ = s.Close() })
	log.Info("admin", "address", l.Addr().String())
	return nil
}
