// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/sidecar/store/redis/redistest"
)

const oncePolicy = `apiVersion: weir.dev/v1alpha1
kind: IdempotencyPolicy
metadata: {name: once, namespace: shop}
spec:
  targetRefs: [{name: payments}]
  match: [{http: {methods: [POST]}}]
  scope: [{header: X-Client-Id}]
  encryption: {secretRef: {name: idem-keys}}
`

const onceSecret = `---
apiVersion: v1
kind: Secret
metadata: {name: idem-keys, namespace: shop, labels: {weir.dev/use: "true"}}
stringData: {secret: 0123456789abcdef0123456789abcdef}
`

// paymentsApp counts what reaches it.
func paymentsApp(t *testing.T) (address string, reached *atomic.Int64) {
	t.Helper()
	reached = &atomic.Int64{}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := reached.Add(1)
		w.Header().Set("X-Fence", r.Header.Get("weir-idempotency-fence"))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, strings.Repeat("p", int(n)))
	}))
	t.Cleanup(app.Close)
	return app.Listener.Addr().String(), reached
}

type payment struct {
	status                 int
	body, outcome, replays string
}

// payOnce retries as clients do where nothing was sent: on a machine that is busy the
// store may answer too late.
func payOnce(t *testing.T, address, client, key string) payment {
	t.Helper()
	var got payment
	for range 60 {
		if got = payNow(t, address, client, key); got.status != http.StatusServiceUnavailable {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	return got
}

func payNow(t *testing.T, address, client, key string) payment {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/pay", strings.NewReader(`{"amount": 5}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Client-Id", client)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return payment{resp.StatusCode, string(body), resp.Header.Get("Idempotency-Status"), resp.Header.Get("Idempotent-Replayed")}
}

func writeTemp(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A policy file is all that it takes: in memory, with a key that everybody knows, which is
// said; encrypted with a Secret of the files.
func TestRunIdempotency(t *testing.T) {
	upstream, reached := paymentsApp(t)
	run := startRun(t, upstream, "-f", writeTemp(t, "policy.yaml", oncePolicy+onceSecret))
	defer func() { _ = run.stop() }()
	if said := strings.Join(run.said, "\n"); !strings.Contains(said, "a key that everybody knows") || !strings.Contains(said, "accepted IdempotencyPolicy once") {
		t.Errorf("it said:\n%s", said)
	}
	for _, c := range []struct {
		client, key string
		want        payment
	}{
		{"a", "1", payment{201, "p", "executed", ""}},
		{"a", "1", payment{201, "p", "replayed", "true"}},
		{"b", "1", payment{201, "pp", "executed", ""}},
		{"a", "", payment{201, "ppp", "ignored", ""}},
	} {
		if got := payOnce(t, run.address, c.client, c.key); got != c.want {
			t.Errorf("client %s, key %q: got %+v, want %+v", c.client, c.key, got, c.want)
		}
	}
	if n := reached.Load(); n != 3 {
		t.Errorf("%d requests reached the application, want 3", n)
	}
}

// Two processes with one Redis and one key are one system; with another key they are two.
func TestRunIdempotencySharesARedis(t *testing.T) {
	upstream, reached := paymentsApp(t)
	redis := redistest.Start(t).Addr
	policy := writeTemp(t, "policy.yaml", strings.Replace(oncePolicy, "  encryption: {secretRef: {name: idem-keys}}\n", "", 1))
	key, other := writeTemp(t, "key", strings.Repeat("k", 32)+"\n"), writeTemp(t, "other", strings.Repeat("o", 32))
	start := func(key string) *weirRun {
		t.Helper()
		run := startRun(t, upstream, "-f", policy, "--redis", redis, "--secret-file", key, "--data-dir", filepath.Join(t.TempDir(), "notes"))
		t.Cleanup(func() { _ = run.stop() })
		if said := strings.Join(run.said, "\n"); strings.Contains(said, "everybody knows") {
			t.Errorf("it said:\n%s", said)
		}
		return run
	}
	one, two, three := start(key), start(key), start(other)
	if got, want := payOnce(t, one.address, "a", "1"), (payment{201, "p", "executed", ""}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := payOnce(t, two.address, "a", "1"), (payment{201, "p", "replayed", "true"}); got != want {
		t.Errorf("another process: got %+v, want %+v", got, want)
	}
	if got, want := payOnce(t, three.address, "a", "1"), (payment{201, "pp", "executed", ""}); got != want {
		t.Errorf("under another key: got %+v, want %+v", got, want)
	}
	if n := reached.Load(); n != 2 {
		t.Errorf("%d requests reached the application, want 2", n)
	}
}

func TestRunIdempotencyRefuses(t *testing.T) {
	policy := writeTemp(t, "policy.yaml", oncePolicy+onceSecret)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"a short key":       {[]string{"--secret-file", writeTemp(t, "key", "short\n")}, "--secret-file: "},
		"no key file":       {[]string{"--secret-file", "/nowhere/key"}, "--secret-file: "},
		"a folder in vain":  {[]string{"--data-dir", t.TempDir()}, "--data-dir goes with --redis"},
		"a folder, a Redis": {[]string{"--data-dir", t.TempDir(), "--redis", ""}, "--data-dir goes with --redis"},
	} {
		t.Run(name, func(t *testing.T) {
			c0 := root()
			c0.SetArgs(append([]string{"run", "-f", policy, "--listener", "name=payments/http,listen=127.0.0.1:0,upstream=127.0.0.1:9"}, c.args...))
			c0.SetOut(io.Discard)
			if err := c0.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
