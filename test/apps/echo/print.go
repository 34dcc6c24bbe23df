// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
)

// printer writes results for programs (one JSON object a line), or for people:
// a table of status and chosen fields, or the whole answer as HTTP has it.
type printer struct {
	columns []string
	whole   bool
}

func (p printer) print(w io.Writer, all []result) error {
	switch {
	case p.whole:
		for _, r := range all {
			r.write(w)
		}
		return nil
	case p.columns != nil:
		return p.table(w, all)
	}
	e := json.NewEncoder(w)
	for _, r := range all {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func (p printer) table(w io.Writer, all []result) error {
	rows := [][]string{append([]string{"#", "Status"}, p.columns...)}
	for i, r := range all {
		row := []string{fmt.Sprint(i + 1), r.status()}
		for _, c := range p.columns {
			row = append(row, strings.Join(r.Header.Values(c), ", "))
		}
		rows = append(rows, row)
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += fmt.Sprintf("%-*s  ", widths[i], cell)
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

func (r result) status() string {
	if r.Status == 0 {
		return r.Error
	}
	return fmt.Sprintf("%d %s", r.Status, http.StatusText(r.Status))
}

func (r result) write(w io.Writer) {
	fmt.Fprintf(w, "HTTP/1.1 %s\n", r.status())
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, v := range r.Header[name] {
			fmt.Fprintf(w, "%s: %s\n", name, v)
		}
	}
	fmt.Fprintf(w, "\n%s\n", r.Body)
}
