// SPDX-License-Identifier: Apache-2.0

package idempotency_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/delivery"
	"weir.dev/weir/sidecar/filter/idempotency"
	"weir.dev/weir/sidecar/filter/idempotency/ledger"
	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/nskey"
	"weir.dev/weir/sidecar/store/memory"
	"weir.dev/weir/sidecar/wire/h2c"
	wire "weir.dev/weir/sidecar/wire/http"
	"weir.dev/weir/sidecar/wire/listen"
)

// soon is the time within which what has to happen happens, however busy the machine.
const soon = 20 * time.Second

// policy is what the API defaults to, with times that a test can wait for.
func policy() *snapshot.IdempotencyPolicy {
	header := func(name string) *snapshot.ContentSource {
		return &snapshot.ContentSource{Kind: &snapshot.ContentSource_Header{Header: name}}
	}
	return &snapshot.IdempotencyPolicy{
		Name: "payments", Guarantee: snapshot.Guarantee_GUARANTEE_AT_MOST_ONCE,
		KeySources: []*snapshot.ContentSource{header("idempotency-key")}, MaxKeyBytes: 255,
		OnMissingKey:    snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_PASS,
		Scope:           []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_Header{Header: "x-client-id"}}},
		Fingerprint:     &snapshot.Fingerprint{Method: true, Path: true, Query: true, Body: true},
		MaxRequestBytes: 64 << 10, MaxResponseBytes: 16 << 10, ReleaseStatuses: []uint32{401, 407, 408, 425, 429},
		Lease: 30_000, Wait: 10_000, UpstreamTimeout: 60_000, LateWindow: 60_000, Retention: 86_400_000,
		Store: "default", FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_CLOSED,
	}
}

// world is a client, Weir with one policy, and an application.
type world struct {
	t testing.TB
	// away makes the store answer nothing.
	away atomic.Bool
	// handler is the application's.
	handler atomic.Pointer[http.HandlerFunc]
	// executed is how many requests the application got.
	executed atomic.Int32
	upstream string
	address  string
	keys     *nskey.Ring
	shadow   *idempotency.Shadow
	records  *memory.Records
	ledger   *ledger.Ledger
	port     atomic.Pointer[exchange.Port]
	client   *http.Client

	mu      sync.Mutex
	results map[string]int
}

// Requested implements idempotency.Metrics.
func (w *world) Requested(r idempotency.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.results[r.String()]++
}

func (w *world) counted() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.results)
}

// Do implements record.Store.
func (w *world) Do(ctx context.Context, id record.ID, cmd record.Command) (record.Answer, error) {
	if w.away.Load() {
		return record.Answer{}, record.ErrUnavailable
	}
	return w.records.Do(ctx, id, cmd)
}

// Renew implements record.Store.
func (w *world) Renew(ctx context.Context, all []record.Renewal) error {
	if w.away.Load() {
		return record.ErrUnavailable
	}
	return w.records.Renew(ctx, all)
}

// Port implements exchange.Ports.
func (w *world) Port(uint16) (*exchange.Port, bool) {
	return w.port.Load(), true
}

// use makes f what governs the port.
func (w *world) use(f *idempotency.Filter) {
	w.port.Store(&exchange.Port{Number: 8080, Protocol: exchange.HTTP, Chain: exchange.Chain{delivery.New(w.keys, time.Now), f}})
}

// Ready implements exchange.Ports.
func (w *world) Ready() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// newWorld makes a world whose application answers 201.
func newWorld(t testing.TB, p *snapshot.IdempotencyPolicy) *world {
	t.Helper()
	w := &world{t: t, keys: &nskey.Ring{}, shadow: &idempotency.Shadow{}, results: map[string]int{}}
	if err := w.keys.Set([]byte(strings.Repeat("k", nskey.Size)), nil); err != nil {
		t.Fatal(err)
	}
	w.records = memory.NewRecords(memory.RecordOptions{})
	t.Cleanup(w.records.Close)
	w.restart(p)
	w.answer(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Location", "/payments/1")
		rw.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(rw, "paid %d", w.executed.Load())
	})
	app := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.executed.Add(1)
		(*w.handler.Load())(rw, r)
	}))
	t.Cleanup(app.Close)
	w.upstream = app.Listener.Addr().String()
	w.address = w.serve(w.upstream)
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	w.client = &http.Client{Transport: tr, Timeout: soon}
	return w
}

