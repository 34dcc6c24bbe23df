// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"testing"

	"pgregory.net/rapid"
)

func drawPenalty(t *rapid.T) Penalty {
	p, err := NewPenalty(rapid.Uint64Range(1, 12).Draw(t, "denials"), rapid.Uint64Range(1, 40).Draw(t, "within"), rapid.Uint64Range(1, 90).Draw(t, "ban"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPenaltyPromise: under denials at an adversary's moments, a ban begins with the
// denial that completes the number within the window, never before there are so many
// within 17/16 of it, and lasts exactly as long as it says.
func TestPenaltyPromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPenalty(t)
		var s State
		var since []int64 // denials since the last ban
		now, until := rapid.Int64Range(0, 1000*second).Draw(t, "start"), int64(0)
		width := p.within / Slots
		for range rapid.IntRange(1, 200).Draw(t, "requests") {
			gap := rapid.SampledFrom([]int64{0, 0, 1, width, p.within, p.within - width, p.ban, rapid.Int64Range(0, p.within).Draw(t, "any")}).Draw(t, "gap")
			now = max(now, now+gap+rapid.Int64Range(-1, 1).Draw(t, "off"))
			left := p.Banned(&s, now)
			if want := max(0, until-now); left != want {
				t.Fatalf("banned for %d, want %d", left, want)
			}
			if left > 0 {
				continue
			}
			since = append(since, now)
			within := func(w int64) (n uint64) {
				for _, at := range since {
					if now-at < w {
						n++
					}
				}
				return n
			}
			got := p.Strike(&s, now)
			switch {
			case got == 0 && within(p.within) >= p.denials:
				t.Fatalf("%d denials within the window, no ban", within(p.within))
			case got > 0 && (got != p.ban || within(p.within+width) < p.denials):
				t.Fatalf("banned for %d after %d denials", got, within(p.within+width))
			case got > 0:
				until, since = now+p.ban, nil
			}
		}
	})
}

// TestBansHeal: whatever clocks and penalties a state has seen, a ban ends at the
// latest when one that began at the first look would.
func TestBansHeal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s State
		var p Penalty
		now := rapid.Int64Range(0, 1000*second).Draw(t, "start")
		for range rapid.IntRange(1, 6).Draw(t, "penalties") {
			p = drawPenalty(t)
			now = max(0, now+rapid.Int64Range(-200*second, 200*second).Draw(t, "step"))
			for range rapid.IntRange(0, 15).Draw(t, "denials") {
				if p.Banned(&s, now) == 0 {
					p.Strike(&s, now)
				}
			}
		}
		left := p.Banned(&s, now)
		if left > p.ban || p.Banned(&s, now+left) != 0 {
			t.Fatalf("banned for %d, at most %d are possible", left, p.ban)
		}
		if !s.Expired(now + 3000*second) {
			t.Fatal("the state does not expire")
		}
	})
}

func TestNewPenaltyRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		denials, within, ban uint64
		want                 string
	}{
		"denials": {0, 1, 1, "denials 0 is not between 1 and 1000000"},
		"within":  {1, 0, 1, "within of 0 s is not between 1 and 31622400"},
		"ban":     {1, 1, 1 << 40, "ban of 1099511627776 s is not between 1 and 31622400"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewPenalty(tc.denials, tc.within, tc.ban); err == nil || err.Error() != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}
