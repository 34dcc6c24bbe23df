// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"testing"

	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

// TestBansAreShared: denials at two stores bring one ban, which holds at both, spends
// nothing of other limits, and lies in their slot.
func TestBansAreShared(t *testing.T) {
	for name, server := range map[string]func(testing.TB) *redistest.Server{
		"alone":   func(t testing.TB) *redistest.Server { return redistest.Start(t) },
		"cluster": redistest.StartCluster,
	} {
		t.Run(name, func(t *testing.T) {
			opts := options(server(t).Addr)
			if name == "cluster" {
				opts.Mode = Cluster
			}
			stores := []*Store{dial(t, opts), dial(t, opts)}
			p, err := limiter.NewPenalty(4, 3600, 600)
			if err != nil {
				t.Fatal(err)
			}
			ops := func() []limiter.Op {
				return []limiter.Op{
					{ID: "p/wide", Rule: mustRule(t, limiter.SlidingWindow, 9, 3600, 0), Key: key(1)},
					{ID: "p/narrow", Rule: mustRule(t, limiter.SlidingWindow, 2, 3600, 0), Key: key(1), Penalty: &p},
				}
			}
			for i := range 8 {
				d := take(t, stores[i%2], ops()...)[1].Decision
				if d.Allowed != (i < 2) || d.Banned != (i >= 5) {
					t.Fatalf("request %d: %+v", i, d)
				}
				if d.Banned && (d.Retry < 590e6 || d.Retry > 600e6) {
					t.Fatalf("request %d: banned for %d", i, d.Retry)
				}
			}
			if got := take(t, stores[0], ops()[0])[0].Decision.Remaining; got != 6 {
				t.Errorf("the wide limit has %d left, want 6", got)
			}
			if ttl := stores[0].conn.Load().PTTL(t.Context(), stores[0].key(&ops()[1], ":ban:")).Val(); ttl.Seconds() > 602 || ttl.Seconds() < 580 {
				t.Errorf("the ban is kept for %s", ttl)
			}
		})
	}
}
