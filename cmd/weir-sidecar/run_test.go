// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/engine"
)

// logs collects the JSON lines of a process.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// await returns a field of the first line with that message.
func (l *logs) await(t *testing.T, msg, field string) string {
	t.Helper()
	for range 2000 {
		for line := range strings.Lines(l.String()) {
			var v map[string]any
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatalf("a line of the log is not JSON: %q", line)
			}
			if v["msg"] == msg {
				return fmt.Sprint(v[field])
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("the log has no %q:\n%s", msg, l)
	return ""
}

func five() *snapshot.Snapshot {
	return &snapshot.Snapshot{
		Workload: &snapshot.Workload{Cluster: "local", Namespace: "shop", Key: "w"},
		Ports: []*snapshot.Port{{
			Number: 20001, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "pay", Names: []string{"payments/http"},
		}},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{
			Name: "pay", Generation: 1,
			Limits: []*snapshot.Limit{{
				Name: "l", OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP,
				Algorithm: snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW, Limit: 5, WindowSeconds: 3600, Scope: snapshot.Scope_SCOPE_POD,
			}},
			FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_OPEN, Headers: snapshot.HeaderStyle_HEADER_STYLE_IETF,
		}},
	}
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// background runs until the test ends, and checks that it ends without an error.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestBare(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer app.Close()
	b, err := protojson.Marshal(five())
	if err != nil {
		t.Fatal(err)
	}
	f := bareFlags{
		snapshot:  write(t, "s.json", b),
		listeners: []string{"name=payments/http,listen=127.0.0.1:0,upstream=" + strings.TrimPrefix(app.URL, "http://")},
		admin:     "127.0.0.1:0",
	}
	var out logs
	stop := background(t, func(ctx context.Context) error {
		return f.run(ctx, slog.New(slog.NewJSONHandler(&out, nil)), &slog.LevelVar{})
	})
	url := "http://" + out.await(t, "listening", "address")
	admin := "http://" + out.await(t, "admin", "address")
	for i := range 7 {
		want := 200
		if i >= 5 {
			want = 429
		}
		if status, body := get(t, url); status != want {
			t.Errorf("request %d: %d %s, want %d", i, status, body, want)
		}
	}
	// A head that cannot be read has no beginning that a duration could count from.
	if got := exchangeRaw(t, strings.TrimPrefix(url, "http://"), "GET / HTTP/1.1\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("without Host: got %q", got)
	}
	_, metrics := get(t, admin+"/metrics")
	for _, want := range []string{`weir_request_duration_seconds_count{code="429",protocol="http"} 2`, `weir_request_duration_seconds_sum{code="400",protocol="http"} 0`} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics do not have %s:\n%s", want, metrics)
		}
	}
	if _, body := get(t, admin+"/dump"); !strings.Contains(body, snapshot.Hash(five())) {
		t.Errorf("the dump lacks the hash:\n%s", body)
	}
	stop()
	if _, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")); err == nil {
		t.Error("it still listens after its end")
	}
}

// exchangeRaw sends bytes and returns all that comes back.
func exchangeRaw(t *testing.T, addr, sent string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, sent)
	b, _ := io.ReadAll(c)
	return string(b)
}

func TestBareRefuses(t *testing.T) {
	good, err := protojson.Marshal(five())
	if err != nil {
		t.Fatal(err)
	}
	bad := five()
	bad.RateLimitPolicies[0].Limits[0].Limit = 0
	refused, err := protojson.Marshal(bad)
	if err != nil {
		t.Fatal(err)
	}
	listener := []string{"name=payments/http,listen=127.0.0.1:0,upstream=127.0.0.1:1"}
	for name, tc := range map[string]struct {
		flags bareFlags
		want  string
	}{
		"no listener":   {bareFlags{snapshot: "x"}, "needed together"},
		"no snapshot":   {bareFlags{listeners: listener}, "needed together"},
		"no file":       {bareFlags{snapshot: "/nowhere", listeners: listener}, "/nowhere"},
		"not JSON":      {bareFlags{snapshot: write(t, "s", []byte("kind: RateLimitPolicy")), listeners: listener}, "no file of weir compile"},
		"unknown field": {bareFlags{snapshot: write(t, "s", []byte(`{"colour":"red"}`)), listeners: listener}, "colour"},
		"refused":       {bareFlags{snapshot: write(t, "s", refused), listeners: listener}, "limit"},
		"unknown name":  {bareFlags{snapshot: write(t, "s", good), listeners: []string{"name=a/b,listen=127.0.0.1:0,upstream=127.0.0.1:1"}}, "it has payments/http"},
		"taken address": {bareFlags{snapshot: write(t, "s", good), listeners: []string{"port=1,listen=192.0.2.1:1,upstream=127.0.0.1:1"}}, "192.0.2.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.flags.run(t.Context(), slog.New(slog.DiscardHandler), &slog.LevelVar{})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// podAddress is an address of this machine that stands for a pod's.
func podAddress(t *testing.T) netip.Addr {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return netip.MustParseAddr(n.IP.String())
		}
	}
	t.Skip("this machine has no address but loopback's")
	return netip.Addr{}
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

// A pod whose operator is away: alive at once, not ready, its probes forwarded,
// its ports answering 503 rather than passing.
func TestProxyWithoutOperator(t *testing.T) {
	ip := podAddress(t)
	l, err := net.Listen("tcp", net.JoinHostPort(ip.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	app := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "app "+r.URL.Path)
	})}}
	app.Start()
	defer app.Close()
	appPort := netip.MustParseAddrPort(l.Addr().String()).Port()
	named, status, admin := freePort(t), freePort(t), freePort(t)
	p := podSettings{
		files:    files{token: "/nowhere", ca: "/nowhere", state: t.TempDir()},
		status:   port(status),
		admin:    fmt.Sprintf("127.0.0.1:%d", admin),
		operator: "operator.invalid:8443", namespace: "shop", pod: "one", ip: ip,
		namedPorts: []podspec.NamedPort{{Name: "http", Listen: named, Port: appPort}},
		probes:     []podspec.Probe{{Container: "app", Kind: podspec.ProbeLiveness, HTTPGet: &podspec.HTTPGet{Port: appPort, Path: "/live"}}},
	}
	var out logs
	background(t, func(ctx context.Context) error {
		return p.run(ctx, slog.New(slog.NewJSONHandler(&out, nil)), &slog.LevelVar{})
	})
	out.await(t, "listening", "msg")
	base := fmt.Sprintf("http://127.0.0.1:%d", status)
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/probe/app/liveness": 200} {
		if got, body := get(t, base+path); got != want {
			t.Errorf("GET %s: %d %s, want %d", path, got, body, want)
		}
	}
	if _, body := get(t, base+"/probe/app/liveness"); body != "app /live" {
		t.Errorf("the probe reached %q, want the app", body)
	}
	if err := drain(t.Context(), p.admin); err != nil {
		t.Errorf("drain: %v", err)
	}
	if _, body := get(t, base+"/readyz"); body != "draining\n" {
		t.Errorf("/readyz says %q after drain", body)
	}
}

