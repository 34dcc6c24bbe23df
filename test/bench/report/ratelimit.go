// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
)

// Names of what shares a limit through one Redis, and of the scenario that targets
// speak of.
const (
	Exact     = "Weir, Exact"
	Leased    = "Weir, Leased"
	Gateway   = "Envoy + rate limit service"
	RedisRate = "net/http + redis_rate"

	Never = "open"
)

// RateLimit is a whole run of limits that many share, as it is written in JSON.
type RateLimit struct {
	Run
	Sections []SharedSeries `json:"sections"`
	Over     []Over         `json:"overAdmission"`
	// Notes are sentences.
	Notes []string `json:"notes,omitempty"`
}

// SharedSeries is one scenario over all peers.
type SharedSeries struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// Latency says that a port without a limit was measured beside it, both open-loop.
	Latency bool         `json:"latency,omitempty"`
	Lines   []SharedLine `json:"lines"`
}

// SharedLine is what one peer did, round by round.
type SharedLine struct {
	Peer   string        `json:"peer"`
	Rounds []SharedRound `json:"rounds"`
}

// SharedRound is one measurement; times are microseconds.
type SharedRound struct {
	PerSecond float64 `json:"requestsPerSecond"`
	// CPU time per request, of the proxy, its rate limit service and the Redis.
	Proxy   float64 `json:"proxyCpuMicros"`
	Service float64 `json:"serviceCpuMicros"`
	Redis   float64 `json:"redisCpuMicros"`
	// Calls of the Redis per request, and the share of requests that were denied.
	Calls  float64 `json:"redisCallsPerRequest"`
	Denied float64 `json:"deniedShare"`
	P50    float64 `json:"p50Micros"`
	P99    float64 `json:"p99Micros"`
	// Of the port without a limit.
	P50Without float64 `json:"p50WithoutMicros,omitempty"`
	P99Without float64 `json:"p99WithoutMicros,omitempty"`
}

// Over is how much passed of a load on a limit that several sidecars share.
type Over struct {
	Peer    string  `json:"peer"`
	Pods    int     `json:"pods"`
	Offered float64 `json:"offeredPerSecond"`
	Limit   int     `json:"limitPerSecond"`
	Burst   int     `json:"burst"`
	Seconds int     `json:"seconds"`
	// Passed in all, Allowed is limit × time + burst.
	Passed  int64 `json:"passed"`
	Allowed int64 `json:"allowed"`
	// Worst is the most that passed in one second, of which Limit + Burst may.
	Worst int64 `json:"worstSecond"`
	// Failed are answers of 500 and above: the store did not answer in time.
	Failed int64   `json:"failed"`
	Calls  float64 `json:"redisCallsPerRequest"`
}

func (o Over) share() float64 { return float64(o.Passed)/float64(max(1, o.Allowed)) - 1 }

// excess of the worst second over what any may take.
func (o Over) excess() float64 { return float64(o.Worst)/float64(max(1, o.Limit+o.Burst)) - 1 }

func (l SharedLine) of(measure func(SharedRound) float64) Spread {
	var values []float64
	for _, r := range l.Rounds {
		values = append(values, measure(r))
	}
	return spread(values)
}

func sharedCPU(r SharedRound) float64   { return r.Proxy + r.Service + r.Redis }
func sharedRate(r SharedRound) float64  { return r.PerSecond }
func sharedCalls(r SharedRound) float64 { return r.Calls }

// line finds a peer's line in a scenario.
func (r RateLimit) line(id, peer string) (SharedLine, bool) {
	for _, s := range r.Sections {
		for _, l := range s.Lines {
			if s.ID == id && l.Peer == peer {
				return l, len(l.Rounds) > 0
			}
		}
	}
	return SharedLine{}, false
}

// targets are those of the design.
func (r RateLimit) targets() []Target {
	out := []Target{
		r.ratio("requests/s over those of Envoy + its rate limit service", sharedRate),
		r.ratio("the same of requests/s per core, by the CPU time of all processes", func(l SharedRound) float64 { return 1 / max(0.01, sharedCPU(l)) }),
	}
	calls := Target{What: Leased + ": Redis calls per request", Want: "≤ 0.05"}
	if l, ok := r.line(Never, Leased); ok {
		got := l.of(sharedCalls)
		calls.Measured, calls.Met, calls.Got = true, got.Median <= 0.05, fmt.Sprintf("%.4f", got.Median)
	}
	over := Target{What: Leased + ": the worst second over limit + burst", Want: "≤ 1 %"}
	many := Target{What: Leased + ": Redis calls per request, many sidecars", Want: "≤ 0.05"}
	for _, o := range r.Over {
		if o.Peer != Leased || o.Passed == 0 {
			continue
		}
		over.Measured, over.Met, over.Got = true, o.excess() <= 0.01, fmt.Sprintf("%+.1f %%", 100*o.excess())
		many.Measured, many.Met, many.Got = true, o.Calls <= 0.05, fmt.Sprintf("%.4f, %d sidecars", o.Calls, o.Pods)
	}
	return append(out, calls, many, over)
}