// restart forgets what is in this process, and keeps the store.
func (w *world) restart(p *snapshot.IdempotencyPolicy) {
	w.t.Helper()
	l, err := ledger.New(ledger.Options{Store: w, Patience: 50 * time.Millisecond})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(l.Close)
	w.ledger = l
	w.use(w.compile(p))
}

func (w *world) env() idempotency.Env {
	return idempotency.Env{Namespace: "shop", Slot: 1, Ledger: w.ledger, Store: w, Keys: w.keys, Shadow: w.shadow, Metrics: w}
}

func (w *world) compile(p *snapshot.IdempotencyPolicy) *idempotency.Filter {
	w.t.Helper()
	return w.compileWith(p, w.env())
}

func (w *world) compileWith(p *snapshot.IdempotencyPolicy, env idempotency.Env) *idempotency.Filter {
	w.t.Helper()
	f, err := idempotency.Compile(p, env)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// answer sets what the application does.
func (w *world) answer(h http.HandlerFunc) { w.handler.Store(&h) }

// serve starts a Weir in front of upstream.
func (w *world) serve(upstream string) string {
	w.t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := wire.New(wire.Config{Ports: w, HTTP2: h2c.New, Logger: log})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- listen.Serve(ctx, ln, listen.Fixed(8080, upstream), s, log) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		grace, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = s.Shutdown(grace)
	})
	return ln.Addr().String()
}

// reply is what a client got.
type reply struct {
	Status  int
	Body    string
	Header  http.Header
	Trailer http.Header
}

// outcome is the part that most tests are about.
func (r reply) outcome() string {
	s := fmt.Sprintf("%d %s", r.Status, r.Header.Get("Idempotency-Status"))
	if r.Header.Get("Idempotent-Replayed") != "" {
		s += " again"
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/problem+json") {
		_, rest, _ := strings.Cut(r.Body, `"type":"https://weir.dev/problems/`)
		problem, _, _ := strings.Cut(rest, `"`)
		s += " " + problem
	}
	return strings.Join(strings.Fields(s), " ")
}

// request of a client with the key k, empty for none; fields are name, value, ….
func (w *world) request(method, path, k, body string, fields ...string) *http.Request {
	w.t.Helper()
	r, err := http.NewRequest(method, "http://"+w.address+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-Client-Id", "acme")
	r.Header.Set("Content-Type", "application/json")
	if k != "" {
		r.Header.Set("idempotency-key", k)
	}
	for i := 0; i < len(fields); i += 2 {
		if r.Header.Del(fields[i]); fields[i+1] != "" {
			r.Header[fields[i]] = []string{fields[i+1]}
		}
	}
	// Go's client repeats requests that carry the key: what is tested here is not it.
	r.GetBody = nil
	return r
}

func (w *world) do(r *http.Request) (reply, error) {
	resp, err := w.client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, string(b), resp.Header, resp.Trailer}, err
}

// post sends a payment.
func (w *world) post(k, body string, fields ...string) reply {
	w.t.Helper()
	r, err := w.do(w.request("POST", "/pay", k, body, fields...))
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) want(r reply, want string) {
	w.t.Helper()
	if got := r.outcome(); got != want {
		w.t.Fatalf("got %q, want %q\n%s", got, want, r.Body)
	}
}

func (w *world) wantExecuted(n int32) {
	w.t.Helper()
	if got := w.executed.Load(); got != n {
		w.t.Fatalf("executed %d times, want %d", got, n)
	}
}

// eventually waits for what comes by itself.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not happen: %s", what)
		}
	}
}