// With an operator a pod gets ready and enforces; without, its next container
// does so from the last good state.
func TestProxy(t *testing.T) {
	ip := podAddress(t)
	o := startOperator(t, five())
	named, status, admin := freePort(t), freePort(t), freePort(t)
	p := podSettings{
		files:    files{token: write(t, "token", []byte("t0ken")), ca: write(t, "ca.crt", o.ca), state: t.TempDir()},
		status:   port(status),
		admin:    fmt.Sprintf("127.0.0.1:%d", admin),
		operator: o.address, namespace: "shop", pod: "one", ip: ip,
		namedPorts: []podspec.NamedPort{{Name: "http", Listen: named, Port: 20001}},
	}
	enforces := func() {
		t.Helper()
		if got, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/readyz", status)); got != 200 {
			t.Errorf("/readyz: %d %s, want 200", got, body)
		}
		// Nobody listens on the app's port.
		for i := range 6 {
			want := 502
			if i == 5 {
				want = 429
			}
			if got, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/", named)); got != want {
				t.Errorf("request %d: %d %s, want %d", i, got, body, want)
			}
		}
	}
	var out logs
	run := func(out *logs) func(context.Context) error {
		return func(ctx context.Context) error {
			return p.run(ctx, slog.New(slog.NewJSONHandler(out, nil)), &slog.LevelVar{})
		}
	}
	stop := background(t, run(&out))
	if ack := await(t, o, (*stream.FromSidecar).GetAck); ack.GetHash() != snapshot.Hash(five()) {
		t.Errorf("ack of %s, want %s", ack.GetHash(), snapshot.Hash(five()))
	}
	enforces()
	// TLS on a governed port is closed and counted.
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", named), &tls.Config{InsecureSkipVerify: true})
	if err == nil {
		_ = conn.Close()
		t.Error("a TLS handshake on a governed port succeeded")
	}
	if _, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", status)); !strings.Contains(body, "weir_encrypted_connections_total 1\n") {
		t.Error("the encrypted connection is not counted")
	}
	stop()
	o.server.Stop()

	var again logs
	background(t, run(&again))
	again.await(t, "serving the last good state", "hash")
	enforces()
	if strings.Contains(out.String()+again.String(), "t0ken") {
		t.Error("the token is in the log")
	}
}

// What listeners see goes into the engine's reports.
func TestReportedProblems(t *testing.T) {
	var p problems
	e := engine.New(engine.Options{})
	defer e.Close()
	for _, port := range []uint16{9090, 8080, 8080} {
		p.encrypted(port)
	}
	want := &stream.Report{Problems: []*stream.PortProblem{
		{Kind: stream.PortProblem_KIND_ENCRYPTED_TRAFFIC, Port: 8080, Count: 2},
		{Kind: stream.PortProblem_KIND_ENCRYPTED_TRAFFIC, Port: 9090, Count: 1},
	}}
	if got := (sink{Engine: e, problems: &p}).Report(); !proto.Equal(got, want) {
		t.Errorf("report %v, want %v", got, want)
	}
}

func TestDrainWithoutSidecar(t *testing.T) {
	if err := drain(t.Context(), fmt.Sprintf("127.0.0.1:%d", freePort(t))); err == nil {
		t.Error("no error, though nobody listens")
	}
}
