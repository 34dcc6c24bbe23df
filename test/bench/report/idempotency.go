// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
)

// Naive is what Weir is compared with, and the scenarios that targets speak of.
const (
	Naive = "net/http + go-redis"

	First  = "first"
	Replay = "replay"
	Other  = "other"
)

// Idempotency is a whole run of requests that are executed once, as it is written in
// JSON.
type Idempotency struct {
	Run
	Sections []OnceSeries `json:"sections"`
	Records  []Stored     `json:"records"`
	// Notes are sentences.
	Notes []string `json:"notes,omitempty"`
}

// OnceSeries is one scenario over all peers.
type OnceSeries struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// Latency says that the rate was set, and that a port without a policy was
	// measured beside it.
	Latency bool       `json:"latency,omitempty"`
	Lines   []OnceLine `json:"lines"`
}

// OnceLine is what one peer did, round by round.
type OnceLine struct {
	Peer string `json:"peer"`
	// RoundTrips to the Redis of one request, where nothing else is under way; under
	// latency they are not measured.
	RoundTrips float64     `json:"roundTrips"`
	Rounds     []OnceRound `json:"rounds"`
}

// OnceRound is one measurement; times are microseconds.
type OnceRound struct {
	PerSecond float64 `json:"requestsPerSecond"`
	// CPU time per request, of the proxy and the Redis.
	Proxy float64 `json:"proxyCpuMicros"`
	Redis float64 `json:"redisCpuMicros"`
	// Per request, what the Redis reads: how often, and bytes; and what it sends.
	Reads float64 `json:"redisReads"`
	In    float64 `json:"redisBytesIn"`
	Out   float64 `json:"redisBytesOut"`
	P50   float64 `json:"p50Micros"`
	P99   float64 `json:"p99Micros"`
	// Of the port without a policy.
	P50Without float64 `json:"p50WithoutMicros,omitempty"`
	P99Without float64 `json:"p99WithoutMicros,omitempty"`
}

// Stored is what a record takes.
type Stored struct {
	Peer string `json:"peer"`
	// Bytes in the Redis, by MEMORY USAGE.
	Bytes float64 `json:"bytes"`
}

func (l OnceLine) of(measure func(OnceRound) float64) Spread {
	var values []float64
	for _, r := range l.Rounds {
		values = append(values, measure(r))
	}
	return spread(values)
}

func onceProxy(r OnceRound) float64 { return r.Proxy }
func onceRate(r OnceRound) float64  { return r.PerSecond }

// oncePerCore is requests per second and core of the proxy.
func oncePerCore(r OnceRound) float64 { return 1e6 / max(0.01, r.Proxy) }

// Rate is the median of the requests per second.
func (l OnceLine) Rate() float64 { return l.of(onceRate).Median }

// Line finds a peer's line in a scenario that was measured.
func (r Idempotency) Line(id, peer string) (OnceLine, bool) {
	for _, s := range r.Sections {
		for _, l := range s.Lines {
			if s.ID == id && l.Peer == peer {
				return l, len(l.Rounds) > 0
			}
		}
	}
	return OnceLine{}, false
}

// targets are those of the design.
func (r Idempotency) targets() []Target {
	var out []Target
	for _, t := range []struct {
		id, what  string
		trips     float64
		wantTrips string
		perCore   float64
	}{
		{First, "first call", 2, "2", 20_000},
		{Other, "replay, recorded by another pod", 1, "≤ 1", 30_000},
		{Replay, "replay, recorded by this pod", 1, "≤ 1", 30_000},
	} {
		trips := Target{What: t.what + ": Redis round trips", Want: t.wantTrips}
		rate := Target{What: t.what + ": requests/s per core", Want: "≥ " + thousands(t.perCore)}
		if l, ok := r.Line(t.id, Weir); ok {
			got := l.of(oncePerCore)
			// A hundredth is for what it asks besides, such as the time.
			trips.Measured, trips.Met, trips.Got = true, l.RoundTrips <= t.trips+0.01, fmt.Sprintf("%.2f", l.RoundTrips)
			rate.Measured, rate.Met = true, got.Median >= t.perCore
			rate.Got = fmt.Sprintf("%s (%s..%s)", thousands(got.Median), thousands(got.Min), thousands(got.Max))
		}
		out = append(out, trips, rate)
	}
	return out
}

