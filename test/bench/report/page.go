// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// table is a heading and rows, which terminals and pages both show.
type table struct {
	head []string
	rows [][]string
}

func (t table) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)))
	for _, r := range t.rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(r, " | "))
	}
}

func (t table) text(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(t.head, "\t"))
	for _, r := range t.rows {
		fmt.Fprintln(w, strings.ReplaceAll(strings.Join(r, "\t"), "**", ""))
	}
	_ = w.Flush()
}

// table of one scenario, with Weir's line as the measure of the others.
func (s Series) table() table {
	t := table{head: []string{"", "CPU µs/request", "× Weir", "requests/s per core", "requests/s", "p50", "p99", "core busy"}}
	weir, ok := s.Line(Weir)
	for _, l := range s.Lines {
		c := l.of(cpu)
		relative := "–"
		if ok {
			x := ratio(l, weir)
			relative = fmt.Sprintf("%.2f (%.2f..%.2f)", x.Median, x.Min, x.Max)
		}
		perCore := "–"
		if c.Median > 0 {
			perCore = thousands(1e6 / c.Median)
		}
		t.rows = append(t.rows, []string{
			l.Peer, fmt.Sprintf("%.1f (%.1f..%.1f)", c.Median, c.Min, c.Max), relative, perCore,
			thousands(l.of(rate).Median), micros(l.of(p50).Median), micros(l.of(p99).Median), fmt.Sprintf("%.0f %%", 100*l.of(busy).Median),
		})
	}
	return t
}

func (r Report) memoryTable() table {
	t := table{head: []string{"", "idle", "after the load", "for an idle connection"}}
	for _, p := range r.Peers {
		if p.MemoryIdle == 0 {
			continue
		}
		row := []string{p.Name, mebibytes(p.MemoryIdle), "–", "–"}
		if p.MemoryLoaded > 0 {
			row[2] = mebibytes(p.MemoryLoaded)
		}
		if p.Connections > 0 {
			row[3] = kibibytes(p.ConnectionBytes)
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func targetTable(targets []Target) table {
	t := table{head: []string{"target", "", "measured", ""}}
	for _, x := range targets {
		got := x.Got
		if got == "" {
			got = "–"
		}
		t.rows = append(t.rows, []string{x.What, x.Want, got, x.verdict()})
	}
	return t
}

// Text is the report for a terminal.
func (r Report) Text() string {
	var b strings.Builder
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n%s\n", s.Title)
		s.table().text(&b)
	}
	b.WriteString("\nMemory\n")
	r.memoryTable().text(&b)
	b.WriteString("\nTargets\n")
	targetTable(r.targets()).text(&b)
	for _, s := range r.LeftOut {
		fmt.Fprintf(&b, "\n%s\n", s)
	}
	return b.String()
}

// Markdown is the report as a page, beside http.svg and http.json.
func (r Report) Markdown() string {
	var b strings.Builder
	r.intro(&b, "HTTP: Weir beside Envoy, nginx and HAProxy", "README.md", "http.json")
	b.WriteString("| | version | tells clients of the limit by |\n|---|---|---|\n")
	for _, p := range r.Peers {
		fields := "–"
		if len(p.Fields) > 0 {
			fields = "`" + strings.Join(p.Fields, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", p.Name, p.Version, fields)
	}
	b.WriteString("\n![CPU time per request](http.svg)\n\n## Targets\n\n")
	targetTable(r.targets()).markdown(&b)
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		s.table().markdown(&b)
	}
	b.WriteString("\n## Memory\n\n")
	r.memoryTable().markdown(&b)
	doubts(&b, r.LeftOut)
	return b.String()
}

// intro is the beginning of a page, up to the table of who took part.
func (r Run) intro(b *strings.Builder, title, readme, rounds string) {
	fmt.Fprintf(b, "# %s\n\nWritten by `%s` on %s. How it is measured and how to read it: [README](%s). Every round: [%s](%[5]s).\n\n",
		title, r.Command, r.Date, readme, rounds)
	fmt.Fprintf(b, "%d cores, %s, Linux %s.\n\n", r.Machine.Cores, r.Machine.CPU, r.Machine.Kernel)
}

// doubts is the end of a page.
func doubts(b *strings.Builder, notes []string) {
	if len(notes) == 0 {
		return
	}
	b.WriteString("\n## What was not as it should be\n\n")
	for _, s := range notes {
		fmt.Fprintf(b, "- %s\n", s)
	}
}

// thousands writes a rate as 12,345.
func thousands(f float64) string {
	s := fmt.Sprintf("%.0f", f)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// micros writes microseconds, as milliseconds where they are many.
func micros(f float64) string {
	if f >= 1000 || f <= -1000 {
		return fmt.Sprintf("%.2f ms", f/1000)
	}
	return fmt.Sprintf("%.0f µs", f)
}
