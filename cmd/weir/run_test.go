// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/controllers/devbackends"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

const limitPolicy = `apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: payments, namespace: shop}
spec:
  targetRefs: [{name: payments}]
  limits: [{name: per-client, key: [{header: X-Client-Id}], limit: LIMIT, window: 3600s}]
`

func withLimit(n int) string { return strings.Replace(limitPolicy, "LIMIT", fmt.Sprint(n), 1) }

// weirRun is `weir run` in this process.
type weirRun struct {
	address string
	lines   chan string
	said    []string // what await has seen
	stop    func() error
}

func startRun(t *testing.T, upstream string, args ...string) *weirRun {
	t.Helper()
	return startListener(t, "payments/http", upstream, args...)
}

func startListener(t *testing.T, name, upstream string, args ...string) *weirRun {
	t.Helper()
	run := startCommand(t, append([]string{"run", "--listener", "name=" + name + ",listen=127.0.0.1:0,upstream=" + upstream}, args...)...)
	line := run.await(t, "listening on ")
	run.address = strings.Fields(line)[2]
	return run
}

func startCommand(t *testing.T, args ...string) *weirRun {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	c := root()
	c.SetArgs(args)
	c.SetOut(w)
	done := make(chan error, 1)
	go func() {
		err := c.ExecuteContext(ctx)
		_ = w.CloseWithError(io.EOF)
		done <- err
	}()
	run := &weirRun{lines: make(chan string, 4096)}
	run.stop = func() error { cancel(); return <-done }
	go func() {
		defer close(run.lines)
		s := bufio.NewScanner(r)
		for s.Scan() {
			// A test that reads no more must not make the command wait, whose log this is.
			select {
			case run.lines <- s.Text():
			default:
			}
		}
	}()
	return run
}

