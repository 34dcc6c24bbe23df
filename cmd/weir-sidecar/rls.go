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

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/admin"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/rls"
)

// rlsFlags are those of the rate limit service of gateways.
type rlsFlags struct {
	snapshots []string
	listen    string
	admin     string
	replicas  uint32
}

func rlsCommand(log *slog.Logger, level *slog.LevelVar) *cobra.Command {
	var f rlsFlags
	c := &cobra.Command{
		Use:   "rls --snapshot FILE",
		Short: "Serve Envoy's rate limit protocol, for gateways",
		Long: `Answers envoy.service.ratelimit.v3 from RateLimitPolicies. A snapshot is a file
of weir compile; each is of one namespace, and there may be several. The domain of
a policy's port is NAMESPACE/SERVICE/PORT, see docs/gateway.md:

  weir compile -f policy.yaml --redis redis:6379 -o snapshot.json
  weir-sidecar rls --snapshot snapshot.json --listen 0.0.0.0:8081`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), log, level) },
	}
	c.Flags().StringArrayVar(&f.snapshots, "snapshot", nil, "file of weir compile to serve; may be given several times")
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8081", "HOST:PORT for gateways")
	c.Flags().StringVar(&f.admin, "admin", "", "HOST:PORT for health, metrics, dump and pprof (default: none)")
	c.Flags().Uint32Var(&f.replicas, "replicas", 1, "how many such processes share the Redis, for failurePolicy LocalFallback")
	return c
}

func (f *rlsFlags) run(ctx context.Context, log *slog.Logger, level *slog.LevelVar) error {
	if len(f.snapshots) == 0 {
		return errors.New("no snapshot is given; name at least one file of weir compile with --snapshot")
	}
	if f.replicas == 0 {
		return errors.New("--replicas is 1 at least: this process counts too")
	}
	metrics := admin.NewMetrics()
	domains := rls.Domains{}
	var first *stream.SnapshotUpdate
	for _, file := range f.snapshots {
		snap, err := readSnapshot(file)
		if err != nil {
			return err
		}
		e := engine.New(engine.Options{Metrics: admin.NewStoreLog(metrics, log)})
		defer e.Close()
		if err := e.Apply(snap); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		peers := map[string]uint32{}
		for _, p := range snap.GetRateLimitPolicies() {
			peers[p.GetName()] = f.replicas
		}
		e.SetPeers(peers)
		if err := domains.Add(snap, e); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if first == nil {
			first = &stream.SnapshotUpdate{Hash: snapshot.Hash(snap), Snapshot: snap}
		}
	}
	service := rls.New(rls.Options{Log: log, Metrics: metrics})
	service.Serve(domains)
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if f.admin != "" {
		a := admin.New(admin.Options{
			Version: version, Ready: func() bool { return true }, Metrics: metrics, Level: level,
			// Of several files the dump has the first.
			Snapshot: func() *stream.SnapshotUpdate { return first },
		})
		if err := serveAdmin(ctx, log, f.admin, a.All()); err != nil {
			_ = l.Close()
			return err
		}
	}
	for name := range domains {
		log.Info("domain", "name", name)
	}
	log.Info("listening for gateways", "address", l.Addr().String())
	return rls.ListenAndServe(ctx, l, service)
}

// serveAdmin serves h until ctx ends.
func serveAdmin(ctx context.Context, log *slog.Logger, address string, h http.Handler) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--admin: %w", err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.Serve(l) }()
	context.AfterFunc(ctx, func() { _ = s.Close() })
	log.Info("admin", "address", l.Addr().String())
	return nil
}
