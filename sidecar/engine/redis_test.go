// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

// go-redis sleeps a second after a dial that failed, also when it is closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// patient is a timeout that a slow machine does not exceed by accident.
const patient = 5 * time.Second

// clusterPolicy is podPolicy with its limit in a store at addr.
func clusterPolicy(limit uint64, addr string) *snapshot.Snapshot {
	s := podPolicy(limit)
	p := s.RateLimitPolicies[0]
	p.Store = "default"
	p.Limits[0].Scope = snapshot.Scope_SCOPE_CLUSTER
	s.Stores = []*snapshot.Store{{Name: "default", Redis: &snapshot.Redis{
		Mode: snapshot.Redis_MODE_STANDALONE, Addresses: []string{addr}, KeyPrefix: "weir",
	}}}
	return s
}

func open(t testing.TB) *engine.Engine {
	e := engine.New(engine.Options{StoreTimeout: patient})
	t.Cleanup(e.Close)
	return e
}

func TestTwoSidecarsAdmitTheLimitTogether(t *testing.T) {
	server := redistest.Start(t)
	engines := []*engine.Engine{open(t), open(t)}
	for _, e := range engines {
		apply(t, e, clusterPolicy(100, server.Addr))
	}
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 50 {
				if serve(t, engines[g%2], 8080, get("/", "a")) == 200 {
					admitted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if admitted.Load() != 100 {
		t.Errorf("admitted %d of 400, want 100", admitted.Load())
	}
}

// TestRedisGoneAndBack: while Redis is away each of two pods admits its half; with
// it the limit is one again.
func TestRedisGoneAndBack(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	e := open(t)
	e.SetPeers(map[string]uint32{"payments": 2})
	apply(t, e, clusterPolicy(6, server.Addr))
	<-e.Ready()
	for i, want := range []int{200, 200, 200, 429} {
		if got := serve(t, e, 8080, get("/", "a")); got != want {
			t.Fatalf("request %d without Redis: got %d, want %d", i, got, want)
		}
	}
	server.Restart()
	for i := 0; ; i++ {
		if serve(t, e, 8080, get("/", "a")) == 200 {
			break
		}
		if i == 1000 {
			t.Fatal("10 s after the restart Redis is not asked")
		}
		time.Sleep(10 * time.Millisecond)
	}
	for i, want := range []int{200, 200, 200, 200, 200, 429} {
		if got := serve(t, e, 8080, get("/", "a")); got != want {
			t.Fatalf("request %d with Redis: got %d, want %d", i, got, want)
		}
	}
	server.Kill()
	for i := range 20 {
		if got := serve(t, e, 8080, get("/", "a")); got != 429 {
			t.Fatalf("request %d without Redis again: got %d, want 429: the share is spent", i, got)
		}
	}
}

func TestSecretsBeforeAndAfterTheSnapshot(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "first")
	for name, before := range map[string]bool{"before": true, "after": false} {
		t.Run(name, func(t *testing.T) {
			e := open(t)
			secrets := &stream.Secrets{Stores: []*stream.StoreCredentials{{Store: "default", Version: "1", Password: "first"}}}
			s := clusterPolicy(5, server.Addr)
			s.Stores[0].CredentialsVersion = "1"
			s.RateLimitPolicies[0].FailurePolicy = snapshot.FailurePolicy_FAILURE_POLICY_CLOSED
			if before {
				if err := e.SetSecrets(secrets); err != nil {
					t.Fatal(err)
				}
			}
			apply(t, e, s)
			if !before {
				if got := serve(t, e, 8080, get("/", name)); got != 503 {
					t.Fatalf("without credentials: got %d, want 503", got)
				}
				if err := e.SetSecrets(secrets); err != nil {
					t.Fatal(err)
				}
			}
			for i := 0; serve(t, e, 8080, get("/", name)) != 200; i++ {
				if i == 1000 {
					t.Fatal("the store is not reached with its credentials")
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}

func TestBadSecretsAreAnError(t *testing.T) {
	e := open(t)
	err := e.SetSecrets(&stream.Secrets{Stores: []*stream.StoreCredentials{{Store: "default", ClientCert: []byte("x"), ClientKey: []byte("y")}}})
	if err == nil {
		t.Error("a certificate that is none was taken")
	}
}

// TestStoreMoves: another address is another store; the counters are its own, and
// the old connection goes.
func TestStoreMoves(t *testing.T) {
	one, two := redistest.Start(t), redistest.Start(t)
	e := open(t)
	apply(t, e, clusterPolicy(1, one.Addr))
	for i, want := range []int{200, 429} {
		if got := serve(t, e, 8080, get("/", "a")); got != want {
			t.Fatalf("request %d: got %d, want %d", i, got, want)
		}
	}
	apply(t, e, clusterPolicy(1, two.Addr))
	if got := serve(t, e, 8080, get("/", "a")); got != 200 {
		t.Fatalf("at the second server: got %d", got)
	}
	apply(t, e, clusterPolicy(1, one.Addr))
	if got := serve(t, e, 8080, get("/", "a")); got != 429 {
		t.Fatalf("at the first server again: got %d", got)
	}
	elsewhere := clusterPolicy(1, one.Addr)
	elsewhere.Workload.Namespace = "elsewhere"
	apply(t, e, elsewhere)
	if got := serve(t, e, 8080, get("/", "a")); got != 200 {
		t.Fatalf("in another namespace: got %d", got)
	}
}

// TestWithoutRedis: a store without a server is this process's memory.
func TestWithoutRedis(t *testing.T) {
	e := open(t)
	s := clusterPolicy(2, "")
	s.Stores[0].Redis = nil
	e.SetPeers(map[string]uint32{"payments": 2})
	apply(t, e, s)
	for i, want := range []int{200, 200, 429} {
		if got := serve(t, e, 8080, get("/", "a")); got != want {
			t.Fatalf("request %d: got %d, want %d", i, got, want)
		}
	}
}

// TestLeasedOverTwoSidecars: tokens that two sidecars take ahead are within the bound,
// and are not lost with an edit of the policy.
func TestLeasedOverTwoSidecars(t *testing.T) {
	server := redistest.Start(t)
	snap := func(limit uint64) *snapshot.Snapshot {
		s := clusterPolicy(limit, server.Addr)
		l := s.RateLimitPolicies[0].Limits[0]
		l.WindowSeconds, l.Algorithm, l.Burst, l.Leased = 1, snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET, 50, true
		return s
	}
	engines := []*engine.Engine{open(t), open(t)}
	for _, e := range engines {
		apply(t, e, snap(1000))
	}
	start := time.Now()
	admitted := 0
	for i := range 2000 {
		if serve(t, engines[i%2], 8080, get("/", "a")) == 200 {
			admitted++
		}
		if i == 1000 {
			apply(t, engines[0], snap(999))
		}
	}
	if most := 50 + int(1000*time.Since(start).Seconds()) + 2*50 + 1; admitted > most || admitted < 25 {
		t.Errorf("admitted %d, at most %d are possible", admitted, most)
	}
}
