// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sharedSample() RateLimit {
	lines := func(weir, calls float64) []SharedLine {
		return []SharedLine{
			{Peer: Leased, Rounds: []SharedRound{{PerSecond: 50_000, Proxy: weir, Redis: 0.5, Calls: calls, P50: 400, P99: 1500, P50Without: 390, P99Without: 3000}}},
			{Peer: Gateway, Rounds: []SharedRound{{PerSecond: 5_000, Proxy: 80, Service: 60, Redis: 20, Calls: 1, P50: 900, P99: 2500, P50Without: 450, P99Without: 1400}}},
		}
	}
	return RateLimit{
		Run: run("make bench-ratelimit", Peer{Name: "Redis", Version: "7.0.15"}, Peer{Name: Leased, Version: "v1"}),
		Sections: []SharedSeries{
			{ID: Never, Title: "Never reached", Lines: lines(12, 0.01)},
			{ID: "latency", Title: "What it adds", Latency: true, Lines: lines(30, 0.02)},
		},
		Over:  []Over{{Peer: Leased, Pods: 10, Offered: 10_000, Limit: 5000, Burst: 500, Seconds: 10, Passed: 50_000, Allowed: 50_500, Worst: 5600, Calls: 0.03}},
		Notes: []string{"The load average was 9.0."},
	}
}

func TestRateLimitGolden(t *testing.T) {
	r := sharedSample()
	golden(t, "ratelimit.txt", r.Text())
	golden(t, "ratelimit.md", r.Markdown())
	golden(t, "ratelimit.svg", r.SVG())
	wellFormed(t, r.SVG())
	wellFormed(t, RateLimit{}.SVG())
}

func TestRateLimitTargets(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*RateLimit)
		want   string
	}{
		"as it is":        {func(*RateLimit) {}, "met met met met missed"},
		"slower":          {func(r *RateLimit) { r.Sections[0].Lines[0].Rounds[0].PerSecond = 49_000 }, "missed met met met missed"},
		"dearer":          {func(r *RateLimit) { r.Sections[0].Lines[0].Rounds[0].Proxy = 16 }, "met missed met met missed"},
		"many calls":      {func(r *RateLimit) { r.Sections[0].Lines[0].Rounds[0].Calls = 0.06 }, "met met missed met missed"},
		"calls of many":   {func(r *RateLimit) { r.Over[0].Calls = 0.06 }, "met met met missed missed"},
		"within a second": {func(r *RateLimit) { r.Over[0].Worst = 5550 }, "met met met met met"},
		"a late Redis":    {func(r *RateLimit) { r.Sections[0].Lines[1].Rounds[0].Calls = 0.5 }, "- - met met missed"},
		"no Envoy":        {func(r *RateLimit) { r.Sections[0].Lines = r.Sections[0].Lines[:1] }, "- - met met missed"},
		"only Envoy":      {func(r *RateLimit) { r.Sections[0].Lines = r.Sections[0].Lines[1:]; r.Over = nil }, "- - - - -"},
	} {
		t.Run(name, func(t *testing.T) {
			r := sharedSample()
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
