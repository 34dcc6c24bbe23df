// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"strings"
	"testing"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
)

// TestKeysOfAMebibyte are counted as any: by themselves, to the last byte, or by the
// client's address where they are longer than a member may be; nothing of them is kept.
func TestKeysOfAMebibyte(t *testing.T) {
	long := strings.Repeat("k", 1<<20)
	for name, tc := range map[string]struct {
		part *snapshot.KeyPart
		send func(x *exchange.Exchange, value string)
		// address: the member counts by the client's.
		address bool
	}{
		"header":     {header("x-client-id"), func(x *exchange.Exchange, v string) { x.Request = headers{{"x-client-id", v}} }, false},
		"queryParam": {queryParam("user"), func(x *exchange.Exchange, v string) { x.Query = []byte("user=" + v) }, true},
		"cookie":     {cookie("sid"), func(x *exchange.Exchange, v string) { x.Request = headers{{"cookie", "sid=" + v}} }, true},
		"many parameters": {queryParam("user"), func(x *exchange.Exchange, v string) {
			x.Query = []byte(strings.Repeat("user&", len(v)/5) + "user=" + v[len(v)-1:])
		}, true},
		"many cookies": {cookie("sid"), func(x *exchange.Exchange, v string) {
			x.Request = headers{{"cookie", strings.Repeat("a=b; ", len(v)/5) + "sid=" + v[len(v)-1:]}}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l := perClient("l", 2)
			l.Key = []*snapshot.KeyPart{tc.part}
			f := w.filter(t, policy(l))
			status := func(value string) int {
				x := request("")
				tc.send(x, value)
				return ask(f, x).Status
			}
			want(t, []int{status(long + "a"), status(long + "a"), status(long + "a")}, []int{200, 200, 429})
			other := 200
			if tc.address {
				other = 429
			}
			want(t, status(long+"b"), other)
			keys := 2
			if tc.address {
				keys = 1
			}
			want(t, w.tables.Table("payments/l").Len(), keys)
		})
	}
}
