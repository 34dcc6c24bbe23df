// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"net/netip"
	"testing"

	"weir.dev/weir/api/snapshot"
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
	x.Context = nil
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
