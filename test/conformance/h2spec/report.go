// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"slices"
)

// report is h2spec's JUnit report: verdicts by case.
type report map[string]verdict

type verdict string

const (
	passed  verdict = "passed"
	failed  verdict = "failed"
	skipped verdict = "skipped"
)

type document struct {
	Suites []struct {
		Package string `xml:"package,attr"`
		Cases   []struct {
			Name    string    `xml:"classname,attr"`
			Package string    `xml:"package,attr"`
			Failure *struct{} `xml:"failure"`
			Error   *struct{} `xml:"error"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

func readReport(path string) (report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	return parseReport(b)
}

func parseReport(b []byte) (report, error) {
	var d document
	if err := xml.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("parse report: %w", err)
	}
	r := report{}
	for _, s := range d.Suites {
		for _, c := range s.Cases {
			v := passed
			switch {
			case c.Failure != nil || c.Error != nil:
				v = failed
			case c.Skipped != nil:
				v = skipped
			}
			r[s.Package+": "+c.Name] = v
		}
	}
	if len(r) == 0 {
		return nil, fmt.Errorf("the report has no cases")
	}
	return r, nil
}

func (r report) count(v verdict) (n int) {
	for _, got := range r {
		if got == v {
			n++
		}
	}
	return n
}

// compare prints both and fails when weir fails what bare passes.
func compare(out io.Writer, bare, weir report) error {
	for _, side := range []struct {
		name string
		r    report
	}{{"net/http", bare}, {"Weir", weir}} {
		_, _ = fmt.Fprintf(out, "%-8s %d cases: %d passed, %d failed, %d skipped\n", side.name, len(side.r),
			side.r.count(passed), side.r.count(failed), side.r.count(skipped))
	}
	var worse, both []string
	for name, v := range bare {
		got, ok := weir[name]
		switch {
		case v == passed && got != passed:
			if !ok {
				got = "not run"
			}
			worse = append(worse, name+" ("+string(got)+")")
		case v == failed && got == failed:
			both = append(both, name)
		}
	}
	slices.Sort(worse)
	slices.Sort(both)
	for _, name := range both {
		_, _ = fmt.Fprintln(out, "failed by both:", name)
	}
	for _, name := range worse {
		_, _ = fmt.Fprintln(out, "passed by net/http alone:", name)
	}
	if len(worse) > 0 {
		return fmt.Errorf("weir fails %d cases that net/http alone passes", len(worse))
	}
	return nil
}
