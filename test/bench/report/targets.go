// SPDX-License-Identifier: Apache-2.0

package report

import "fmt"

// Names of the peers and of the scenario that targets speak of.
const (
	Weir    = "Weir"
	WeirAll = "Weir, access log and tracing on"
	Spliced = "Weir, no policy on the port"
	Envoy   = "Envoy"
	HAProxy = "HAProxy"
	Nginx   = "nginx"

	Get = "get"
)

// Target is one promise, and whether it is kept.
type Target struct {
	What, Want, Got string
	Met, Measured   bool
}

// targets are those of the design.
func (r Report) targets() []Target {
	out := []Target{
		r.cpuTarget("CPU per request over that of Envoy with local_ratelimit", Weir, Envoy, 1.0/3, "≤ 0.33"),
		r.cpuTarget("CPU per request over that of HAProxy with a stick table; metrics on", Weir, HAProxy, 1.15, "≤ 1.15"),
		r.cpuTarget("the same with an access log of every request and tracing", WeirAll, HAProxy, 1.30, "≤ 1.30"),
	}
	memory := Target{What: "resident memory, idle", Want: "≤ 20 MiB"}
	each := Target{What: "memory for an idle connection", Want: "≤ 8 KiB"}
	if p, ok := r.peer(Weir); ok && p.MemoryIdle > 0 {
		memory.Measured, memory.Met, memory.Got = true, p.MemoryIdle <= 20<<20, mebibytes(p.MemoryIdle)
	}
	if p, ok := r.peer(Weir); ok && p.Connections > 0 {
		each.Measured, each.Met, each.Got = true, p.ConnectionBytes <= 8<<10, kibibytes(p.ConnectionBytes)
	}
	return append(out, memory, each)
}

// cpuTarget compares medians of the ratio; the noise is beside them.
func (r Report) cpuTarget(what, subject, other string, bound float64, want string) Target {
	t := Target{What: what, Want: want}
	s, ok := r.Section(Get)
	a, ok1 := s.Line(subject)
	b, ok2 := s.Line(other)
	if !ok || !ok1 || !ok2 {
		return t
	}
	got := ratio(a, b)
	t.Measured, t.Met = true, got.Median <= bound
	t.Got = fmt.Sprintf("%.2f (%.2f..%.2f)", got.Median, got.Min, got.Max)
	return t
}

func (t Target) verdict() string {
	switch {
	case !t.Measured:
		return "not measured"
	case t.Met:
		return "met"
	}
	return "**missed**"
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
func kibibytes(n int64) string { return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10)) }
