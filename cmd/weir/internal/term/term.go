// SPDX-License-Identifier: Apache-2.0

// Package term prints for people: tables, colours where the output is a
// terminal. What scripts read is printed as JSON or YAML by Encode. It decides nothing and reads nothing but whether a file is a terminal.
package term

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"
	"sigs.k8s.io/yaml"
)

// Printer writes to one place.
type Printer struct {
	w      io.Writer
	colour bool
}

// New returns a printer on w, with colours when w is a terminal and NO_COLOR is
// not set.
func New(w io.Writer) *Printer {
	return &Printer{w: w, colour: isTerminal(w) && os.Getenv("NO_COLOR") == ""}
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Interactive reports whether r is a terminal somebody can answer on.
func Interactive(r io.Reader) bool { return isTerminal(r) }

// Printf prints as fmt.Printf does.
func (p *Printer) Printf(format string, args ...any) { fmt.Fprintf(p.w, format, args...) }

// Heading prints a line that begins a part.
func (p *Printer) Heading(s string) { p.Printf("\n%s\n", p.paint("1", s)) }

// Good, Bad and Faint colour a word on a terminal.
func (p *Printer) Good(s string) string { return p.paint("32", s) }

// Bad colours a word as an error.
func (p *Printer) Bad(s string) string { return p.paint("31", s) }

// Warn colours a word as a warning.
func (p *Printer) Warn(s string) string { return p.paint("33", s) }

// Faint makes a word less visible.
func (p *Printer) Faint(s string) string { return p.paint("2", s) }

func (p *Printer) paint(code, s string) string {
	if !p.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Table prints rows under a header in aligned columns.
func (p *Printer) Table(header []string, rows [][]string) {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	_ = t.Flush()
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(p.w, strings.TrimRight(line, " \n"))
	}
}

// CheckFormat refuses what is neither "table" nor known to Encode, before any
// work is done for it.
func CheckFormat(format string) error {
	switch format {
	case "table", "json", "yaml":
		return nil
	}
	return fmt.Errorf("--output %q is not known; use table, json or yaml", format)
}

// Encode prints v as "json" or "yaml".
func Encode(w io.Writer, format string, v any) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "yaml":
		b, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	}
	return CheckFormat(format)
}
