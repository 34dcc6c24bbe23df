// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); write it with -update:\n%s", name, diff)
	}
}

func rounds(cpus ...float64) []Round {
	var out []Round
	for i, c := range cpus {
		out = append(out, Round{CPU: c, PerSecond: 1234567 / c, Busy: 0.5, P50: 400 + float64(i), P99: 1500})
	}
	return out
}

func run(command string, peers ...Peer) Run {
	return Run{
		Date: "2026-01-02", Command: command, Rounds: 3, Seconds: 6,
		Machine: Machine{Cores: 2, CPU: "A Processor", Kernel: "6.1"}, Peers: peers,
	}
}

func sample() Report {
	return Report{
		Run: run("make bench-http",
			Peer{Name: Weir, Version: "v1", Fields: []string{"Ratelimit", "Ratelimit-Policy"}, MemoryIdle: 15 << 20, MemoryLoaded: 20 << 20, ConnectionBytes: 9000, Connections: 5000},
			Peer{Name: HAProxy, Version: "2.6.12", MemoryIdle: 10 << 20},
			Peer{Name: Envoy, Version: "1.40.0", Fields: []string{"X-Ratelimit-Limit"}},
		),
		Sections: []Series{
			{ID: Get, Title: "GET & more", Lines: []Line{
				{Peer: Weir, Rounds: rounds(11, 12, 10)},
				{Peer: HAProxy, Rounds: rounds(10, 10, 10)},
				{Peer: Envoy, Rounds: rounds(36, 35, 37)},
			}},
			{ID: "half", Title: "Open loop", OpenLoop: true, Lines: []Line{{Peer: HAProxy, Rounds: rounds(20)}}},
		},
		LeftOut: []string{"nginx is not installed and was left out."},
	}
}

func TestGolden(t *testing.T) {
	r := sample()
	golden(t, "report.txt", r.Text())
	golden(t, "report.md", r.Markdown())
	golden(t, "report.svg", r.SVG())
}

// Nothing measured is a report too: a run may be of one scenario only.
func TestEmptyReport(t *testing.T) {
	var r Report
	if s := r.Text(); !strings.Contains(s, "not measured") {
		t.Errorf("targets of an empty report: %s", s)
	}
	wellFormed(t, r.SVG())
}

func TestSVGIsXML(t *testing.T) { wellFormed(t, sample().SVG()) }

func wellFormed(t *testing.T, s string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("no XML: %v\n%s", err, s)
		}
	}
}

func TestSpread(t *testing.T) {
	for name, test := range map[string]struct {
		in   []float64
		want Spread
	}{
		"none": {nil, Spread{}},
		"one":  {[]float64{3}, Spread{3, 3, 3}},
		"odd":  {[]float64{5, 1, 3}, Spread{3, 1, 5}},
		"even": {[]float64{4, 1, 2, 100}, Spread{3, 1, 100}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := spread(test.in); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// The ratio is of pairs: a round in which the machine was slow for both is no noise.
func TestRatioIsOfPairs(t *testing.T) {
	a := Line{Rounds: rounds(10, 100, 20)}
	b := Line{Rounds: rounds(5, 50, 10)}
	if got := ratio(a, b); got != (Spread{2, 2, 2}) {
		t.Errorf("got %+v", got)
	}
	if got := ratio(Line{Rounds: rounds(1, 2)}, Line{Rounds: []Round{{}, {CPU: 4}}}); got != (Spread{0.5, 0.5, 0.5}) {
		t.Errorf("a round without CPU time: %+v", got)
	}
}

func TestTargets(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Report)
		want   string // met, missed or not measured, for each target
	}{
		"as it is":             {func(*Report) {}, "met met - met missed"},
		"as slow as Envoy":     {func(r *Report) { r.Sections[0].Lines[2].Rounds = rounds(11, 12, 10) }, "missed met - met missed"},
		"slower than HAProxy":  {func(r *Report) { r.Sections[0].Lines[1].Rounds = rounds(8, 8, 8) }, "met missed - met missed"},
		"all on, and measured": {func(r *Report) { r.Sections[0].Lines[1].Peer = WeirAll }, "met - - met missed"},
		"large":                {func(r *Report) { r.Peers[0].MemoryIdle = 21 << 20 }, "met met - missed missed"},
		"small connections":    {func(r *Report) { r.Peers[0].ConnectionBytes = 8192 }, "met met - met met"},
	} {
		t.Run(name, func(t *testing.T) {
			r := sample()
			test.change(&r)
			var got []string
			for _, x := range r.targets() {
				switch {
				case !x.Measured:
					got = append(got, "-")
				case x.Met:
					got = append(got, "met")
				default:
					got = append(got, "missed")
				}
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("targets (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNumbers(t *testing.T) {
	for in, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(in); got != want {
			t.Errorf("thousands(%v) is %q, want %q", in, got, want)
		}
	}
	for in, want := range map[float64]string{12.4: "12 µs", 999: "999 µs", 1500: "1.50 ms"} {
		if got := micros(in); got != want {
			t.Errorf("micros(%v) is %q, want %q", in, got, want)
		}
	}
}
