// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

// go-redis sleeps a second after a dial that failed, also when it is closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// patient is a timeout that a slow machine does not exceed by accident.
const patient = 5 * time.Second

func options(addr string) Options {
	return Options{Name: "default", Addresses: []string{addr}, KeyPrefix: "weir:test:shop", Timeout: patient}
}

func dial(t testing.TB, opts Options) *Store {
	t.Helper()
	s := New(opts, nil)
	t.Cleanup(s.Close)
	return s
}

func mustRule(t testing.TB, a limiter.Algorithm, limit, window, burst uint64) *limiter.Rule {
	t.Helper()
	r, err := limiter.NewRule(a, limit, window, burst)
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

func key(b byte) limiter.Key { return limiter.Key{b, 1, 2, 3} }

// take asks for one op, failing the test when the store does not decide.
func take(t testing.TB, s *Store, ops ...limiter.Op) []limiter.Op {
	t.Helper()
	if err := s.Take(t.Context(), ops); err != nil {
		t.Fatalf("Take: %v", err)
	}
	return ops
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("in 60 s it has not come about that %s", what)
}

func TestTwoStoresAdmitTheLimitTogether(t *testing.T) {
	server := redistest.Start(t)
	for name, r := range map[string]*limiter.Rule{
		"sliding": mustRule(t, limiter.SlidingWindow, 100, 3600, 0),
		"bucket":  mustRule(t, limiter.TokenBucket, 1, 3600*24, 10),
		"fixed":   mustRule(t, limiter.FixedWindow, 100, 366*24*3600, 0),
	} {
		t.Run(name, func(t *testing.T) {
			stores := []*Store{dial(t, options(server.Addr)), dial(t, options(server.Addr))}
			var admitted, failed atomic.Int64
			var wg sync.WaitGroup
			for g := range 16 {
				wg.Go(func() {
					for range 25 {
						ops := []limiter.Op{{ID: "payments/" + name, Rule: r, Key: key(1)}}
						if err := stores[g%2].Take(t.Context(), ops); err != nil {
							failed.Add(1)
						} else if ops[0].Decision.Allowed {
							admitted.Add(1)
						}
					}
				})
			}
			wg.Wait()
			want := int64(r.Limit())
			if r.Burst() > 0 {
				want = int64(r.Burst())
			}
			if admitted.Load() != want || failed.Load() != 0 {
				t.Errorf("admitted %d of 400, %d failed; want %d", admitted.Load(), failed.Load(), want)
			}
		})
	}
}

func TestAllOrNothing(t *testing.T) {
	s := dial(t, options(redistest.Start(t).Addr))
	wide, narrow := mustRule(t, limiter.SlidingWindow, 10, 3600, 0), mustRule(t, limiter.TokenBucket, 2, 3600, 2)
	ops := func() []limiter.Op {
		return []limiter.Op{
			{ID: "p/wide", Rule: wide, Key: key(1)},
			{ID: "p/narrow", Rule: narrow, Key: key(2)},
			{ID: "p/shadow", Rule: mustRule(t, limiter.FixedWindow, 4, 366*24*3600, 0), Key: key(3), Shadow: true},
		}
	}
	for i := range 6 {
		got := take(t, s, ops()...)
		if want := i < 2; got[0].Decision.Allowed != true || got[1].Decision.Allowed != want {
			t.Fatalf("request %d: %+v", i, got)
		}
		if want := i < 4; got[2].Decision.Allowed != want {
			t.Fatalf("request %d: shadow %+v, want %v", i, got[2].Decision, want)
		}
	}
	if got := take(t, s, ops()[0])[0].Decision.Remaining; got != 7 {
		t.Errorf("the wide limit has %d left, want 7: what the narrow one denied must not be spent", got)
	}
}

func TestShadowDoesNotCountForOthers(t *testing.T) {
	s := dial(t, options(redistest.Start(t).Addr))
	r := mustRule(t, limiter.SlidingWindow, 3, 3600, 0)
	for i := range 4 {
		got := take(t, s,
			limiter.Op{ID: "p/shadow", Rule: mustRule(t, limiter.SlidingWindow, 1, 3600, 0), Key: key(1), Shadow: true},
			limiter.Op{ID: "p/real", Rule: r, Key: key(1)})
		if want := i < 3; got[1].Decision.Allowed != want || got[0].Decision.Allowed != (i == 0) {
			t.Errorf("request %d: %+v", i, got)
		}
	}
}

// TestUnspentIsNotRefunded: in a slot where one limit denied, the other has spent
// nothing, and must get nothing back.
func TestUnspentIsNotRefunded(t *testing.T) {
	opts := options(redistest.StartCluster(t).Addr)
	opts.Mode = Cluster
	s := dial(t, opts)
	wide, narrow := mustRule(t, limiter.SlidingWindow, 10, 3600, 0), mustRule(t, limiter.SlidingWindow, 1, 3600, 0)
	for range 20 {
		take(t, s,
			limiter.Op{ID: "p/wide", Rule: wide, Key: key(1)}, limiter.Op{ID: "p/narrow", Rule: narrow, Key: key(1)},
			limiter.Op{ID: "p/other", Rule: wide, Key: key(2)})
	}
	eventually(t, "the refunds of the other slot have arrived", func() bool {
		got := take(t, s, limiter.Op{ID: "p/other", Rule: wide, Key: key(2), Shadow: false}, limiter.Op{ID: "p/narrow", Rule: narrow, Key: key(1)})
		return got[0].Decision.Remaining == 9
	})
	if got := take(t, s, limiter.Op{ID: "p/wide", Rule: wide, Key: key(1)})[0].Decision.Remaining; got != 8 {
		t.Errorf("the wide limit has %d left after two of ten, want 8", got)
	}
}

// TestSlotsOfACluster: in a cluster each key is a call of its own; what some have
// spent comes back when another denies.
func TestSlotsOfACluster(t *testing.T) {
	opts := options(redistest.StartCluster(t).Addr)
	opts.Mode = Cluster
	s := dial(t, opts)
	wide, narrow := mustRule(t, limiter.SlidingWindow, 10, 3600, 0), mustRule(t, limiter.SlidingWindow, 2, 3600, 0)
	ops := func() []limiter.Op {
		return []limiter.Op{
			{ID: "p/wide", Rule: wide, Key: key(1)},
			{ID: "p/wide2", Rule: wide, Key: key(1)},
			{ID: "p/narrow", Rule: narrow, Key: key(2)},
		}
	}
	for i := range 5 {
		if got, want := !limiter.Denied(take(t, s, ops()...)), i < 2; got != want {
			t.Fatalf("request %d: allowed %v, want %v", i, got, want)
		}
	}
	eventually(t, "the refunds have arrived", func() bool {
		got := take(t, s, ops()...)
		return got[0].Decision.Remaining == 8 && got[1].Decision.Remaining == 8
	})
}

func TestSentinel(t *testing.T) {
	server := redistest.Start(t)
	opts := options(redistest.StartSentinel(t, server).Addr)
	opts.Mode, opts.MasterName = Sentinel, "main"
	s := dial(t, opts)
	r := mustRule(t, limiter.SlidingWindow, 1, 3600, 0)
	for i, want := range []bool{true, false} {
		if got := take(t, s, limiter.Op{ID: "p/l", Rule: r, Key: key(1)})[0].Decision.Allowed; got != want {
			t.Errorf("request %d: allowed %v, want %v", i, got, want)
		}
	}
	server.Do("DBSIZE", ":1")
}

func TestScriptFlush(t *testing.T) {
	s := dial(t, options(redistest.Start(t).Addr))
	r := mustRule(t, limiter.SlidingWindow, 3, 3600, 0)
	for i := range 5 {
		if err := s.conn.Load().ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		got := take(t, s, limiter.Op{ID: "p/l", Rule: r, Key: key(1)})[0].Decision
		if want := i < 3; got.Allowed != want {
			t.Errorf("request %d: %+v, want allowed %v", i, got, want)
		}
	}
}

func TestKeysAndTTL(t *testing.T) {
	s := dial(t, options(redistest.Start(t).Addr))
	take(t, s, limiter.Op{ID: "payments/per-client", Rule: mustRule(t, limiter.SlidingWindow, 3, 60, 0), Key: key(0xab)})
	keys, err := s.conn.Load().Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	want := "weir:test:shop:{ab010203000000000000000000000000}:rl:payments/per-client"
	if len(keys) != 1 || keys[0] != want {
		t.Fatalf("keys %q, want %s", keys, want)
	}
	ttl, err := s.conn.Load().PTTL(t.Context(), want).Result()
	if err != nil || ttl < time.Minute || ttl > 66*time.Second {
		t.Errorf("TTL %s, %v; want the window, a slot and a second", ttl, err)
	}
}

func TestKilledAndRestarted(t *testing.T) {
	server := redistest.Start(t)
	m := &recorder{}
	opts := options(server.Addr)
	opts.Metrics = m
	s := dial(t, opts)
	r := mustRule(t, limiter.SlidingWindow, 1000, 60, 0)
	op := func() []limiter.Op { return []limiter.Op{{ID: "p/l", Rule: r, Key: key(1)}} }
	take(t, s, op()...)

	server.Kill()
	if err := s.Take(t.Context(), op()); !errors.Is(err, limiter.ErrUnavailable) {
		t.Fatalf("with a dead server: %v", err)
	}
	if s.state.Load() != open {
		t.Fatal("the breaker is not open")
	}
	if got := m.get(KindConnection); got == 0 {
		t.Errorf("errors %v, want one of the connection", m.errors)
	}
	server.Restart()
	eventually(t, "the store is back", func() bool { return s.Take(t.Context(), op()) == nil })
	if got := m.last(); got {
		t.Error("the metrics say that the breaker is open")
	}
}

// TestHangCostsOneTimeout: a server that hangs costs those who ask it one timeout;
// whoever comes later is told at once, and nothing waits for the probes.
func TestHangCostsOneTimeout(t *testing.T) {
	server := redistest.Start(t)
	m := &recorder{}
	opts := options(server.Addr)
	opts.Metrics = m
	opts.Timeout = 500 * time.Millisecond
	s := dial(t, opts)
	r := mustRule(t, limiter.SlidingWindow, 1000, 60, 0)
	op := func() []limiter.Op { return []limiter.Op{{ID: "p/l", Rule: r, Key: key(1)}} }
	works := func() bool { return s.Take(t.Context(), op()) == nil }
	eventually(t, "the store is there", works)
	before := m.get(KindTimeout)

	server.Hang()
	for i := range 200 {
		if err := s.Take(t.Context(), op()); !errors.Is(err, limiter.ErrUnavailable) {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	if got := m.get(KindTimeout) - before; got != 1 {
		t.Errorf("%d of 200 requests have waited for a timeout, want 1", got)
	}
	server.Resume()
	eventually(t, "the store is back", works)
}

func TestAwayAtFirst(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	s := dial(t, options(server.Addr))
	ops := []limiter.Op{{ID: "p/l", Rule: mustRule(t, limiter.SlidingWindow, 5, 60, 0), Key: key(1)}}
	if err := s.Take(t.Context(), ops); !errors.Is(err, limiter.ErrUnavailable) {
		t.Fatalf("Take: %v", err)
	}
	server.Restart()
	eventually(t, "the store is there", func() bool { return s.Take(t.Context(), ops) == nil })
}

func TestCredentials(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "first")
	opts := options(server.Addr)
	opts.NeedCredentials = true
	s := dial(t, opts)
	ops := []limiter.Op{{ID: "p/l", Rule: mustRule(t, limiter.SlidingWindow, 5, 60, 0), Key: key(1)}}
	if err := s.Take(t.Context(), ops); !errors.Is(err, limiter.ErrUnavailable) {
		t.Fatalf("without credentials: %v", err)
	}
	s.SetCredentials(Credentials{Password: "wrong"})
	if err := s.Take(t.Context(), ops); !errors.Is(err, limiter.ErrUnavailable) {
		t.Fatalf("with wrong credentials: %v", err)
	}
	s.SetCredentials(Credentials{Password: "first"})
	eventually(t, "the store is there", func() bool { return s.Take(t.Context(), ops) == nil })

	// A mistake: every connection is turned away, which is no work for requests.
	s.SetCredentials(Credentials{Password: "wrong"})
	eventually(t, "the breaker is open", func() bool { return s.Take(t.Context(), ops) != nil && s.state.Load() == open })
	s.SetCredentials(Credentials{Password: "first"})
	eventually(t, "the store is there once more", func() bool { return s.Take(t.Context(), ops) == nil })

	// A rotation: the server takes the second password only.
	c := s.conn.Load()
	if err := c.ConfigSet(t.Context(), "requirepass", "second").Err(); err != nil {
		t.Fatal(err)
	}
	s.SetCredentials(Credentials{Username: "default", Password: "second"})
	eventually(t, "the store is there again", func() bool { return s.Take(t.Context(), ops) == nil })
	if c == s.conn.Load() {
		t.Error("the connection is the old one")
	}
}

// TestServerErrorsFailTheCallAlone: a server that refuses answers quickly, and the
// breaker stays closed.
func TestServerErrorsFailTheCallAlone(t *testing.T) {
	m := &recorder{}
	opts := options(redistest.Start(t).Addr)
	opts.Metrics = m
	s := dial(t, opts)
	r := mustRule(t, limiter.SlidingWindow, 5, 60, 0)
	good := limiter.Op{ID: "p/good", Rule: r, Key: key(1)}
	bad := limiter.Op{ID: "p/bad", Rule: r, Key: key(1)}
	if err := s.conn.Load().RPush(t.Context(), s.key(&bad, ":rl:"), "of another kind").Err(); err != nil {
		t.Fatal(err)
	}
	take(t, s, good)
	if err := s.Take(t.Context(), []limiter.Op{bad}); !errors.Is(err, limiter.ErrUnavailable) {
		t.Fatalf("a key of another kind: %v", err)
	}
	take(t, s, good)
	if m.get(KindReply) != 1 || m.last() {
		t.Errorf("errors %v, breaker open %v", m.errors, m.last())
	}
}

func TestCallerLeaves(t *testing.T) {
	server := redistest.Start(t)
	s := dial(t, options(server.Addr))
	ops := []limiter.Op{{ID: "p/l", Rule: mustRule(t, limiter.SlidingWindow, 5, 60, 0), Key: key(1)}}
	take(t, s, ops...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		_ = s.Take(ctx, ops) // either outcome; what counts is that nothing breaks
	}
	if s.state.Load() != closed {
		t.Error("a client that has gone opened the breaker")
	}
}

func TestMalformedReplies(t *testing.T) {
	for _, text := range []string{"", "1", "1 ", "x ", "1 2 3 4", "-1 0 0 0 0 ", "1 99999999999999999999 0 0 0 ", strings.Repeat(" ", 5)} {
		st := step{ops: make([]limiter.Op, 1), cmd: textCmd(text)}
		if err := st.decode(); !errors.Is(err, errReply) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// recorder counts what a store says.
type recorder struct {
	mu     sync.Mutex
	errors map[string]int
	open   []bool
}

func (m *recorder) StoreError(_, kind string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.errors == nil {
		m.errors = map[string]int{}
	}
	m.errors[kind]++
}

func (m *recorder) StoreBreaker(_ string, open bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = append(m.open, open)
}

func (m *recorder) get(kind string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.errors[kind]
}

func (m *recorder) last() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.open) > 0 && m.open[len(m.open)-1]
}
