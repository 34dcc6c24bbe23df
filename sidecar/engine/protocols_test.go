// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"testing"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/exchange"
)

// A gRPC method is a path: a limit on one counts its calls and no others', by
// metadata, whatever the port speaks.
func TestMethodOfGRPC(t *testing.T) {
	for protocol, want := range map[snapshot.Protocol]exchange.Protocol{
		snapshot.Protocol_PROTOCOL_GRPC: exchange.GRPC, snapshot.Protocol_PROTOCOL_H2C: exchange.H2C,
		snapshot.Protocol_PROTOCOL_AUTO: exchange.Auto, snapshot.Protocol_PROTOCOL_WEBSOCKET: exchange.WebSocket,
	} {
		t.Run(protocol.String(), func(t *testing.T) {
			e := engine.New(engine.Options{})
			defer e.Close()
			s := podPolicy(2)
			s.Ports[0].Protocol = protocol
			s.RateLimitPolicies[0].Limits[0].Match = []*snapshot.Match{{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{
				Methods: []string{"POST"},
				Path:    &snapshot.PathMatch{Type: snapshot.PathMatch_TYPE_EXACT, Value: "/shop.v1.Ledger/Charge"},
			}}}}
			apply(t, e, s)
			if p, _ := e.Port(8080); p.Protocol != want {
				t.Errorf("protocol %d, want %d", p.Protocol, want)
			}
			call := func(method, client string) int {
				x := get(method, client)
				x.Method, x.Protocol, x.GRPC = []byte("POST"), "HTTP/2", true
				return serve(t, e, 8080, x)
			}
			for i, want := range []int{200, 200, 429, 429} {
				if got := call("/shop.v1.Ledger/Charge", "a"); got != want {
					t.Errorf("call %d: %d, want %d", i, got, want)
				}
			}
			for _, other := range []string{"/shop.v1.Ledger/Refund", "/shop.v1.Ledger", "/shop.v1.LedgerAdmin/Charge"} {
				if got := call(other, "a"); got != 200 {
					t.Errorf("%s: %d", other, got)
				}
			}
			if got := call("/shop.v1.Ledger/Charge", "b"); got != 200 {
				t.Errorf("another client: %d", got)
			}
		})
	}
}
