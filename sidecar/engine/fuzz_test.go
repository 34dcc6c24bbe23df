// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/engine"
)

// FuzzApply: no snapshot, however it was made, ends the process, and what is taken
// serves.
func FuzzApply(f *testing.F) {
	seed := podPolicy(2)
	limit := seed.RateLimitPolicies[0].Limits[0]
	limit.Match = []*snapshot.Match{{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{
		Methods: []string{"GET"},
		Path:    &snapshot.PathMatch{Type: snapshot.PathMatch_TYPE_TEMPLATE, Value: "/a/{b}"},
		Headers: []*snapshot.HeaderMatch{{Name: "x-a", Value: "b"}},
	}}}}
	limit.Key = append(limit.Key, &snapshot.KeyPart{Kind: &snapshot.KeyPart_PathParam{PathParam: "b"}},
		&snapshot.KeyPart{Kind: &snapshot.KeyPart_ClientIp{ClientIp: &snapshot.ClientIP{Ipv6PrefixLength: 64}}})
	seed.Ports[0].Identity = &snapshot.Identity{TrustedProxies: []string{"10.0.0.0/8"}, IdentityHeaders: []string{"x-a"}}
	seed.Proxy = &snapshot.Proxy{HeadBytes: 8 << 10, Connections: 9, IdleMilliseconds: 1000, StallMilliseconds: 1000, ConnectMilliseconds: 10}
	seed.Telemetry = &snapshot.Telemetry{
		AccessLog: &snapshot.AccessLog{Mode: snapshot.AccessLog_MODE_SAMPLED, SamplePerMillion: 9},
		Tracing:   &snapshot.Tracing{Endpoint: "otel:4317", SamplePerMillion: 9},
	}
	seed.Ports[0].MaxBodyBytes = 9
	seed.Ports[0].Timeouts = []*snapshot.RouteTimeout{{Prefix: "/a", ResponseMilliseconds: 9}, {Prefix: "/"}}
	b, err := proto.Marshal(seed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		snap := &snapshot.Snapshot{}
		if proto.Unmarshal(b, snap) != nil {
			t.Skip()
		}
		// Stores would be dialled.
		for _, s := range snap.Stores {
			s.Redis = nil
		}
		e := engine.New(engine.Options{})
		defer e.Close()
		if e.Apply(snap) != nil {
			return
		}
		for _, p := range snap.GetPorts() {
			port, _ := e.Port(uint16(p.GetNumber()))
			if port == nil {
				t.Fatalf("port %d is not there", p.GetNumber())
			}
			for range 3 {
				if port.MaxBody < 0 || port.ResponseTimeout([]byte("/a/b")) < 0 {
					t.Fatalf("a bound below 0: %+v", port)
				}
				if len(port.Chain) > 0 {
					serve(t, e, uint16(p.GetNumber()), get("/a/b", "c"))
				}
			}
		}
	})
}
