// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/ledger"
	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

// BenchmarkIdempotency is a first call (claim, dispatch, complete), a replay by the
// store and a replay from memory; with notes and without.
func BenchmarkIdempotency(b *testing.B) {
	server := redistest.Start(b)
	reply := &exchange.Reply{Status: 201, Body: make([]byte, 500),
		Header: []exchange.Field{{Name: []byte("Content-Type"), Value: []byte("application/json")}}}
	terms := &ledger.Terms{Lease: 30 * time.Second, Retention: time.Hour}
	var n atomic.Uint64
	call := func(i uint64) *ledger.Call {
		c := &ledger.Call{Fingerprint: record.Digest{1}, Credentials: record.Digest{2}, Terms: terms}
		binary.LittleEndian.PutUint64(c.ID[:], i*0x9e3779b97f4a7c15)
		return c
	}
	first := func(b *testing.B, l *ledger.Ledger, i uint64) {
		res := l.Begin(context.Background(), call(i))
		if res.Kind != ledger.Claimed || !res.Claim.Dispatch() {
			b.Errorf("kind %d", res.Kind)
			return
		}
		if out := res.Claim.Complete(context.Background(), reply); out.Saved != ledger.Stored {
			b.Errorf("saved %d", out.Saved)
		}
		res.Claim.End()
	}
	for name, bench := range map[string]struct {
		opts ledger.Options
		each func(*testing.B, *ledger.Ledger, uint64)
	}{
		"first":            {ledger.Options{CacheBytes: -1}, func(b *testing.B, l *ledger.Ledger, _ uint64) { first(b, l, n.Add(1)) }},
		"first with notes": {ledger.Options{CacheBytes: -1, Notes: b.TempDir()}, func(b *testing.B, l *ledger.Ledger, _ uint64) { first(b, l, n.Add(1)) }},
		"replay":           {ledger.Options{CacheBytes: -1}, replays(call)},
		"replay in memory": {ledger.Options{}, replays(call)},
	} {
		b.Run(name, func(b *testing.B) {
			s := dial(b, options(server.Addr))
			bench.opts.Store = NewRecords(s)
			l, err := ledger.New(bench.opts)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(l.Close)
			from := n.Add(64)
			for i := range uint64(64) {
				first(b, l, from-i)
			}
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for i := uint64(0); pb.Next(); i++ {
					bench.each(b, l, from-i%64)
				}
			})
		})
	}
}

func replays(call func(uint64) *ledger.Call) func(*testing.B, *ledger.Ledger, uint64) {
	return func(b *testing.B, l *ledger.Ledger, i uint64) {
		if res := l.Begin(context.Background(), call(i)); res.Kind != ledger.Replay && res.Kind != ledger.Joined {
			b.Errorf("kind %d", res.Kind)
		}
	}
}