func (s OnceSeries) table() table {
	if s.Latency {
		return s.latencyTable()
	}
	t := table{head: []string{"", "CPU µs/request", "× Weir", "requests/s per core", "requests/s", "round trips", "Redis CPU µs/request", "Redis reads/request", "bytes to it", "bytes from it", "p50", "p99"}}
	var weir OnceLine
	for _, l := range s.Lines {
		if l.Peer == Weir {
			weir = l
		}
	}
	for _, l := range s.Lines {
		c, x := l.of(onceProxy), "–"
		if v := onceRatio(l, weir); v.Median > 0 {
			x = fmt.Sprintf("%.2f (%.2f..%.2f)", v.Median, v.Min, v.Max)
		}
		row := []string{
			l.Peer, fmt.Sprintf("%.1f (%.1f..%.1f)", c.Median, c.Min, c.Max), x, thousands(l.of(oncePerCore).Median), thousands(l.Rate()), fmt.Sprintf("%.2f", l.RoundTrips),
		}
		for _, m := range []struct {
			format string
			of     func(OnceRound) float64
		}{
			{"%.1f", func(r OnceRound) float64 { return r.Redis }}, {"%.2f", func(r OnceRound) float64 { return r.Reads }},
			{"%.0f", func(r OnceRound) float64 { return r.In }}, {"%.0f", func(r OnceRound) float64 { return r.Out }},
		} {
			row = append(row, fmt.Sprintf(m.format, l.of(m.of).Median))
		}
		t.rows = append(t.rows, append(row, micros(l.of(func(r OnceRound) float64 { return r.P50 }).Median), micros(l.of(func(r OnceRound) float64 { return r.P99 }).Median)))
	}
	return t
}

func (s OnceSeries) latencyTable() table {
	t := table{head: []string{"", "CPU µs/request", "p50", "p99", "p50 without", "p99 without", "added p50", "added p99"}}
	for _, l := range s.Lines {
		c := l.of(onceProxy)
		row := []string{l.Peer, fmt.Sprintf("%.1f (%.1f..%.1f)", c.Median, c.Min, c.Max)}
		for _, m := range []func(OnceRound) float64{
			func(r OnceRound) float64 { return r.P50 }, func(r OnceRound) float64 { return r.P99 },
			func(r OnceRound) float64 { return r.P50Without }, func(r OnceRound) float64 { return r.P99Without },
			func(r OnceRound) float64 { return r.P50 - r.P50Without }, func(r OnceRound) float64 { return r.P99 - r.P99Without },
		} {
			row = append(row, micros(l.of(m).Median))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// onceRatio is the CPU time of a over that of b, round by round.
func onceRatio(a, b OnceLine) Spread {
	var values []float64
	for i := range min(len(a.Rounds), len(b.Rounds)) {
		if b.Rounds[i].Proxy > 0 {
			values = append(values, a.Rounds[i].Proxy/b.Rounds[i].Proxy)
		}
	}
	return spread(values)
}

func (r Idempotency) recordTable() table {
	t := table{head: []string{"", "bytes of a record in the Redis", "proxy's memory, idle", "after the load"}}
	for _, s := range r.Records {
		row := []string{s.Peer, fmt.Sprintf("%.0f", s.Bytes), "–", "–"}
		if p, ok := r.peer(s.Peer); ok && p.MemoryIdle > 0 {
			row[2], row[3] = mebibytes(p.MemoryIdle), mebibytes(p.MemoryLoaded)
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// Text is the report for a terminal.
func (r Idempotency) Text() string {
	var b strings.Builder
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n%s\n", s.Title)
		s.table().text(&b)
	}
	b.WriteString("\nMemory\n")
	r.recordTable().text(&b)
	b.WriteString("\nTargets\n")
	targetTable(r.targets()).text(&b)
	for _, s := range r.Notes {
		fmt.Fprintf(&b, "\n%s\n", s)
	}
	return b.String()
}

// Markdown is the report as a page, beside idempotency.svg and idempotency.json.
func (r Idempotency) Markdown() string {
	var b strings.Builder
	r.intro(&b, "Executed once: Weir beside a net/http middleware with go-redis", "README.md#executed-once", "idempotency.json")
	b.WriteString("| | version |\n|---|---|\n")
	for _, p := range r.Peers {
		fmt.Fprintf(&b, "| %s | %s |\n", p.Name, p.Version)
	}
	b.WriteString("\n![CPU time per request](idempotency.svg)\n\n## Targets\n\n")
	targetTable(r.targets()).markdown(&b)
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		s.table().markdown(&b)
	}
	b.WriteString("\n## Memory\n\n")
	r.recordTable().markdown(&b)
	doubts(&b, r.Notes)
	return b.String()
}

// SVG is a plot of the CPU time of the proxy per request.
func (r Idempotency) SVG() string {
	var out []plotted
	for _, s := range r.Sections {
		group := plotted{title: s.Title}
		for _, l := range s.Lines {
			group.bars = append(group.bars, bar{l.Peer, l.of(onceProxy)})
		}
		out = append(out, group)
	}
	return plot("CPU time of the proxy per request, µs: median, least and most of the rounds", out)
}
