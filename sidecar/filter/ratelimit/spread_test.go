// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"fmt"
	"testing"
	"time"

	"weir.dev/weir/sidecar/filter/ratelimit"
)

// TestRetryAfterSpread: Retry-After is up to a tenth longer than t, never shorter, and
// t stays what it is.
func TestRetryAfterSpread(t *testing.T) {
	for name, test := range map[string]struct {
		window        uint64
		wait          int64
		longest       time.Duration
		neverAskedFor bool
	}{
		"too short to spread": {window: 3, wait: 4, longest: 4 * time.Second, neverAskedFor: true},
		"one second":          {window: 8, wait: 9, longest: 10 * time.Second},
		"a tenth":             {window: 60, wait: 64, longest: 70 * time.Second},
		"a minute":            {window: 3600, wait: 3750, longest: 3810 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			asked := 0
			// Draws the most that it can.
			random := func(n int64) int64 { asked++; return n - 1 }
			w.µs.Store(1.2e15)
			l := perClient("l", 1)
			l.WindowSeconds = test.window
			for _, draws := range []struct {
				random func(int64) int64
				want   time.Duration
			}{
				{nil, time.Duration(test.wait) * time.Second},
				{func(int64) int64 { return 0 }, time.Duration(test.wait) * time.Second},
				{random, test.longest},
			} {
				env := w.env()
				env.Random = draws.random
				f, err := ratelimit.Compile(policy(l), env)
				if err != nil {
					t.Fatal(err)
				}
				ask(f, request("a"))
				got := ask(f, request("a"))
				want(t, got.Limits, fmt.Sprintf(`"l";r=0;t=%d`, test.wait))
				want(t, got.Denial.RetryAfter, draws.want)
			}
			if (asked == 0) != test.neverAskedFor {
				t.Errorf("drawn %d times", asked)
			}
		})
	}
}
