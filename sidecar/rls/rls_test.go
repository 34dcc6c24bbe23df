// SPDX-License-Identifier: Apache-2.0

package rls_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	envoy "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/rls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "shop/payments/http"

// payments is a policy on a port of a Service: two payments a minute for each client,
// and three requests a day altogether, by each address.
func payments() *snapshot.Snapshot {
	return &snapshot.Snapshot{
		Workload: &snapshot.Workload{Cluster: "c", Namespace: "shop", Key: "k"},
		Ports: []*snapshot.Port{
			{Number: 8080, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "pay", Names: []string{"payments/80", "payments/http"}},
			{Number: 9090, Protocol: snapshot.Protocol_PROTOCOL_HTTP, Names: []string{"payments/free"}},
		},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{
			Name: "pay", FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK, Headers: snapshot.HeaderStyle_HEADER_STYLE_IETF,
			Limits: []*snapshot.Limit{
				perClient(2, &snapshot.Match{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{
					Methods: []string{"POST"}, Path: &snapshot.PathMatch{Type: snapshot.PathMatch_TYPE_TEMPLATE, Value: "/users/{id}/payments"},
				}}}),
				{
					Name: "per-address", OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_DENY, Scope: snapshot.Scope_SCOPE_POD,
					Key:       []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_ClientIp{ClientIp: &snapshot.ClientIP{Ipv6PrefixLength: 64}}}},
					Algorithm: snapshot.Algorithm_ALGORITHM_FIXED_WINDOW, Limit: 3, WindowSeconds: 24 * 3600, HideHeaders: true,
					Match: []*snapshot.Match{{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{Methods: []string{"GET"}}}}},
				},
			},
		}},
	}
}

func perClient(limit uint64, match ...*snapshot.Match) *snapshot.Limit {
	return &snapshot.Limit{
		Name: "per-client", Match: match, OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP, Scope: snapshot.Scope_SCOPE_POD,
		Key:       []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_Header{Header: "x-client-id"}}},
		Algorithm: snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW, Limit: limit, WindowSeconds: 60,
	}
}

// counts is what metrics were told.
type counts struct {
	mu      sync.Mutex
	calls   map[string]int
	unknown int
}

func (c *counts) RateLimitCall(code string, _ time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[code]++
}

func (c *counts) UnknownDomain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unknown++
}

// served is a service over gRPC on the loopback.
type served struct {
	service *rls.Service
	conn    *grpc.ClientConn
	client  envoy.RateLimitServiceClient
	counts  *counts
	log     *bytes.Buffer
	// stop ends the service and waits for it.
	stop func() error
}

func serve(t *testing.T, snaps ...*snapshot.Snapshot) *served {
	t.Helper()
	s := &served{counts: &counts{calls: map[string]int{}}, log: &bytes.Buffer{}}
	domains := rls.Domains{}
	for _, snap := range snaps {
		e := engine.New(engine.Options{})
		t.Cleanup(e.Close)
		if err := e.Apply(snap); err != nil {
			t.Fatal(err)
		}
		if err := domains.Add(snap, e); err != nil {
			t.Fatal(err)
		}
	}
	s.service = rls.New(rls.Options{Log: slog.New(slog.NewTextHandler(s.log, nil)), Metrics: s.counts})
	s.service.Serve(domains)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- rls.ListenAndServe(ctx, l, s.service) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	s.conn, err = grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.conn.Close()
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	s.client = envoy.NewRateLimitServiceClient(s.conn)
	return s
}

// descriptor is made of keys and values.
func descriptor(entries ...string) *common.RateLimitDescriptor {
	d := &common.RateLimitDescriptor{}
	for i := 0; i < len(entries); i += 2 {
		d.Entries = append(d.Entries, &common.RateLimitDescriptor_Entry{Key: entries[i], Value: entries[i+1]})
	}
	return d
}

func pay(client string) *common.RateLimitDescriptor {
	return descriptor("method", "POST", "path", "/users/7/payments?x=1", "header:x-client-id", client)
}

func (s *served) ask(t *testing.T, descriptors ...*common.RateLimitDescriptor) *envoy.RateLimitResponse {
	t.Helper()
	r, err := s.client.ShouldRateLimit(t.Context(), &envoy.RateLimitRequest{Domain: domain, Descriptors: descriptors})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// codesString is the codes of a response: overall, then each descriptor's.
func codesString(r *envoy.RateLimitResponse) string {
	out := r.GetOverallCode().String()
	for _, s := range r.GetStatuses() {
		out += " " + s.GetCode().String()
	}
	return out
}

func (s *served) want(t *testing.T, want string, descriptors ...*common.RateLimitDescriptor) {
	t.Helper()
	if got := codesString(s.ask(t, descriptors...)); got != want {
		t.Errorf("%s, want %s, for %v", got, want, fmt.Sprint(descriptors))
	}
}
