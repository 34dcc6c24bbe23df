// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"
)

func TestUpstream(t *testing.T) {
	x := &exchange.Exchange{}
	if x.HasUpstream() || x.SetsUpstream([]byte("X-A")) || x.Hides() || x.HidesResponse([]byte("X-A")) {
		t.Error("something is set of itself")
	}
	x.SetUpstream("x-a", []byte("1"))
	x.SetUpstream("x-b", nil)
	x.SetUpstream("x-c", []byte("a\r\nHost: b\x00"))
	x.HideResponse("x-d")
	got := map[string]string{}
	x.Upstream(func(name string, value []byte) bool { got[name] = string(value); return true })
	if diff := cmp.Diff(map[string]string{"x-a": "1", "x-b": "", "x-c": "a  Host: b "}, got); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]bool{"X-A": true, "x_b": true, "x-d": false, "x-ab": false, "X_C": true} {
		if x.SetsUpstream([]byte(name)) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	if !x.Hides() || !x.HidesResponse([]byte("X-D")) || x.HidesResponse([]byte("x-a")) {
		t.Error("x-d alone should be hidden")
	}
	x.Reset()
	if x.HasUpstream() || x.Hides() {
		t.Error("Reset has left something")
	}
}
