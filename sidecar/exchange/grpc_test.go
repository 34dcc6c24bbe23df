// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"testing"

	"google.golang.org/grpc/codes"

	"weir.dev/weir/sidecar/exchange"
)

// Names are those that grpc-go reads.
func TestGRPCStatusName(t *testing.T) {
	for n := range 17 {
		var c codes.Code
		name := exchange.GRPCStatusName(n)
		if err := c.UnmarshalJSON([]byte(`"` + name + `"`)); err != nil || c != codes.Code(n) {
			t.Errorf("%d is %s, which grpc-go reads as %d, error %v", n, name, c, err)
		}
	}
	for _, n := range []int{-1, 17, 1 << 40} {
		if name := exchange.GRPCStatusName(n); name != "UNKNOWN" {
			t.Errorf("%d is %s", n, name)
		}
	}
	for n, want := range map[int]bool{0: false, 1: false, 2: true, 3: false, 4: true, 8: false, 12: true, 13: true, 14: true, 15: true, 16: false, 99: true} {
		if got := exchange.GRPCServerFault(n); got != want {
			t.Errorf("%d blames the server: %v", n, got)
		}
	}
}
