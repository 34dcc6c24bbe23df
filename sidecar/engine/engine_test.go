// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/exchange"
)

// headers are a request's fields, lower case; a name may come more than once.
type headers [][2]string

func (h headers) Header(name string) (value []byte, count int) {
	for _, f := range h {
		if f[0] == name {
			if count == 0 {
				value = []byte(f[1])
			}
			count++
		}
	}
	return value, count
}

func get(path, client string) *exchange.Exchange {
	x := &exchange.Exchange{}
	x.Method, x.Path, x.RawPath = []byte("GET"), []byte(path), []byte(path)
	x.Request = headers{{"x-client-id", client}}
	x.Peer = netip.MustParseAddr("192.0.2.1")
	x.Client = x.Peer
	return x
}

// serve runs one exchange through a port and returns its status; 200 when it
// passed.
func serve(t *testing.T, e *engine.Engine, port uint16, x *exchange.Exchange) int {
	t.Helper()
	p, ready := e.Port(port)
	if !ready || p == nil {
		t.Fatalf("Port(%d) = %v, %v", port, p, ready)
	}
	var progress exchange.Progress
	v := p.Chain.Head(x, &progress)
	p.Chain.End(x, &progress, exchange.NotSent)
	if v == exchange.Respond {
		return x.Status
	}
	return 200
}

func podPolicy(limit uint64) *snapshot.Snapshot {
	return &snapshot.Snapshot{
		Workload: &snapshot.Workload{Cluster: "local", Namespace: "shop", Key: "w"},
		Ports: []*snapshot.Port{{
			Number: 8080, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "payments",
		}, {Number: 9090, Protocol: snapshot.Protocol_PROTOCOL_OPAQUE}},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{
			Name: "payments", Generation: 1,
			FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK,
			Headers:       snapshot.HeaderStyle_HEADER_STYLE_IETF,
			Limits: []*snapshot.Limit{{
				Name:         "per-client",
				Key:          []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_Header{Header: "x-client-id"}}},
				OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP,
				Algorithm:    snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW,
				Limit:        limit, WindowSeconds: 60,
				Scope: snapshot.Scope_SCOPE_POD,
			}},
		}},
	}
}

func apply(t *testing.T, e *engine.Engine, s *snapshot.Snapshot) {
	t.Helper()
	if err := e.Apply(s); err != nil {
		t.Fatalf("Apply: %v", err)
	}
}

func TestSwapResetsNothing(t *testing.T) {
	e := engine.New(engine.Options{})
	defer e.Close()
	if _, ready := e.Port(8080); ready {
		t.Fatal("ready without a snapshot")
	}
	apply(t, e, podPolicy(5))
	<-e.Ready()
	for i, want := range []int{200, 200, 200, 200, 200, 429} {
		if got := serve(t, e, 8080, get("/", "a")); got != want {
			t.Fatalf("request %d: got %d, want %d", i, got, want)
		}
	}
	if got := serve(t, e, 8080, get("/", "b")); got != 200 {
		t.Fatalf("another client: got %d", got)
	}
	apply(t, e, podPolicy(7))
	for i, want := range []int{200, 200, 429} {
		if got := serve(t, e, 8080, get("/", "a")); got != want {
			t.Fatalf("request %d after the swap: got %d, want %d", i, got, want)
		}
	}
}

func TestPorts(t *testing.T) {
	e := engine.New(engine.Options{})
	defer e.Close()
	s := podPolicy(5)
	s.Ports[0].PassEncodedSlashes = true
	s.Ports[0].Identity = &snapshot.Identity{TrustedProxies: []string{"10.0.0.0/8", "2001:db8::/32"}, IdentityHeaders: []string{"x-client-id"}}
	apply(t, e, s)
	governed, _ := e.Port(8080)
	if governed.Number != 8080 || governed.Protocol != exchange.HTTP || len(governed.Chain) != 1 || !governed.PassEncodedSlashes {
		t.Errorf("port 8080: %+v", governed)
	}
	if !governed.Identity.Trusts(netip.MustParseAddr("10.1.2.3")) || governed.Identity.Trusts(netip.MustParseAddr("11.1.2.3")) || governed.Identity.Headers[0] != "x-client-id" {
		t.Errorf("identity: %+v", governed.Identity)
	}
	opaque, _ := e.Port(9090)
	if opaque.Protocol != exchange.Opaque || len(opaque.Chain) != 0 || opaque.Identity == nil {
		t.Errorf("port 9090: %+v", opaque)
	}
	if other, ready := e.Port(1); other != nil || !ready {
		t.Errorf("port 1: %+v, %v", other, ready)
	}
}

