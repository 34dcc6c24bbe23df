// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/telemetry/trace/tracetest"
	"weir.dev/weir/sidecar/wire/h2c"
	"weir.dev/weir/sidecar/wire/listen"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// calls is a gRPC application behind a server of Weir's, and a client of it.
func calls(t *testing.T, e *engine.Engine) healthpb.HealthClient {
	t.Helper()
	app := grpc.NewServer()
	healthpb.RegisterHealthServer(app, health.NewServer())
	behind, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	server := wirehttp.New(wirehttp.Config{Ports: e, Logger: log, HTTP2: h2c.New})
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = app.Serve(behind) })
	wg.Go(func() { _ = listen.Serve(ctx, front, listen.Fixed(8080, behind.Addr().String()), server, log) })
	conn, err := grpc.NewClient("passthrough:///"+front.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		stop()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			t.Error(err)
		}
		app.Stop()
		wg.Wait()
	})
	return healthpb.NewHealthClient(conn)
}

// gRPC calls are seen by their own statuses, the application's and Weir's.
func TestGRPC(t *testing.T) {
	c := tracetest.Start(t, "", nil)
	tel, out, _ := start(t)
	e := engine.New(engine.Options{Observer: tel.Observer})
	t.Cleanup(e.Close)
	cfg := tracing(c.Address, snapshot.PerMillion)
	cfg.AccessLog = &snapshot.AccessLog{Mode: snapshot.AccessLog_MODE_ALL}
	if err := e.Apply(one(snapshot.Protocol_PROTOCOL_GRPC, 2, cfg)); err != nil {
		t.Fatal(err)
	}
	client := calls(t, e)
	want := []struct {
		service string
		code    codes.Code
		name    string
		line    string
	}{
		{"", codes.OK, "OK", `"status":200,"grpc_status":0,`},
		{"nobody knows it", codes.NotFound, "NOT_FOUND", `"status":200,"grpc_status":5,`},
		{"", codes.ResourceExhausted, "RESOURCE_EXHAUSTED", `"status":200,"grpc_status":8,`},
	}
	for _, w := range want {
		if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: w.service}); status.Code(err) != w.code {
			t.Fatalf("%q: %v, want %s", w.service, err, w.code)
		}
	}
	byStatus := map[string]*otlp.Span{}
	for _, s := range c.Await(t, len(want)) {
		byStatus[text(s, "rpc.response.status_code")] = s
	}
	for _, w := range want {
		s := byStatus[w.name]
		if s == nil {
			t.Fatalf("no span has status %s", w.name)
		}
		decision := "allowed"
		if w.code == codes.ResourceExhausted {
			decision = "denied"
		}
		if s.GetName() != "grpc.health.v1.Health/Check" || text(s, "rpc.method") != s.GetName() || text(s, "weir.decision") != decision || s.GetStatus() != nil {
			t.Errorf("span of %s: %v", w.name, s)
		}
	}
	out.await(t, len(want))
	tel.Close(t.Context())
	lines := strings.Split(strings.TrimSpace(out.buf.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), out.buf.String())
	}
	for _, w := range want {
		// An exchange ends after the client has its answer, so the order is open.
		i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, w.line) })
		if i < 0 || !strings.Contains(lines[i], `"path":"/grpc.health.v1.Health/Check","protocol":"HTTP/2"`) {
			t.Fatalf("no line of %s:\n%s", w.name, out.buf.String())
		}
		if denied := strings.Contains(lines[i], `"denied_by":"shop/payments"`); denied != (w.code == codes.ResourceExhausted) {
			t.Errorf("line of %s: %s", w.name, lines[i])
		}
	}
}
