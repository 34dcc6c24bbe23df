// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const grpcPolicy = `
apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: ledger}
spec:
  targetRefs: [{name: ledger, sectionName: grpc}]
  limits:
  - name: check
    match: [{http: {path: {type: Exact, value: /grpc.health.v1.Health/Check}}}]
    key: [{header: X-Client-Id}]
    limit: 2
    window: 3600s
`

// A limit on one method of a gRPC service, by metadata, on a real connection.
func TestRunLimitsMethodsOfGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(l) }()
	defer server.Stop()

	run := startListener(t, "ledger/grpc", l.Addr().String(), "-f", policyFile(t, grpcPolicy))
	conn, err := grpc.NewClient("passthrough:///"+run.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := healthpb.NewHealthClient(conn)
	check := func(id string) codes.Code {
		_, err := client.Check(metadata.AppendToOutgoingContext(t.Context(), "x-client-id", id), &healthpb.HealthCheckRequest{})
		return status.Code(err)
	}
	var got []string
	for range 3 {
		got = append(got, check("a").String())
	}
	got = append(got, check("b").String())
	if want := "OK OK ResourceExhausted OK"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	for range 3 { // another method of the service
		if _, err := client.List(t.Context(), &healthpb.HealthListRequest{}); err != nil {
			t.Errorf("List: %v", err)
		}
	}
	if err := run.stop(); err != nil {
		t.Error(err)
	}
}
