// SPDX-License-Identifier: Apache-2.0

package report

import "slices"

// Run is what reports of all benchmarks begin with.
type Run struct {
	// Date is a day, as 2006-01-02.
	Date    string  `json:"date"`
	Machine Machine `json:"machine"`
	Command string  `json:"command"`
	Rounds  int     `json:"rounds"`
	Seconds int     `json:"seconds"`
	Peers   []Peer  `json:"peers"`
}

// Report is a whole run of bench-http, as it is written in JSON.
type Report struct {
	Run
	Sections []Series `json:"sections"`
	// LeftOut are sentences.
	LeftOut []string `json:"leftOut,omitempty"`
}

// Machine is described without names.
type Machine struct {
	Cores  int    `json:"cores"`
	CPU    string `json:"cpu"`
	Kernel string `json:"kernel"`
}

// Peer is a proxy, with its memory in bytes: after its start, after all load, and
// what one idle connection adds.
type Peer struct {
	Name            string   `json:"name"`
	Version         string   `json:"version"`
	Fields          []string `json:"fields"`
	MemoryIdle      int64    `json:"memoryIdle,omitempty"`
	MemoryLoaded    int64    `json:"memoryLoaded,omitempty"`
	ConnectionBytes int64    `json:"connectionBytes,omitempty"`
	Connections     int      `json:"connections,omitempty"`
}

// Series is one scenario over all peers.
type Series struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// OpenLoop says that the rate was set and that latency counts from when a
	// request was due.
	OpenLoop bool   `json:"openLoop,omitempty"`
	Lines    []Line `json:"lines"`
}

// Line is what one peer did, round by round.
type Line struct {
	Peer   string  `json:"peer"`
	Rounds []Round `json:"rounds"`
}

// Round is one measurement; times are microseconds.
type Round struct {
	// CPU is the CPU time of the proxy per request.
	CPU       float64 `json:"cpuMicros"`
	PerSecond float64 `json:"requestsPerSecond"`
	// Busy is the share of its core that the proxy used.
	Busy float64 `json:"busy"`
	P50  float64 `json:"p50Micros"`
	P99  float64 `json:"p99Micros"`
}

// Spread is a median with its noise.
type Spread struct{ Median, Min, Max float64 }

// spread of some values; that of none is zero.
func spread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	v := slices.Sorted(slices.Values(values))
	return Spread{Median: (v[(len(v)-1)/2] + v[len(v)/2]) / 2, Min: v[0], Max: v[len(v)-1]}
}

// of is the spread of one measure of a line.
func (l Line) of(measure func(Round) float64) Spread {
	var values []float64
	for _, r := range l.Rounds {
		values = append(values, measure(r))
	}
	return spread(values)
}

// CPU, rate, latency: the measures.
func cpu(r Round) float64  { return r.CPU }
func rate(r Round) float64 { return r.PerSecond }
func busy(r Round) float64 { return r.Busy }
func p50(r Round) float64  { return r.P50 }
func p99(r Round) float64  { return r.P99 }

// Rate is the median of the requests per second.
func (l Line) Rate() float64 { return l.of(rate).Median }

// ratio is CPU of a over CPU of b, round by round: both ran in each round, so what
// else the machine did then weighs on both.
func ratio(a, b Line) Spread {
	var values []float64
	for i := range min(len(a.Rounds), len(b.Rounds)) {
		if b.Rounds[i].CPU > 0 {
			values = append(values, a.Rounds[i].CPU/b.Rounds[i].CPU)
		}
	}
	return spread(values)
}

// Line finds a peer's line.
func (s Series) Line(peer string) (Line, bool) {
	i := slices.IndexFunc(s.Lines, func(l Line) bool { return l.Peer == peer })
	if i < 0 {
		return Line{}, false
	}
	return s.Lines[i], true
}

// Section finds a scenario.
func (r Report) Section(id string) (Series, bool) {
	i := slices.IndexFunc(r.Sections, func(s Series) bool { return s.ID == id })
	if i < 0 {
		return Series{}, false
	}
	return r.Sections[i], true
}

func (r Run) peer(name string) (Peer, bool) {
	i := slices.IndexFunc(r.Peers, func(p Peer) bool { return p.Name == name })
	if i < 0 {
		return Peer{}, false
	}
	return r.Peers[i], true
}
