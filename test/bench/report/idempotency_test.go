// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func onceSample() Idempotency {
	lines := func(weir, trips float64) []OnceLine {
		return []OnceLine{
			{Peer: Weir, RoundTrips: trips, Rounds: []OnceRound{
				{PerSecond: 15_000, Proxy: weir, Redis: 9, Reads: 0.2, In: 600, Out: 120, P50: 900, P99: 2500, P50Without: 300, P99Without: 900},
				{PerSecond: 16_000, Proxy: weir + 2, Redis: 8, Reads: 0.3, In: 601, Out: 121, P50: 901, P99: 2501, P50Without: 300, P99Without: 900},
			}},
			{Peer: Naive, RoundTrips: 5, Rounds: []OnceRound{
				{PerSecond: 4000, Proxy: 210, Redis: 50, Reads: 5, In: 900, Out: 200, P50: 4000, P99: 9000, P50Without: 800, P99Without: 2900},
			}},
		}
	}
	return Idempotency{
		Run: run("make bench-idempotency", Peer{Name: "Redis", Version: "7.0.15"},
			Peer{Name: Weir, Version: "v1", MemoryIdle: 15 << 20, MemoryLoaded: 40 << 20}, Peer{Name: Naive, Version: "9"}),
		Sections: []OnceSeries{
			{ID: First, Title: "First calls", Lines: lines(45, 2)},
			{ID: Other, Title: "Replays, recorded by another pod", Lines: lines(28, 1)},
			{ID: Replay, Title: "Replays, recorded by this pod", Lines: lines(15, 0)},
			{ID: "first-latency", Title: "First calls, open loop", Latency: true, Lines: lines(80, 0)},
		},
		Records: []Stored{{Weir, 512.4}, {Naive, 700}},
		Notes:   []string{"The load average was 9.0."},
	}
}

func TestIdempotencyGolden(t *testing.T) {
	r := onceSample()
	golden(t, "idempotency.txt", r.Text())
	golden(t, "idempotency.md", r.Markdown())
	golden(t, "idempotency.svg", r.SVG())
	wellFormed(t, r.SVG())
	wellFormed(t, Idempotency{}.SVG())
}

func TestIdempotencyTargets(t *testing.T) {
	first := func(r *Idempotency) *OnceLine { return &r.Sections[0].Lines[0] }
	other := func(r *Idempotency) *OnceLine { return &r.Sections[1].Lines[0] }
	for name, test := range map[string]struct {
		change func(*Idempotency)
		want   string
	}{
		"as it is":             {func(*Idempotency) {}, "met met met met met met"},
		"three round trips":    {func(r *Idempotency) { first(r).RoundTrips = 3 }, "missed met met met met met"},
		"with the time":        {func(r *Idempotency) { first(r).RoundTrips = 2.005 }, "met met met met met met"},
		"dear first calls":     {func(r *Idempotency) { first(r).Rounds[0].Proxy, first(r).Rounds[1].Proxy = 51, 51 }, "met missed met met met met"},
		"two for a replay":     {func(r *Idempotency) { other(r).RoundTrips = 2 }, "met met missed met met met"},
		"dear replays":         {func(r *Idempotency) { other(r).Rounds = []OnceRound{{Proxy: 34}} }, "met met met missed met met"},
		"nothing was measured": {func(r *Idempotency) { r.Sections = nil }, "- - - - - -"},
	} {
		t.Run(name, func(t *testing.T) {
			r := onceSample()
			test.change(&r)
			var got []string
			for _, x := range r.targets() {
				got = append(got, map[string]string{"met": "met", "**missed**": "missed", "not measured": "-"}[x.verdict()])
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("targets (-want +got):\n%s", diff)
			}
		})
	}
}
