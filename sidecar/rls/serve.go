// SPDX-License-Identifier: Apache-2.0

package rls

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"weir.dev/weir/api/rls"
)

const (
	// maxMessage bounds a call: a request's head with all its fields, and more.
	maxMessage = 1 << 20
	// maxStreams of one connection.
	maxStreams = 1024
	// maxAge spreads connections over replicas that have come since.
	maxAge = 10 * time.Minute
	// grace is how long calls get that are under way at the end.
	grace = 5 * time.Second
)

// ListenAndServe serves s and a health check on l, without TLS as Envoy's own rate
// limit service does, until ctx ends.
func ListenAndServe(ctx context.Context, l net.Listener, s *Service) error {
	g := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: maxAge, MaxConnectionAgeGrace: grace, Time: time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	rls.Register(g, s)
	checks := health.NewServer()
	serving := func(is healthpb.HealthCheckResponse_ServingStatus) {
		checks.SetServingStatus("", is)
		checks.SetServingStatus(rls.ServiceName, is)
	}
	serving(healthpb.HealthCheckResponse_NOT_SERVING)
	healthpb.RegisterHealthServer(g, checks)
	ended := make(chan struct{})
	defer close(ended)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ended:
			return
		case <-ctx.Done():
		case <-s.Ready():
			serving(healthpb.HealthCheckResponse_SERVING)
		}
		select {
		case <-ended:
		case <-ctx.Done():
			checks.Shutdown()
			cut := time.AfterFunc(grace, g.Stop)
			g.GracefulStop()
			cut.Stop()
		}
	}()
	if err := g.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("rate limit service on %s: %w", l.Addr(), err)
	}
	// Serve returns as GracefulStop begins.
	if ctx.Err() != nil {
		<-stopped
	}
	return nil
}
