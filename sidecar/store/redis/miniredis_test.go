// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"testing"

	"github.com/alicebob/miniredis/v2"

	"weir.dev/weir/sidecar/filter/limiter"
)

// TestMiniredis: the development backend, a Lua of its own, runs the script.
func TestMiniredis(t *testing.T) {
	s := dial(t, options(miniredis.RunT(t).Addr()))
	p, err := limiter.NewPenalty(2, 60, 600)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*limiter.Rule{
		"sliding": mustRule(t, limiter.SlidingWindow, 3, 3600, 0),
		"bucket":  mustRule(t, limiter.TokenBucket, 1, 3600, 3),
		"fixed":   mustRule(t, limiter.FixedWindow, 3, 366*24*3600, 0),
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 6 {
				d := take(t, s, limiter.Op{ID: "p/" + name, Rule: r, Key: key(1), Penalty: &p})[0].Decision
				if d.Allowed != (i < 3) || d.Banned != (i > 3) {
					t.Errorf("request %d: %+v", i, d)
				}
			}
		})
	}
}

func TestMiniredisPermits(t *testing.T) {
	s := dial(t, options(miniredis.RunT(t).Addr()))
	op := limiter.Op{ID: "p/l", Rule: slots(t, 1), Key: key(1)}
	take(t, s, op)
	s.beatOnce()
	if take(t, s, op)[0].Decision.Allowed {
		t.Error("a second request is let through")
	}
	s.Release(op)
	eventually(t, "the permit is back", func() bool { return take(t, s, op)[0].Decision.Allowed })
}

func TestMiniredisLeases(t *testing.T) {
	s := dial(t, options(miniredis.RunT(t).Addr()))
	r := mustRule(t, limiter.TokenBucket, 1, 3600, 9).Leased()
	d := take(t, s, limiter.Op{ID: "p/l", Rule: &r, Key: key(1), Want: 3})[0].Decision
	if !d.Allowed || d.Lease.N != 3 {
		t.Errorf("got %+v, want a lease of 3", d)
	}
	if d = take(t, s, limiter.Op{ID: "p/l", Rule: &r, Key: key(1)})[0].Decision; d.Remaining != 4 {
		t.Errorf("%d remain, want 4", d.Remaining)
	}
}
