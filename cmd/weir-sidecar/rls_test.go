// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	envoy "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
)

// inNamespace is five, of another namespace.
func inNamespace(namespace string) *snapshot.Snapshot {
	s := proto.CloneOf(five())
	s.Workload.Namespace = namespace
	return s
}

func snapshotFile(t *testing.T, s *snapshot.Snapshot) string {
	t.Helper()
	b, err := protojson.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "snapshot.json", b)
}

// Two namespaces are served, each from its own counters.
func TestRLS(t *testing.T) {
	f := rlsFlags{
		snapshots: []string{snapshotFile(t, five()), snapshotFile(t, inNamespace("stock"))},
		listen:    "127.0.0.1:0", admin: "127.0.0.1:0", replicas: 1,
	}
	var out logs
	stop := background(t, func(ctx context.Context) error {
		return f.run(ctx, slog.New(slog.NewJSONHandler(&out, nil)), &slog.LevelVar{})
	})
	address := out.await(t, "listening for gateways", "address")
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, domain := range []string{"shop/payments/http", "stock/payments/http"} {
		for i := range 6 {
			r, err := envoy.NewRateLimitServiceClient(conn).ShouldRateLimit(t.Context(), &envoy.RateLimitRequest{
				Domain: domain, Descriptors: []*common.RateLimitDescriptor{{Entries: []*common.RateLimitDescriptor_Entry{{Key: "remote_address", Value: "192.0.2.1"}}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if over := r.GetOverallCode() == envoy.RateLimitResponse_OVER_LIMIT; over != (i == 5) {
				t.Errorf("%s, request %d: %v", domain, i+1, r)
			}
		}
	}
	_, metrics := get(t, "http://"+out.await(t, "admin", "address")+"/metrics")
	for _, want := range []string{
		`weir_request_duration_seconds_count{code="OVER_LIMIT",protocol="rls"} 2`, `weir_request_duration_seconds_count{code="OK",protocol="rls"} 10`,
		`weir_decisions_total{decision="denied",filter="ratelimit",limit="l",policy="pay",source="memory"} 2`, "weir_rls_unknown_domain_total 0",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
	stop()
}

// In a cluster the operator says what governs, and until then nobody is answered.
func TestRLSOfCluster(t *testing.T) {
	o := startOperator(t, five())
	f := rlsFlags{
		operator: o.address, listen: "127.0.0.1:0", status: "127.0.0.1:0", replicas: 2,
		token: write(t, "token", []byte("t0ken")), ca: write(t, "ca.crt", o.ca),
	}
	var out logs
	stop := background(t, func(ctx context.Context) error {
		return f.run(ctx, slog.New(slog.NewJSONHandler(&out, nil)), &slog.LevelVar{})
	})
	health := "http://" + out.await(t, "admin", "address")
	conn, err := grpc.NewClient(out.await(t, "listening for gateways", "address"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	out.await(t, "snapshot serving", "namespace")
	ready := 0
	for range 2000 {
		if ready, _ = get(t, health+"/readyz"); ready == 200 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if ready != 200 {
		t.Fatalf("readiness is %d", ready)
	}
	for i := range 6 {
		r, err := envoy.NewRateLimitServiceClient(conn).ShouldRateLimit(t.Context(), &envoy.RateLimitRequest{
			Domain: "shop/payments/http", Descriptors: []*common.RateLimitDescriptor{{}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if over := r.GetOverallCode() == envoy.RateLimitResponse_OVER_LIMIT; over != (i == 5) {
			t.Errorf("request %d: %v", i+1, r)
		}
	}
	if code, metrics := get(t, health+"/metrics"); code != 200 || !strings.Contains(metrics, "weir_config_connected 1") {
		t.Errorf("the metrics do not say that there is a stream: %d", code)
	}
	if code, _ := get(t, health+"/debug/pprof/"); code != 404 {
		t.Errorf("profiles are open to everybody: %d", code)
	}
	stop()
	if strings.Contains(out.String(), "t0ken") {
		t.Error("the token is in the log")
	}
}

func TestRLSRefuses(t *testing.T) {
	concurrent := five()
	l := concurrent.RateLimitPolicies[0].Limits[0]
	l.Algorithm, l.WindowSeconds = snapshot.Algorithm_ALGORITHM_CONCURRENCY, 0
	for name, c := range map[string]struct {
		flags rlsFlags
		want  string
	}{
		"no snapshot":  {rlsFlags{replicas: 1}, "name at least one"},
		"no replica":   {rlsFlags{snapshots: []string{"a"}}, "--replicas is 1 at least"},
		"no file":      {rlsFlags{snapshots: []string{"/nowhere"}, replicas: 1}, "no such file"},
		"twice":        {rlsFlags{snapshots: []string{snapshotFile(t, five()), snapshotFile(t, five())}, replicas: 1}, "domain shop/payments/http comes twice"},
		"concurrency":  {rlsFlags{snapshots: []string{snapshotFile(t, concurrent)}, replicas: 1}, "counts requests in progress"},
		"bad listener": {rlsFlags{snapshots: []string{snapshotFile(t, five())}, replicas: 1, listen: "x"}, "--listen"},
		"bad admin":    {rlsFlags{snapshots: []string{snapshotFile(t, five())}, replicas: 1, listen: "127.0.0.1:0", admin: "x"}, "listen for admin"},
		"both sources": {rlsFlags{snapshots: []string{"a"}, operator: "b:1", replicas: 1}, "either name"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.flags.run(t.Context(), slog.New(slog.DiscardHandler), &slog.LevelVar{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}
