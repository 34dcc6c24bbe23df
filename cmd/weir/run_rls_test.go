// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	envoy "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// overLimit asks as a gateway does, n times, and counts denials.
func overLimit(t *testing.T, conn *grpc.ClientConn, domain, client string, n int) int {
	t.Helper()
	denied := 0
	for range n {
		r, err := envoy.NewRateLimitServiceClient(conn).ShouldRateLimit(t.Context(), &envoy.RateLimitRequest{
			Domain: domain, Descriptors: []*common.RateLimitDescriptor{{Entries: []*common.RateLimitDescriptor_Entry{{Key: "header:x-client-id", Value: client}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.GetOverallCode() == envoy.RateLimitResponse_OVER_LIMIT {
			denied++
		}
	}
	return denied
}

func dialGateway(t *testing.T, line string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(line[strings.LastIndexByte(line, ' ')+1:], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Gateways are told what listeners' clients are, from the same counters, and of
// changes of the file.
func TestRunAnswersGateways(t *testing.T) {
	file := policyFile(t, withLimit(3))
	run := startRun(t, shop(t), "-f", file, "--rls", "127.0.0.1:0")
	conn := dialGateway(t, run.await(t, "Envoy's rate limit protocol on "))
	if n := overLimit(t, conn, "shop/payments/http", "a", 2); n != 0 {
		t.Errorf("%d of 2 denied", n)
	}
	if n := admitted(t, "a", 2, run.address); n != 1 {
		t.Errorf("the listener let %d of 2 pass, want 1", n)
	}
	if n := overLimit(t, conn, "shop/payments/http", "a", 1); n != 1 {
		t.Error("what the listener has spent is not known to gateways")
	}
	write(t, file, withLimit(5))
	run.await(t, "accepted")
	if n := overLimit(t, conn, "shop/payments/http", "a", 3); n != 1 {
		t.Errorf("%d of 3 denied after the change, want 1", n)
	}
	write(t, file, strings.Replace(withLimit(5), ", window: 3600s", ", algorithm: Concurrency", 1))
	if line := run.await(t, "counts requests in progress"); !strings.Contains(line, "limit per-client") {
		t.Errorf("refusal %q", line)
	}
	if err := run.stop(); err != nil {
		t.Error(err)
	}
}

// A port's IdempotencyPolicy does not stand in the way of its limits.
func TestRunLimitsGatewaysBesideRecords(t *testing.T) {
	const records = `
---
apiVersion: weir.dev/v1alpha1
kind: IdempotencyPolicy
metadata: {name: payments, namespace: shop}
spec:
  targetRefs: [{name: payments}]
  scope: [{header: X-Client-Id}]
`
	run := startCommand(t, "run", "-f", policyFile(t, withLimit(1)+records), "--rls", "127.0.0.1:0")
	conn := dialGateway(t, run.await(t, "Envoy's rate limit protocol on "))
	if n := overLimit(t, conn, "shop/payments/http", "a", 3); n != 2 {
		t.Errorf("%d of 3 denied, want 2", n)
	}
	if err := run.stop(); err != nil {
		t.Error(err)
	}
}

// Without a listener the domains are those of the policies' targets.
func TestRunForGatewaysOnly(t *testing.T) {
	run := startCommand(t, "run", "-f", policyFile(t, withLimit(1)), "--rls", "127.0.0.1:0")
	conn := dialGateway(t, run.await(t, "Envoy's rate limit protocol on "))
	if n := overLimit(t, conn, "shop/payments/http", "a", 2); n != 1 {
		t.Errorf("%d of 2 denied, want 1", n)
	}
	if n := overLimit(t, conn, "shop/payments/grpc", "a", 2); n != 0 {
		t.Errorf("%d of 2 denied in a domain that is none", n)
	}
	run.await(t, "nothing is limited in domain shop/payments/grpc")
	if err := run.stop(); err != nil {
		t.Error(err)
	}
}
