// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/filter/ratelimit"
)

func call(h http.Handler, method, path string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestReadiness(t *testing.T) {
	ready := false
	drains := 0
	a := New(Options{
		Ready:    func() bool { return ready },
		Snapshot: func() *stream.SnapshotUpdate { return nil },
		Metrics:  NewMetrics(),
		OnDrain:  func() { drains++ },
	})
	want := func(when string, wantStatus int, wantBody string) {
		t.Helper()
		if status, body := call(a.Public(), "GET", "/readyz"); status != wantStatus || body != wantBody {
			t.Errorf("%s: %d %q, want %d %q", when, status, body, wantStatus, wantBody)
		}
	}
	want("at first", 503, "no snapshot yet")
	ready = true
	want("with a snapshot", 200, "ready")
	if status, _ := call(a.Local(), "GET", "/drain"); status != http.StatusMethodNotAllowed {
		t.Errorf("GET /drain is %d, want 405", status)
	}
	want("after GET /drain", 200, "ready")
	for range 2 {
		if status, _ := call(a.Local(), "POST", "/drain"); status != 200 {
			t.Errorf("POST /drain is %d", status)
		}
	}
	want("draining", 503, "draining")
	if drains != 1 {
		t.Errorf("OnDrain was called %d times, want 1", drains)
	}
	if status, _ := call(a.Public(), "GET", "/healthz"); status != 200 {
		t.Errorf("/healthz is %d while draining, want 200", status)
	}
	if status, _ := call(a.Public(), "POST", "/drain"); status != 404 {
		t.Errorf("POST /drain on the public port is %d, want 404", status)
	}
}

func TestLogLevel(t *testing.T) {
	level := &slog.LevelVar{}
	a := New(Options{Ready: func() bool { return true }, Snapshot: func() *stream.SnapshotUpdate { return nil }, Metrics: NewMetrics(), Level: level})
	if status, body := call(a.Local(), "PUT", "/loglevel?level=debug"); status != 200 || body != "debug" {
		t.Errorf("PUT: %d %q", status, body)
	}
	if level.Level() != slog.LevelDebug {
		t.Errorf("level is %s, want DEBUG", level.Level())
	}
	if status, _ := call(a.Local(), "PUT", "/loglevel?level=loud"); status != 400 {
		t.Errorf("PUT level=loud: %d, want 400", status)
	}
	if _, body := call(a.Local(), "GET", "/loglevel"); body != "debug" {
		t.Errorf("GET: %q, want debug", body)
	}
}

func TestDumpRedacts(t *testing.T) {
	snap := &snapshot.Snapshot{
		Workload: &snapshot.Workload{Cluster: "c", Namespace: "shop"},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{Name: "pay", Limits: []*snapshot.Limit{{
			Name: "l",
			Match: []*snapshot.Match{{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{
				Headers: []*snapshot.HeaderMatch{{Name: "x-token", Value: "s3cret"}},
			}}}},
		}}}},
	}
	before := proto.CloneOf(snap)
	a := New(Options{
		Version: "v1.2.3", Ready: func() bool { return true }, Metrics: NewMetrics(), Connected: func() bool { return true },
		Snapshot: func() *stream.SnapshotUpdate { return &stream.SnapshotUpdate{Hash: "h4sh", Snapshot: snap} },
	})
	_, body := call(a.Local(), "GET", "/dump")
	for _, want := range []string{`"version": "v1.2.3"`, `"hash": "h4sh"`, `"connected": true`, `x-token`, redacted} {
		if !strings.Contains(body, want) {
			t.Errorf("the dump lacks %s:\n%s", want, body)
		}
	}
	if strings.Contains(body, "s3cret") {
		t.Errorf("the dump shows a header's value:\n%s", body)
	}
	if !proto.Equal(before, snap) {
		t.Error("the dump has changed the snapshot")
	}
}

func TestMetrics(t *testing.T) {
	m := NewMetrics()
	a := New(Options{
		Ready: func() bool { return true }, Metrics: m, Connected: func() bool { return false },
		Snapshot: func() *stream.SnapshotUpdate { return &stream.SnapshotUpdate{Hash: "h4sh"} },
	})
	limit := m.Limit("pay", "per-client")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				m.HTTPRequest(200, time.Millisecond)
				limit.Decided(ratelimit.Allowed, ratelimit.FromStore)
			}
		})
	}
	wg.Wait()
	m.HTTPRequest(9999, time.Second)
	m.H2CRequest(200, time.Second)
	for _, status := range []int{0, 8, 99, -1} {
		m.GRPCCall(status, time.Second)
	}
	limit.Decided(ratelimit.Allowed, ratelimit.FailedOpen)
	// A policy is compiled again: its counts go on.
	m.Limit("pay", "per-client").Decided(ratelimit.Denied, ratelimit.FromStore)
	m.StoreError("default", "timeout")
	m.StoreBreaker("default", true)
	m.UpstreamError("unreachable")
	m.Encrypted()
	_, body := call(a.Public(), "GET", "/metrics")
	for _, want := range []string{
		`weir_request_duration_seconds_count{code="200",protocol="http"} 40`,
		`weir_request_duration_seconds_count{code="0",protocol="http"} 1`,
		`weir_request_duration_seconds_count{code="200",protocol="h2c"} 1`,
		`weir_request_duration_seconds_count{code="OK",protocol="grpc"} 1`,
		`weir_request_duration_seconds_count{code="RESOURCE_EXHAUSTED",protocol="grpc"} 1`,
		`weir_request_duration_seconds_count{code="UNKNOWN",protocol="grpc"} 1`,
		`weir_request_duration_seconds_count{code="0",protocol="grpc"} 1`,
		`weir_decisions_total{decision="allowed",filter="ratelimit",limit="per-client",policy="pay",source="store"} 40`,
		`weir_decisions_total{decision="denied",filter="ratelimit",limit="per-client",policy="pay",source="store"} 1`,
		`weir_fail_open_total 1`,
		`weir_store_errors_total{kind="timeout",store="default"} 1`,
		`weir_store_breaker_open{store="default"} 1`,
		`weir_upstream_errors_total{reason="unreachable"} 1`,
		`weir_encrypted_connections_total 1`,
		`weir_snapshot_info{hash="h4sh"} 1`,
		`weir_config_connected 0`,
	} {
		if !strings.Contains(body+"\n", want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

// What a request costs must not be allocated.
func TestMetricsAllocate(t *testing.T) {
	m := NewMetrics()
	limit := m.Limit("pay", "per-client")
	if n := testing.AllocsPerRun(100, func() {
		m.HTTPRequest(200, time.Millisecond)
		limit.Decided(ratelimit.Allowed, ratelimit.FromStore)
	}); n != 0 {
		t.Errorf("a request's counts allocate %v times, want 0", n)
	}
}
