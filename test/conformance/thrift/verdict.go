// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"
)

// verdict prints the table; it is an error where a cell differs, or fails directly.
func (t *table) verdict() error {
	forms := t.matrix.forms()
	head, rule := "| client → server |", "|---|"
	for _, f := range forms {
		head += " " + f.String() + " |"
		rule += "---|"
	}
	fmt.Fprintf(t.out, "\n%s\n%s\n", head, rule)
	equal, failed := 0, 0
	var notes []string
	for _, client := range t.all {
		for _, server := range t.all {
			row := fmt.Sprintf("| %s → %s |", client.name, server.name)
			for _, f := range forms {
				k := key{client.name, server.name, f}
				c, ok := t.cells[k]
				row += " " + mark(c, ok) + " |"
				if !ok {
					continue
				}
				if c.equal() {
					equal++
				}
				if !c.equal() || c.outcomes[0] != "" {
					failed++
					notes = append(notes, note(k, c))
				}
			}
			fmt.Fprintln(t.out, row)
		}
	}
	fmt.Fprintf(t.out, "\n✓ passes, directly and through Weir; = fails directly, and through Weir in the same way; ≠ differs; – one of the two does not have it.\n")
	for _, n := range notes {
		fmt.Fprintln(t.out, n)
	}
	fmt.Fprintf(t.out, "%d of %d cells are equal; %d fail directly or differ.\n", equal, len(t.cells), failed)
	return t.judge(equal)
}

func (t *table) judge(equal int) error {
	errs := t.bad
	if equal != len(t.cells) {
		errs = append(errs, fmt.Errorf("%d cells are not the same through Weir as directly", len(t.cells)-equal))
	}
	// Where nothing passes directly, nothing has been compared.
	passed := 0
	for _, c := range t.cells {
		if c.outcomes[0] == "" {
			passed++
		}
	}
	if 2*passed < len(t.cells) || passed == 0 {
		errs = append(errs, fmt.Errorf("only %d of %d cells pass directly: the peers are at fault", passed, len(t.cells)))
	}
	return errors.Join(errs...)
}

func mark(c cell, ok bool) string {
	switch {
	case !ok:
		return "–"
	case !c.equal():
		return "≠"
	case c.outcomes[0] != "":
		return "="
	}
	return "✓"
}

// note says what came of a cell, each way.
func note(k key, c cell) string {
	var parts []string
	for i, o := range c.outcomes {
		if o == "" {
			o = "passes"
		}
		parts = append(parts, ways[i]+": "+o)
		if c.equal() {
			parts[0] = "every way: " + o
			break
		}
	}
	return fmt.Sprintf("- %s → %s, %s: %s", k.client, k.server, k.form, strings.Join(parts, "; "))
}
