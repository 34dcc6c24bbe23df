// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weir.dev/weir/api/rls"
	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/controllers/hub"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/source"

	sidecarrls "weir.dev/weir/sidecar/rls"
)

// gatewayToken is that of a pod of the gateways' ServiceAccount.
const gatewayToken = "the-gateway"

// limits publishes a policy of that limit for a Service in a namespace, by workload.
func limits(namespace, key, service string, limit uint64) (hub.Workload, hub.Publication) {
	return hub.Workload{Namespace: namespace, Key: key}, hub.Publication{Snapshot: &snapshot.Snapshot{
		Workload: &snapshot.Workload{Cluster: "c", Namespace: namespace, Key: key},
		Ports:    []*snapshot.Port{{Number: 8080, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "pay", Names: []string{service + "/80", service + "/http"}}},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{
			Name: "pay", Generation: 1, FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK, Headers: snapshot.HeaderStyle_HEADER_STYLE_IETF,
			Limits: []*snapshot.Limit{{
				Name: "l", OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP, Algorithm: snapshot.Algorithm_ALGORITHM_FIXED_WINDOW,
				Limit: limit, WindowSeconds: 24 * 3600, Scope: snapshot.Scope_SCOPE_POD,
			}},
		}},
	}}
}

// gateway starts a rate limit service whose token is in a file.
func (c *cluster) gateway(token, port string) *sidecarrls.Service {
	c.t.Helper()
	c.write(token, []byte(token))
	log := slog.New(slog.DiscardHandler)
	service := sidecarrls.New(sidecarrls.Options{Log: log})
	fleet := sidecarrls.NewFleet(sidecarrls.FleetOptions{
		Service: service, Engine: func() *engine.Engine { return engine.New(engine.Options{}) }, Replicas: 1, Log: log,
	})
	src := source.NewFleet(source.Options{
		Address: "localhost:" + port, TokenFile: c.file(token), CAFile: c.file("ca.crt"), Version: "v0.1.0", Features: engine.Features(), Log: log,
	}, fleet)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = src.Run(ctx) })
	c.t.Cleanup(func() {
		cancel()
		wg.Wait()
		fleet.Close()
	})
	return service
}

// asked is what a service says of a domain: OK, OVER_LIMIT, none where it knows no
// limit there, or the status of an error.
func asked(t *testing.T, s *sidecarrls.Service, domain string) string {
	t.Helper()
	r, err := s.ShouldRateLimit(t.Context(), &rls.Request{Domain: []byte(domain), Descriptors: []*rls.Descriptor{{}}})
	switch {
	case err != nil:
		return status.Code(err).String()
	case r.GetOverallCode() == rls.Response_CODE_OVER_LIMIT:
		return "OVER_LIMIT"
	case r.GetStatuses()[0].GetCurrentLimit() == nil:
		return "none"
	}
	return "OK"
}

// A rate limit service gets all namespaces, their changes, and what became of them
// while it was away; no status knows of it.
func TestFleet(t *testing.T) {
	c := newCluster(t)
	r := c.start("a", "")
	r.hub.Publish(limits("shop", "w1", "payments", 1))
	// Other pods of the same Service, and another one in another namespace.
	r.hub.Publish(limits("shop", "w2", "payments", 1))
	r.hub.Publish(limits("stock", "w", "items", 1))
	s := c.gateway(gatewayToken, r.port)
	if got := asked(t, c.gateway("stranger", r.port), "shop/payments/http"); got != codes.Unavailable.String() {
		t.Errorf("a service that gets nothing says %s", got)
	}
	eventually(t, "all namespaces are known", func() bool { return asked(t, s, "none/none/none") == "none" })
	for _, domain := range []string{"shop/payments/http", "stock/items/80"} {
		if first, second := asked(t, s, domain), asked(t, s, domain); first != "OK" || second != "OVER_LIMIT" {
			t.Errorf("%s: %s, then %s", domain, first, second)
		}
	}
	if got := asked(t, s, "shop/payments/80"); got != "OVER_LIMIT" {
		t.Errorf("the port by number: %s, want what its name says", got)
	}

	// An edit resets nothing; both workloads go one after the other.
	r.hub.Publish(limits("shop", "w1", "payments", 2))
	r.hub.Publish(limits("shop", "w2", "payments", 2))
	eventually(t, "the edit is served", func() bool { return asked(t, s, "shop/payments/http") == "OK" })
	if got := asked(t, s, "shop/payments/http"); got != "OVER_LIMIT" {
		t.Errorf("after the edit: %s", got)
	}
	r.hub.Delete(hub.Workload{Namespace: "stock", Key: "w"})
	eventually(t, "the namespace is gone", func() bool { return asked(t, s, "stock/items/80") == "none" })

	// What goes while the operator is away is gone when it is back.
	r.stop()
	if got := asked(t, s, "shop/payments/http"); got != "OVER_LIMIT" {
		t.Errorf("without an operator: %s", got)
	}
	again := c.start("a", r.port)
	again.hub.Publish(limits("stock", "w", "items", 1))
	eventually(t, "the new operator's", func() bool {
		return asked(t, s, "shop/payments/http") == "none" && asked(t, s, "stock/items/80") != "none"
	})
	if n := len(again.tracker.Pods("weir-system")) + len(again.tracker.Pods("shop")); n != 0 {
		t.Errorf("the rollout knows of %d pods", n)
	}
}

// What a service cannot enforce is an error.
func TestFleetIsHonest(t *testing.T) {
	c := newCluster(t)
	r := c.start("a", "")
	w, p := limits("shop", "w", "payments", 1)
	l := p.Snapshot.RateLimitPolicies[0].Limits[0]
	l.Algorithm, l.WindowSeconds = snapshot.Algorithm_ALGORITHM_CONCURRENCY, 0
	r.hub.Publish(w, p)
	bad, broken := limits("stock", "w", "items", 1)
	broken.Snapshot.RateLimitPolicies[0].Store = "not there"
	r.hub.Publish(bad, broken)
	s := c.gateway(gatewayToken, r.port)
	for _, domain := range []string{"shop/payments/http", "stock/items/http"} {
		eventually(t, domain+" is an error", func() bool { return asked(t, s, domain) == codes.FailedPrecondition.String() })
	}
	r.hub.Publish(limits("stock", "w", "items", 1))
	eventually(t, "it is mended", func() bool { return asked(t, s, "stock/items/http") == "OK" })
}