func TestReport(t *testing.T) {
	e := engine.New(engine.Options{})
	defer e.Close()
	s := podPolicy(1)
	s.RateLimitPolicies[0].Limits[0].Shadow = true
	apply(t, e, s)
	for range 4 {
		serve(t, e, 8080, get("/", "a"))
	}
	s = proto.CloneOf(s)
	s.RateLimitPolicies[0].Limits[0].WindowSeconds = 61
	apply(t, e, s)
	serve(t, e, 8080, get("/", "a"))
	want := &stream.Report{Shadow: []*stream.ShadowCount{{Policy: "payments", Limit: "per-client", WouldDeny: 4}}}
	if diff := cmp.Diff(want, e.Report(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	s = podPolicy(1)
	s.RateLimitPolicies[0].Name, s.Ports[0].RateLimitPolicy = "other", "other"
	apply(t, e, s)
	if diff := cmp.Diff(&stream.Report{}, e.Report(), protocmp.Transform()); diff != "" {
		t.Errorf("a policy that has gone is reported: %s", diff)
	}
}

// TestApplyUnderLoad swaps programs while requests run, which the race detector
// watches; the limit holds throughout.
func TestApplyUnderLoad(t *testing.T) {
	e := engine.New(engine.Options{})
	defer e.Close()
	apply(t, e, podPolicy(50))
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if serve(t, e, 8080, get("/", "a")) == 200 {
					admitted.Add(1)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 50 {
			if err := e.Apply(podPolicy(50)); err != nil {
				t.Error(err)
			}
			e.SetPeers(map[string]uint32{"payments": uint32(i)})
			e.Report()
		}
	})
	wg.Wait()
	if admitted.Load() != 50 {
		t.Errorf("admitted %d of 400, want 50", admitted.Load())
	}
}

// watcher is an observer of some telemetry.
type watcher struct{ of *snapshot.Telemetry }

func (*watcher) Start(*exchange.Exchange)                  {}
func (*watcher) Done(*exchange.Exchange, *exchange.Record) {}

func TestSettings(t *testing.T) {
	var made []*watcher
	var applied []engine.Proxy
	e := engine.New(engine.Options{
		Observer: func(t *snapshot.Telemetry) exchange.Observer {
			if t == nil {
				return nil
			}
			made = append(made, &watcher{t})
			return made[len(made)-1]
		},
		Applied: func(p engine.Proxy) { applied = append(applied, p) },
	})
	defer e.Close()
	observer := func() exchange.Observer {
		t.Helper()
		if p, _ := e.Port(9090); p.Observer != nil {
			t.Error("an opaque port is observed")
		}
		p, _ := e.Port(8080)
		return p.Observer
	}

	apply(t, e, podPolicy(5))
	if got := observer(); got != nil || len(made) != 0 {
		t.Errorf("without telemetry: observer %v, made %d", got, len(made))
	}
	with := func(limit uint64, mode snapshot.AccessLog_Mode) *snapshot.Snapshot {
		s := podPolicy(limit)
		s.Telemetry = &snapshot.Telemetry{AccessLog: &snapshot.AccessLog{Mode: mode}}
		s.Proxy = &snapshot.Proxy{HeadBytes: 8 << 10, Connections: 9, IdleMilliseconds: 60_000, StallMilliseconds: 1500, ConnectMilliseconds: 250}
		s.Ports[0].MaxBodyBytes = 100
		s.Ports[0].Timeouts = []*snapshot.RouteTimeout{
			{Prefix: "/reports", ResponseMilliseconds: 600_000}, {Prefix: "/live"}, {Prefix: "/", ResponseMilliseconds: 30_000},
		}
		return s
	}
	apply(t, e, with(5, snapshot.AccessLog_MODE_ALL))
	first := observer()
	apply(t, e, with(6, snapshot.AccessLog_MODE_ALL))
	if first == nil || observer() != first || len(made) != 1 {
		t.Errorf("equal telemetry: observer %v, then %v; %d were made", first, observer(), len(made))
	}
	refused := with(6, snapshot.AccessLog_MODE_ERRORS)
	refused.Ports[0].Protocol = 99
	if e.Apply(refused) == nil || len(made) != 1 || len(applied) != 3 {
		t.Errorf("after a refusal %d observers, %d settings", len(made), len(applied))
	}
	apply(t, e, with(6, snapshot.AccessLog_MODE_ERRORS))
	if got := observer(); got != exchange.Observer(made[1]) || made[1].of.GetAccessLog().GetMode() != snapshot.AccessLog_MODE_ERRORS {
		t.Errorf("another telemetry: observer %v", got)
	}
	set := engine.Proxy{HeadBytes: 8 << 10, MaxConns: 9, Idle: time.Minute, Stall: 1500 * time.Millisecond, Connect: 250 * time.Millisecond}
	if diff := cmp.Diff([]engine.Proxy{{}, set, set, set}, applied); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	p, _ := e.Port(8080)
	if p.MaxBody != 100 {
		t.Errorf("MaxBody = %d", p.MaxBody)
	}
	for path, want := range map[string]time.Duration{
		"/reports/a": 10 * time.Minute, "/reportsx": 30 * time.Second, "/live": 0, "/": 30 * time.Second,
	} {
		if got := p.ResponseTimeout([]byte(path)); got != want {
			t.Errorf("ResponseTimeout(%s) = %s, want %s", path, got, want)
		}
	}
	apply(t, e, podPolicy(5))
	if got := observer(); got != nil {
		t.Errorf("telemetry was taken away: observer %v", got)
	}
}

func TestFeatures(t *testing.T) {
	if diff := cmp.Diff([]string{"h2c", "idempotency/v1", "proxy/v1", "ratelimit/calendar", "ratelimit/concurrency", "ratelimit/free-replays", "ratelimit/jwt", "ratelimit/leased", "ratelimit/penalty", "ratelimit/v1", "ratelimit/v2", "ratelimit/response-cost", "thrift/v1", "thrift/transcode", "upgrade"}, engine.Features()); diff != "" {
		t.Error(diff)
	}
}
