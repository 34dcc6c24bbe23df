// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"testing"
	"time"
)

// BenchmarkRequest is what each request pays for its histogram.
func BenchmarkRequest(b *testing.B) {
	for name, count := range map[string]func(*Metrics){
		"http": func(m *Metrics) { m.HTTPRequest(200, 3*time.Millisecond) },
		"grpc": func(m *Metrics) { m.GRPCCall(0, 3*time.Millisecond) },
	} {
		b.Run(name, func(b *testing.B) {
			m := NewMetrics()
			b.ReportAllocs()
			for b.Loop() {
				count(m)
			}
		})
		b.Run(name+" on all cores", func(b *testing.B) {
			m := NewMetrics()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					count(m)
				}
			})
		})
	}
}