// ratio of a measure, round by round, of Weir's leases over Envoy.
func (r RateLimit) ratio(what string, measure func(SharedRound) float64) Target {
	t := Target{What: Leased + ": " + what, Want: "≥ 10"}
	l, ok := r.line(Never, Leased)
	other, okOther := r.line(Never, Gateway)
	if !ok || !okOther {
		return t
	}
	var values []float64
	for i := range min(len(l.Rounds), len(other.Rounds)) {
		if d := measure(other.Rounds[i]); d > 0 {
			values = append(values, measure(l.Rounds[i])/d)
		}
	}
	got := spread(values)
	t.Measured, t.Met = true, got.Median >= 10
	t.Got = fmt.Sprintf("%.1f (%.1f..%.1f)", got.Median, got.Min, got.Max)
	// A service that decides by itself is another thing, and a cheaper one.
	if calls := other.of(sharedCalls).Median; calls < 0.9 {
		t.Measured = false
		t.Got += fmt.Sprintf(", but Envoy's service asked the Redis only %.2f times per request", calls)
	}
	return t
}

func (s SharedSeries) table() table {
	head := []string{"", "requests/s", "CPU µs/request, all", "proxy", "service", "Redis", "Redis calls/request", "denied", "p50", "p99"}
	if s.Latency {
		head = append(head, "added p50", "added p99")
	}
	t := table{head: head}
	for _, l := range s.Lines {
		c := l.of(sharedCPU)
		row := []string{l.Peer, thousands(l.of(sharedRate).Median), fmt.Sprintf("%.1f (%.1f..%.1f)", c.Median, c.Min, c.Max)}
		for _, m := range []func(SharedRound) float64{
			func(r SharedRound) float64 { return r.Proxy }, func(r SharedRound) float64 { return r.Service }, func(r SharedRound) float64 { return r.Redis },
		} {
			row = append(row, fmt.Sprintf("%.1f", l.of(m).Median))
		}
		row = append(row, fmt.Sprintf("%.4f", l.of(sharedCalls).Median), fmt.Sprintf("%.0f %%", 100*l.of(func(r SharedRound) float64 { return r.Denied }).Median))
		row = append(row, micros(l.of(func(r SharedRound) float64 { return r.P50 }).Median), micros(l.of(func(r SharedRound) float64 { return r.P99 }).Median))
		if s.Latency {
			row = append(row, micros(l.of(func(r SharedRound) float64 { return r.P50 - r.P50Without }).Median),
				micros(l.of(func(r SharedRound) float64 { return r.P99 - r.P99Without }).Median))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func (r RateLimit) overTable() table {
	t := table{head: []string{"", "sidecars", "offered/s", "limit/s + burst", "passed of allowed", "", "worst second", "over limit + burst", "failed", "Redis calls/request"}}
	for _, o := range r.Over {
		t.rows = append(t.rows, []string{
			o.Peer, fmt.Sprint(o.Pods), thousands(o.Offered), thousands(float64(o.Limit)) + " + " + thousands(float64(o.Burst)),
			thousands(float64(o.Passed)) + " of " + thousands(float64(o.Allowed)), fmt.Sprintf("%+.1f %%", 100*o.share()),
			thousands(float64(o.Worst)), fmt.Sprintf("%+.1f %%", 100*o.excess()), fmt.Sprint(o.Failed), fmt.Sprintf("%.4f", o.Calls),
		})
	}
	return t
}

// Text is the report for a terminal.
func (r RateLimit) Text() string {
	var b strings.Builder
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n%s\n", s.Title)
		s.table().text(&b)
	}
	b.WriteString("\nOver-admission\n")
	r.overTable().text(&b)
	b.WriteString("\nTargets\n")
	targetTable(r.targets()).text(&b)
	for _, s := range r.Notes {
		fmt.Fprintf(&b, "\n%s\n", s)
	}
	return b.String()
}

// Markdown is the report as a page, beside ratelimit.svg and ratelimit.json.
func (r RateLimit) Markdown() string {
	var b strings.Builder
	r.intro(&b, "One limit for many: Weir beside Envoy with a rate limit service, and redis_rate", "README.md#one-limit-for-many", "ratelimit.json")
	b.WriteString("| | version |\n|---|---|\n")
	for _, p := range r.Peers {
		fmt.Fprintf(&b, "| %s | %s |\n", p.Name, p.Version)
	}
	b.WriteString("\n![CPU time per request](ratelimit.svg)\n\n## Targets\n\n")
	targetTable(r.targets()).markdown(&b)
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		s.table().markdown(&b)
	}
	b.WriteString("\n## Over-admission\n\n")
	r.overTable().markdown(&b)
	doubts(&b, r.Notes)
	return b.String()
}

// SVG is a plot of the CPU time per request of all processes.
func (r RateLimit) SVG() string {
	var out []plotted
	for _, s := range r.Sections {
		group := plotted{title: s.Title}
		for _, l := range s.Lines {
			group.bars = append(group.bars, bar{l.Peer, l.of(sharedCPU)})
		}
		out = append(out, group)
	}
	return plot("CPU time of proxy, rate limit service and Redis per request, µs: median, least and most", out)
}
