// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"testing"

	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

// BenchmarkTake is one call at a time, and many that share pipelines.
func BenchmarkTake(b *testing.B) {
	server := redistest.Start(b)
	for name, r := range map[string]*limiter.Rule{
		"sliding": mustRule(b, limiter.SlidingWindow, 60_000_000, 60, 0),
		"bucket":  mustRule(b, limiter.TokenBucket, 60_000_000, 60, 600_000),
	} {
		for mode, parallel := range map[string]int{"alone": 0, "64 at once": 32} {
			b.Run(name+"/"+mode, func(b *testing.B) {
				s := dial(b, options(server.Addr))
				one := func(ops []limiter.Op) {
					if err := s.Take(context.Background(), ops); err != nil {
						b.Error(err)
					}
				}
				b.ReportAllocs()
				if parallel == 0 {
					ops := []limiter.Op{{ID: "p/" + name, Rule: r, Key: key(1)}}
					for b.Loop() {
						one(ops)
					}
					return
				}
				b.SetParallelism(parallel)
				b.RunParallel(func(pb *testing.PB) {
					ops := []limiter.Op{{ID: "p/" + name, Rule: r, Key: key(1)}}
					for pb.Next() {
						one(ops)
					}
				})
			})
		}
	}
}