// await returns the next line that holds text.
func (r *weirRun) await(t *testing.T, text string) string {
	t.Helper()
	for {
		select {
		case line, ok := <-r.lines:
			if !ok {
				t.Fatalf("weir run ended without saying %q", text)
			}
			r.said = append(r.said, line)
			if strings.Contains(line, text) {
				return line
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("weir run did not say %q within 30 s", text)
		}
	}
}

// admitted sends n requests of a client, spread over addresses, and counts 200s.
func admitted(t *testing.T, client string, n int, addresses ...string) int {
	t.Helper()
	ok := 0
	for i := range n {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addresses[i%len(addresses)]+"/users/1/payments", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Client-Id", client)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusOK:
			ok++
		case http.StatusTooManyRequests:
		default:
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
	return ok
}

// exactly demands that want of n requests of a client pass. A call to the store
// that takes over 10 ms falls back to counting in the process, as it should on a
// machine that is this busy; another client tries again then.
func exactly(t *testing.T, client string, n, want int, addresses ...string) {
	t.Helper()
	var got []int
	for try := range 10 {
		got = append(got, admitted(t, fmt.Sprintf("%s-%d", client, try), n, addresses...))
		if got[try] == want {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Errorf("of %d requests passed, client by client, %v; want %d", n, got, want)
}

func shop(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func policyFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, text)
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRunFollowsItsFile(t *testing.T) {
	file := policyFile(t, withLimit(3))
	run := startRun(t, shop(t), "-f", file)
	if got := admitted(t, "a", 6, run.address); got != 3 {
		t.Errorf("limit 3: %d of 6 passed", got)
	}
	write(t, file, withLimit(5))
	run.await(t, "accepted RateLimitPolicy payments")
	if got := admitted(t, "a", 6, run.address); got != 2 {
		t.Errorf("limit 5 with 3 spent: %d of 6 passed, want 2", got)
	}
	write(t, file, strings.Replace(withLimit(9), "3600s", "soon", 1))
	run.await(t, "spec.limits[0].window")
	if got := admitted(t, "b", 9, run.address); got != 5 {
		t.Errorf("after a mistake the policy before goes on: %d of 9 passed, want 5", got)
	}
	if err := run.stop(); err != nil {
		t.Error(err)
	}
}

func TestTwoProcessesOverOneRedisAreOneSystem(t *testing.T) {
	redis := redistest.Start(t)
	file := policyFile(t, withLimit(7))
	app := shop(t)
	a := startRun(t, app, "-f", file, "--redis", redis.Addr)
	b := startRun(t, app, "-f", file, "--redis", "redis://"+redis.Addr)
	exactly(t, "a", 20, 7, a.address, b.address)
	for _, r := range []*weirRun{a, b} {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	}
}

// The store of trials runs the same script as Redis.
func TestDevBackendsCountAsRedisDoes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	addr, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- devbackends.Redis(ctx, "127.0.0.1:0", func(a string) { addr <- a }) }()
	redis := <-addr
	text := withLimit(7)
	for algorithm, window := range map[string]string{"SlidingWindow": "60s", "TokenBucket": "3600s", "FixedWindow": "86400s"} {
		t.Run(algorithm, func(t *testing.T) {
			file := policyFile(t, strings.Replace(text, "window: 3600s", "algorithm: "+algorithm+", window: "+window, 1))
			app := shop(t)
			// On a machine that is busy the store may answer too late, and the fallback counts
			// in its place: that says nothing of the store.
			for attempt := range 20 {
				a := startRun(t, app, "-f", file, "--redis", redis, "--admin", "127.0.0.1:0")
				admin := strings.Fields(a.await(t, "health and metrics on "))[4]
				got := admitted(t, fmt.Sprint(algorithm, attempt), 20, a.address)
				m := decisions(t, admin)
				if err := a.stop(); err != nil {
					t.Error(err)
				}
				if strings.Contains(m, `source="fallback"`) {
					continue
				}
				if got != 7 || !strings.Contains(m, `source="store"`) {
					t.Errorf("%d of 20 passed, want 7; decisions:\n%s", got, m)
				}
				return
			}
			t.Error("the store never answered in time")
		})
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// decisions are the lines of /metrics about them.
func decisions(t *testing.T, admin string) string {
	t.Helper()
	resp, err := http.Get(admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "weir_decisions_total") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func TestRunLogsRequests(t *testing.T) {
	run := startRun(t, shop(t), "-f", policyFile(t, withLimit(1)), "--access-log", "all")
	if got := admitted(t, "a", 2, run.address); got != 1 {
		t.Errorf("%d of 2 requests passed, want 1", got)
	}
	for _, want := range []string{`"status":200`, `"status":429`} {
		if line := run.await(t, `{"log":"access"`); !strings.Contains(line, want) || !strings.Contains(line, `"path":"/users/1/payments"`) {
			t.Errorf("got the line %s, want %s", line, want)
		}
	}
	if err := run.stop(); err != nil {
		t.Error(err)
	}
}

// A policy whose target is no listener is said, and the listeners there are.
func TestRunNamesItsListeners(t *testing.T) {
	file := policyFile(t, strings.Replace(withLimit(3), "[{name: payments}]", "[{name: orders}]", 1))
	run := startRun(t, "localhost:9", "-f", file)
	if err := run.stop(); err != nil {
		t.Error(err)
	}
	if text := strings.Join(run.said, "\n"); !strings.Contains(text, "refused RateLimitPolicy payments: TargetNotFound") ||
		!strings.Contains(text, "there are: payments/http") {
		t.Errorf("it says %s", text)
	}
}

func TestRunRefuses(t *testing.T) {
	good := policyFile(t, withLimit(3))
	bad := policyFile(t, strings.Replace(withLimit(3), "limit: 3", "limit: -3", 1))
	listener := "name=payments/http,listen=127.0.0.1:0,upstream=127.0.0.1:9"
	for name, test := range map[string]struct {
		args []string
		want []string
	}{
		"no file":           {[]string{"--listener", listener}, []string{"-f"}},
		"no listener":       {[]string{"-f", good}, []string{"--listener"}},
		"bad policy":        {[]string{"-f", bad, "--listener", listener}, []string{bad, "spec.limits[0].limit"}},
		"missing file":      {[]string{"-f", "/nowhere.yaml", "--listener", listener}, []string{"/nowhere.yaml"}},
		"listener by words": {[]string{"-f", good, "--listener", "payments"}, []string{"payments", "key=value"}},
		"upstream by URL":   {[]string{"-f", good, "--listener", "name=payments/http,listen=127.0.0.1:0,upstream=http://localhost:9"}, []string{"upstream", "HOST:PORT"}},
		"port alone":        {[]string{"-f", good, "--listener", "name=payments/http,listen=8080,upstream=localhost:9"}, []string{"listen \"8080\"", "HOST:PORT"}},
		"another protocol":  {[]string{"-f", good, "--listener", listener + ",protocol=mysql"}, []string{`protocol "mysql"`, "use http, h2c, grpc, ws, thrift or auto"}},
		"access log":        {[]string{"-f", good, "--listener", listener, "--access-log", "on"}, []string{"--access-log", "off, errors, sampled or all"}},
		"log sample":        {[]string{"-f", good, "--listener", listener, "--access-log", "sampled", "--access-log-sample", "101"}, []string{"--access-log-sample: 101 is no percentage"}},
		"nothing to sample": {[]string{"-f", good, "--listener", listener, "--access-log-sample", "1"}, []string{"--access-log-sample goes with --access-log sampled"}},
		"collector by URL":  {[]string{"-f", good, "--listener", listener, "--otlp", "http://localhost:4317"}, []string{"--otlp: ", "Leave the scheme out"}},
		"no spans":          {[]string{"-f", good, "--listener", listener, "--trace-sample", "1"}, []string{"--trace-sample goes with --otlp"}},
		"scheme of redis":   {[]string{"-f", good, "--listener", listener, "--redis", "http://x"}, []string{"--redis", "redis://"}},
		"no replicas":       {[]string{"-f", good, "--listener", listener, "--replicas", "0"}, []string{"--replicas"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := root()
			c.SetArgs(append([]string{"run"}, test.args...))
			c.SetOut(io.Discard)
			err := c.ExecuteContext(t.Context())
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, w := range test.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not name %q", err, w)
				}
			}
		})
	}
}
