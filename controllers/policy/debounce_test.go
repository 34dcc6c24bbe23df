// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestDebounce(t *testing.T) {
	cases := map[string]struct {
		touches []time.Duration
		want    []time.Duration
	}{
		"one":      {[]time.Duration{0}, []time.Duration{quiet}},
		"a burst":  {[]time.Duration{0, 10e6, 20e6, 60e6}, []time.Duration{60e6 + quiet}},
		"two":      {[]time.Duration{0, 200e6}, []time.Duration{quiet, 200e6 + quiet}},
		"no quiet": {every(40*time.Millisecond, 25), []time.Duration{patience, 520e6 + 440e6 + quiet}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var got []time.Duration
				d := newDebouncer()
				for _, at := range c.touches {
					time.Sleep(time.Until(start.Add(at)))
					synctest.Wait()
					d.touch("shop", func() { got = append(got, time.Since(start)) })
				}
				time.Sleep(2 * patience)
				synctest.Wait()
				if !slices.Equal(got, c.want) {
					t.Errorf("fired at %v, want %v", got, c.want)
				}
			})
		})
	}
}

func every(period time.Duration, n int) []time.Duration {
	var out []time.Duration
	for i := range n {
		out = append(out, time.Duration(i)*period)
	}
	return out
}

func TestFirstTouchIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDebouncer()
		began := time.Now()
		d.touch("a", func() {})
		time.Sleep(quiet / 2)
		d.touch("a", func() {})
		time.Sleep(quiet)
		synctest.Wait()
		if got := d.taken("a", time.Now()); !got.Equal(began) {
			t.Errorf("%s, want %s", got, began)
		}
		if got := d.taken("a", time.Now()); !got.Equal(time.Now()) {
			t.Errorf("taken twice: %s, want now", got)
		}
	})
}
