// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
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
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{Name: "pay", Exempt: []*snapshot.Exemption{
			{Kind: &snapshot.Exemption_SourceCidr{SourceCidr: "10.0.0.0/8"}},
			{Kind: &snapshot.Exemption_Header{Header: &snapshot.HeaderMatch{Name: "x-robot", Value: "s3cret"}}},
		}, Limits: []*snapshot.Limit{{
			Name:      "l",
			Overrides: []*snapshot.Override{{Key: []string{"s3cret", "also-s3cret"}, Limit: 7}},
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
	for _, want := range []string{`"version": "v1.2.3"`, `"hash": "h4sh"`, `"connected": true`, `x-token`, `x-robot`, `10.0.0.0/8`, redacted} {
		if !strings.Contains(body, want) {
			t.Errorf("the dump lacks %s:\n%s", want, body)
		}
	}
	if strings.Contains(body, "s3cret") {
		t.Errorf("the dump shows a value of a header or a key:\n%s", body)
	}
	if !proto.Equal(before, snap) {
		t.Error("the dump has changed the snapshot")
	}
}

func TestMetrics(t *testing.T) {
	m := NewMetrics()
	a := New(Options{
		Version: "v1.2.3", Ready: func() bool { return true }, Metrics: m, Connected: func() bool { return false },
		Connections: func() int { return 7 },
		Snapshot:    func() *stream.SnapshotUpdate { return &stream.SnapshotUpdate{Hash: "h4sh"} },
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
	m.ThriftCall("Payments.charge", "success", time.Second)
	m.ThriftCall("Payments.charge", "success", time.Second)
	m.ThriftCall("other", "denied", time.Second)
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
	m.Refused("thrift")
	m.AccessLogDropped(3)
	m.SpansDropped(4)
	_, body := call(a.Public(), "GET", "/metrics")
	for _, want := range []string{
		`weir_request_duration_seconds_count{code="200",protocol="http"} 40`,
		`weir_request_duration_seconds_count{code="0",protocol="http"} 1`,
		`weir_request_duration_seconds_count{code="200",protocol="h2c"} 1`,
		`weir_request_duration_seconds_count{code="success",protocol="thrift"} 2`,
		`weir_request_duration_seconds_count{code="denied",protocol="thrift"} 1`,
		`weir_thrift_calls_total{method="Payments.charge",result="success"} 2`,
		`weir_thrift_calls_total{method="other",result="denied"} 1`,
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
		`weir_refused_connections_total{reason="thrift"} 1`,
		`weir_snapshot_info{hash="h4sh"} 1`,
		`weir_config_connected 0`,
		`weir_access_log_dropped_total 3`,
		`weir_spans_dropped_total 4`,
		`weir_connections 7`,
		`weir_build_info{goversion="` + runtime.Version() + `",version="v1.2.3"} 1`,
	} {
		if !strings.Contains(body+"\n", want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

// Whatever applications answer, the series of requests have a bound.
func TestMetricsAreBounded(t *testing.T) {
	m := NewMetrics()
	a := New(Options{Ready: func() bool { return true }, Metrics: m, Snapshot: func() *stream.SnapshotUpdate { return nil }})
	for status := -1000; status < 3000; status++ {
		m.HTTPRequest(status, time.Millisecond)
		m.H2CRequest(status, time.Millisecond)
		m.GRPCCall(status, time.Millisecond)
	}
	m.GRPCCall(math.MaxInt, 0)
	m.GRPCCall(math.MinInt, 0)
	_, body := call(a.Public(), "GET", "/metrics")
	// 100 to 599 and none, twice; 17 statuses of gRPC and none.
	if n := strings.Count(body, "weir_request_duration_seconds_count{"); n != 2*501+18 {
		t.Errorf("%d series", n)
	}
	for _, bad := range []string{`code="99"`, `code="600"`, `code="-1"`, `code="17"`} {
		if strings.Contains(body, bad) {
			t.Errorf("there is a series with %s", bad)
		}
	}
}

// What shows or changes the inside is on the loopback port alone.
func TestPorts(t *testing.T) {
	a := New(Options{
		Ready: func() bool { return true }, Metrics: NewMetrics(), Level: &slog.LevelVar{},
		Snapshot: func() *stream.SnapshotUpdate { return nil },
	})
	for _, tc := range []struct {
		method, path  string
		public, local int
	}{
		{"GET", "/healthz", 200, 404},
		{"GET", "/readyz", 200, 404},
		{"GET", "/metrics", 200, 404},
		{"GET", "/dump", 404, 200},
		{"GET", "/loglevel", 404, 200},
		{"PUT", "/loglevel?level=warn", 404, 200},
		{"POST", "/drain", 404, 200},
		{"GET", "/debug/pprof/", 404, 200},
		{"GET", "/debug/pprof/cmdline", 404, 200},
		{"GET", "/debug/pprof/goroutine?debug=1", 404, 200},
		{"GET", "/debug/pprof/symbol", 404, 200},
		{"GET", "/debug/pprof/profile?seconds=x", 404, 0},
		{"GET", "/debug/pprof/trace?seconds=x", 404, 0},
		{"GET", "/", 404, 404},
	} {
		if status, _ := call(a.Public(), tc.method, tc.path); status != tc.public {
			t.Errorf("%s %s on port 16000 is %d, want %d", tc.method, tc.path, status, tc.public)
		}
		if tc.local == 0 { // would measure for a while
			continue
		}
		if status, _ := call(a.Local(), tc.method, tc.path); status != tc.local {
			t.Errorf("%s %s on port 16001 is %d, want %d", tc.method, tc.path, status, tc.local)
		}
	}
}

// What a request costs must not be allocated.
func TestMetricsAllocate(t *testing.T) {
	m := NewMetrics()
	limit := m.Limit("pay", "per-client")
	if n := testing.AllocsPerRun(100, func() {
		m.HTTPRequest(200, time.Millisecond)
		m.H2CRequest(200, time.Millisecond)
		m.GRPCCall(0, time.Millisecond)
		m.ThriftCall("other", "success", time.Millisecond)
		limit.Decided(ratelimit.Allowed, ratelimit.FromStore)
	}); n != 0 {
		t.Errorf("a request's counts allocate %v times, want 0", n)
	}
}
