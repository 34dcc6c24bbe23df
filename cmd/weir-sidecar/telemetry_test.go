// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/telemetry/trace/tracetest"
)

// A pod sends spans where its snapshot says, with its own name on them; the last
// ones as it ends.
func TestPodSendsSpans(t *testing.T) {
	ip := podAddress(t)
	c := tracetest.Start(t, "", nil)
	snap := five()
	snap.Telemetry = &snapshot.Telemetry{Tracing: &snapshot.Tracing{Endpoint: c.Address, SamplePerMillion: snapshot.PerMillion}}
	o := startOperator(t, snap)
	named, status, admin := freePort(t), freePort(t), freePort(t)
	p := podSettings{
		files:    files{token: write(t, "token", []byte("t0ken")), ca: write(t, "ca.crt", o.ca), state: t.TempDir()},
		status:   port(status),
		admin:    fmt.Sprintf("127.0.0.1:%d", admin),
		operator: o.address, namespace: "shop", pod: "payments-7d4b9c", ip: ip,
		namedPorts: []podspec.NamedPort{{Name: "http", Listen: named, Port: 20001}},
	}
	var out logs
	stop := background(t, func(ctx context.Context) error {
		return p.run(ctx, slog.New(slog.NewJSONHandler(&out, nil)), &slog.LevelVar{})
	})
	await(t, o, (*stream.FromSidecar).GetAck)
	// Nobody listens on the app's port.
	if got, _ := get(t, fmt.Sprintf("http://127.0.0.1:%d/", named)); got != 502 {
		t.Fatalf("status %d, want 502", got)
	}
	stop()
	if n := len(c.Spans()); n != 1 {
		t.Fatalf("%d spans when the sidecar has ended, want 1", n)
	}
	got := map[string]string{}
	for _, kv := range c.Last().GetResourceSpans()[0].GetResource().GetAttributes() {
		got[kv.GetKey()] = kv.GetValue().GetStringValue()
	}
	want := map[string]string{
		"service.name": "payments", "service.namespace": "shop", "k8s.namespace.name": "shop", "k8s.pod.name": "payments-7d4b9c",
		"telemetry.sdk.name": "weir", "telemetry.sdk.language": "go", "telemetry.sdk.version": version,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("resource (-want +got):\n%s", d)
	}
}
