// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/filter/ratelimit"
)

// breakers is metrics that know whether the breaker of a store is open.
type breakers struct{ open atomic.Bool }

func (b *breakers) Limit(string, string) ratelimit.LimitMetrics { return b }
func (b *breakers) Decided(ratelimit.Outcome, ratelimit.Source) {}
func (b *breakers) Corrected(ratelimit.Correction)              {}
func (b *breakers) StoreError(string, string)                   {}
func (b *breakers) StoreBreaker(_ string, open bool)            { b.open.Store(open) }

func (b *breakers) await(t *testing.T, open bool) {
	t.Helper()
	for range 1000 {
		if b.open.Load() == open {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the breaker is not said to be open: %v", open)
}

// TestBreakerOfARemovedStore: what is not there any more is not said to be away.
func TestBreakerOfARemovedStore(t *testing.T) {
	b := &breakers{}
	e := engine.New(engine.Options{Metrics: b})
	defer e.Close()
	apply(t, e, clusterPolicy(6, "127.0.0.1:1"))
	b.await(t, true)
	apply(t, e, podPolicy(6))
	b.await(t, false)
}
