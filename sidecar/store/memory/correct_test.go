// SPDX-License-Identifier: Apache-2.0

package memory_test

import (
	"testing"

	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/store/memory"
)

func postpaid(t *testing.T) limiter.Rule {
	t.Helper()
	r, err := limiter.NewRule(limiter.SlidingWindow, 100, 60, 0)
	if err != nil {
		t.Fatal(err)
	}
	return r.Postpaid()
}

// TestCorrectWithoutRoom: what is debited counts also where its key has no room, or has
// been swept out since.
func TestCorrectWithoutRoom(t *testing.T) {
	now := int64(1e12)
	s := memory.New(memory.Options{MaxKeys: 1, Now: func() int64 { return now }})
	t.Cleanup(s.Close)
	table, r := s.Table("l"), postpaid(t)
	// All of one shard, which has room for one.
	a, b, c := limiter.Key{1: 1}, limiter.Key{1: 2}, limiter.Key{1: 3}
	table.Take(a, &r, true)
	d := table.Take(b, &r, true)
	table.Correct(b, &r, d.Receipt, 99)
	if got := table.Take(c, &r, true); got.Allowed {
		t.Errorf("the keys without room have %d left", got.Remaining)
	}
	table.Correct(b, &r, d.Receipt, -1)
	if got := table.Take(c, &r, true); !got.Allowed {
		t.Error("what was given back is not there")
	}
	if got := table.Take(a, &r, true); got.Remaining != 98 {
		t.Errorf("a key with room has %d left, want 98", got.Remaining)
	}
	now += 130e6
	table.Sweep()
	table.Correct(a, &r, 0, 50)
	if got := table.Take(a, &r, true); got.Remaining != 49 {
		t.Errorf("%d remain after a debit of a key that was swept out, want 49", got.Remaining)
	}
}

// TestDenialsThatCanEndEarly are kept for a second at the most, and say the whole wait.
func TestDenialsThatCanEndEarly(t *testing.T) {
	now := int64(1e12)
	s := memory.New(memory.Options{Now: func() int64 { return now }})
	t.Cleanup(s.Close)
	denials, r, k := s.Denials("l", nil), postpaid(t), limiter.Key{1}
	denials.Put(k, &r, nil, limiter.Decision{Retry: 30e6, Reset: 30e6})
	now += 400_000
	if d, ok := denials.Get(k, &r, nil); !ok || d.Retry != 29_600_000 {
		t.Errorf("%v %+v", ok, d)
	}
	now += 600_000
	if _, ok := denials.Get(k, &r, nil); ok {
		t.Error("kept for longer than a second")
	}
	// No correction ends a ban.
	denials.Put(k, &r, nil, limiter.BannedFor(30e6))
	now += 20e6
	if d, ok := denials.Get(k, &r, nil); !ok || d.Retry != 10e6 {
		t.Errorf("a ban: %v %+v", ok, d)
	}
}
