// SPDX-License-Identifier: Apache-2.0

package rls_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

// envoyBinary is a real Envoy, or the test is skipped: `make test-envoy` finds one.
func envoyBinary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("WEIR_TEST_ENVOY")
	if path == "" {
		t.Skip("WEIR_TEST_ENVOY is not set to the path of an Envoy: make test-envoy sets it")
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip(err)
	}
	return path
}

// startEnvoy runs the complete example of docs/gateway.md, with other ports.
func startEnvoy(t *testing.T, rls, app string) string {
	t.Helper()
	binary := envoyBinary(t)
	page, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```yaml\n(static_resources:.*?)```").FindSubmatch(page)
	if example == nil {
		t.Fatal("docs/gateway.md has no Envoy")
	}
	listen := redistest.FreeAddr(t)
	config := string(example[1])
	for from, to := range map[string]string{"8080": listen, "8081": rls, "9000": app} {
		_, port, _ := net.SplitHostPort(to)
		if !strings.Contains(config, "port_value: "+from+"}") {
			t.Fatalf("the example has no port %s", from)
		}
		config = strings.ReplaceAll(config, "port_value: "+from+"}", "port_value: "+port+"}")
	}
	file := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-c", file, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if b, _ := os.ReadFile(out.Name()); t.Failed() {
			t.Logf("Envoy says:\n%s", b)
		}
		_ = out.Close()
	})
	for range 300 {
		if c, err := net.Dial("tcp", listen); err == nil {
			_ = c.Close()
			return listen
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("Envoy does not listen")
	return ""
}

// gateway are Envoy, its clients' way to it, and what became of a request.
type gateway struct {
	t    *testing.T
	addr string
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (g *gateway) send(method, path string, fields ...string) reply {
	g.t.Helper()
	req, err := http.NewRequest(method, "http://"+g.addr+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(b)}
}

// want sends n requests that pass and one that does not.
func (g *gateway) want(n int, method, path string, fields ...string) reply {
	g.t.Helper()
	for i := range n {
		if r := g.send(method, path, fields...); r.status != 200 {
			g.t.Fatalf("request %d of %s: %+v", i+1, path, r)
		}
	}
	r := g.send(method, path, fields...)
	if r.status != 429 {
		g.t.Fatalf("request %d of %s: %+v, want 429", n+1, path, r)
	}
	return r
}

// A real Envoy asks about requests; the counters are in a real Redis.
func TestEnvoy(t *testing.T) {
	envoyBinary(t)
	redis := redistest.Start(t)
	snap := payments()
	snap.Ports = append(snap.Ports, &snapshot.Port{Number: 8081, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "orders", Names: []string{"orders/http"}})
	snap.RateLimitPolicies = append([]*snapshot.RateLimitPolicy{{
		Name: "orders", FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK, Headers: snapshot.HeaderStyle_HEADER_STYLE_X_RATE_LIMIT,
		Limits: []*snapshot.Limit{perClient(1)},
	}}, snap.RateLimitPolicies...)
	snap.Stores = []*snapshot.Store{{Name: "r", Redis: &snapshot.Redis{Mode: snapshot.Redis_MODE_STANDALONE, Addresses: []string{redis.Addr}, KeyPrefix: "w"}}}
	for _, p := range snap.RateLimitPolicies {
		p.Store = "r"
		p.Limits[0].Scope = snapshot.Scope_SCOPE_CLUSTER
	}
	s := serve(t, snap)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-App", "1") }))
	defer app.Close()
	g := &gateway{t, startEnvoy(t, s.conn.Target(), app.Listener.Addr().String())}

	const path = "/users/7/payments"
	first := g.send("POST", path, "X-Client-Id", "a")
	if first.status != 200 || first.header.Get("X-App") != "1" || first.header.Get("RateLimit-Policy") != `"per-client";q=2;w=60` || !strings.HasPrefix(first.header.Get("RateLimit"), `"per-client";r=1;t=`) {
		t.Errorf("the first: %+v", first)
	}
	denied := g.want(1, "POST", "//users/7/./payments?x=1", "X-Client-Id", "a")
	want := map[string]string{
		"Content-Type": "application/problem+json", "Cache-Control": "no-store", "X-App": "",
	}
	for name, v := range want {
		if got := denied.header.Values(name); strings.Join(got, "|") != v {
			t.Errorf("%s is %q, want %q", name, got, v)
		}
	}
	wait, err := strconv.Atoi(strings.TrimPrefix(denied.header.Get("RateLimit"), `"per-client";r=0;t=`))
	retry, err2 := strconv.Atoi(denied.header.Get("Retry-After"))
	if err != nil || err2 != nil || retry < wait || retry > wait+max(1, wait/10) {
		t.Errorf("RateLimit %q, Retry-After %d", denied.header.Get("RateLimit"), retry)
	}
	if !strings.Contains(denied.body, `"status":429,"detail":"Limit per-client allows 2 requests per 60 s; retry in `) {
		t.Errorf("body %s", denied.body)
	}
	g.want(2, "POST", path, "X-Client-Id", "b")
	g.want(2, "POST", path) // by the address
	g.want(2, "POST", path, "X-Client-Id", "\xff\xfe")
	if r := g.want(1, "GET", "/orders", "X-Client-Id", "a"); r.header.Get("X-RateLimit-Remaining") != "0" || r.header.Get("X-RateLimit-Limit") != "1" {
		t.Errorf("the domain of a route: %+v", r)
	}
	if r := g.send("POST", "/users/7%2Fpayments", "X-Client-Id", "c"); r.status != 429 || !strings.Contains(r.body, "encoded-slash") {
		t.Errorf("an encoded slash: %+v", r)
	}
	// Of a header that comes twice Envoy tells the first.
	for i, status := range []int{200, 200, 429} {
		if r := g.send("POST", path, "X-Client-Id", "first", "X-Client-Id", fmt.Sprint("other", i)); r.status != status {
			t.Errorf("a header that comes twice, request %d: %d, want %d", i+1, r.status, status)
		}
	}

	// Another service on the same Redis knows what was counted.
	other := serve(t, snap)
	other.want(t, over, pay("a"))
	if s.counts.calls["OVER_LIMIT"] != 7 {
		t.Errorf("counted %v", s.counts.calls)
	}
}
