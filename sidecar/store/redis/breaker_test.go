// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	for name, tc := range map[string]struct {
		attempt   int
		low, high time.Duration
	}{
		"first":   {0, 10 * time.Millisecond, 30 * time.Millisecond},
		"third":   {2, 40 * time.Millisecond, 120 * time.Millisecond},
		"hundred": {100, 2500 * time.Millisecond, 7500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			if low, high := backoff(tc.attempt, 0), backoff(tc.attempt, 1); low != tc.low || high != tc.high {
				t.Errorf("%s to %s, want %s to %s", low, high, tc.low, tc.high)
			}
		})
	}
}

// TestAfter: how soon a server is asked again that had answered for a while.
func TestAfter(t *testing.T) {
	for name, tc := range map[string]struct {
		attempt int
		held    time.Duration
		want    int
	}{
		"the first trip of all":      {0, 50 * time.Millisecond, 0},
		"now and then":               {3, 3 * time.Second, 0},
		"often":                      {2, 100 * time.Millisecond, 2},
		"for longer than the pauses": {2, 200 * time.Millisecond, 0},
		"probes only":                {1, 10 * time.Millisecond, 1},
		"probes only, for long":      {9, 10 * time.Millisecond, 9},
		"well again after an outage": {9, time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := after(tc.attempt, tc.held); got != tc.want {
				t.Errorf("got attempt %d, want %d", got, tc.want)
			}
		})
	}
}
