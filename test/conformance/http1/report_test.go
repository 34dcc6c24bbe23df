// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/conformance.md; needs every reader")

const (
	page       = "docs/conformance.md"
	tableBegin = "<!-- http1: go test ./test/conformance/http1 -update -->\n"
	tableEnd   = "<!-- http1: end -->\n"
)

// results are what the table is made of.
type results struct {
	rows []row
}

// row is a case in the table.
type row struct {
	c *testCase
	// refused: the proxy forwarded less than the client meant.
	refused bool
	// direct is what each reader made of the case's own bytes.
	direct []reading
}

// disagree reports whether two readers read the case's own bytes as different
// requests. One that refused may have read fewer.
func (r *row) disagree() bool {
	for _, x := range r.direct {
		for _, y := range r.direct {
			n := min(len(x.requests), len(y.requests))
			if !slices.EqualFunc(x.requests[:n], y.requests[:n], sameRequest) || n < len(y.requests) && x.refused == 0 {
				return true
			}
		}
	}
	return false
}

// sameRequest takes an absolute target for its path, as some servers do.
func sameRequest(x, y request) bool {
	path := func(target string) string {
		if _, rest, ok := strings.Cut(target, "://"); ok {
			_, path, _ := strings.Cut(rest, "/")
			return "/" + path
		}
		return target
	}
	return x.Method == y.Method && path(x.Target) == path(y.Target) && x.Body == y.Body
}

// table renders the rows by category.
func (r *results) table(readers []*reader) string {
	var b strings.Builder
	b.WriteString("| | cases | Weir refuses |")
	for _, reader := range readers {
		fmt.Fprintf(&b, " %s |", title(reader.name))
	}
	b.WriteString(" they disagree | of those Weir forwards |\n|" + strings.Repeat("---|", len(readers)+5) + "\n")
	slices.SortFunc(r.rows, func(x, y row) int { return strings.Compare(x.c.Category+"/"+x.c.Name, y.c.Category+"/"+y.c.Name) })
	sum := &counts{name: "**all**", refused: make([]int, len(readers))}
	var lines []*counts
	for i := range r.rows {
		row := &r.rows[i]
		if len(lines) == 0 || lines[len(lines)-1].name != row.c.Category {
			lines = append(lines, &counts{name: row.c.Category, refused: make([]int, len(readers))})
		}
		lines[len(lines)-1].add(row)
		sum.add(row)
	}
	for _, l := range append(lines, sum) {
		l.write(&b)
	}
	return b.String()
}

// counts is a line of the table.
type counts struct {
	name                             string
	cases, weir, disagree, forwarded int
	refused                          []int
}

func (c *counts) add(r *row) {
	c.cases++
	if r.refused {
		c.weir++
	}
	for i, d := range r.direct {
		if d.refused != 0 {
			c.refused[i]++
		}
	}
	if r.disagree() {
		c.disagree++
		if !r.refused {
			c.forwarded++
		}
	}
}

func (c *counts) write(b *strings.Builder) {
	fmt.Fprintf(b, "| %s | %d | %d |", c.name, c.cases, c.weir)
	for _, n := range c.refused {
		fmt.Fprintf(b, " %d |", n)
	}
	fmt.Fprintf(b, " %d | %d |\n", c.disagree, c.forwarded)
}

// title is a reader's name with its version.
func title(name string) string {
	spelt := map[string]string{"haproxy": "HAProxy", "node": "Node"}
	version := strings.TrimPrefix(runtime.Version(), "go")
	if name != "net/http" {
		flag := map[string]string{"nginx": "-v", "haproxy": "-v", "node": "--version"}[name]
		for _, f := range []string{name, "/usr/sbin/" + name} {
			if out, err := exec.Command(f, flag).CombinedOutput(); err == nil {
				version = regexp.MustCompile(`\d+\.\d+\.\d+`).FindString(string(out))
				break
			}
		}
	}
	if s := spelt[name]; s != "" {
		name = s
	}
	return name + " " + version
}

// write puts the table into the page.
func (r *results) write(t *testing.T, readers []*reader) {
	t.Helper()
	if len(readers) < 4 {
		t.Fatalf("the table needs nginx, haproxy and node, and %d readers are here", len(readers))
	}
	file := filepath.Join("..", "..", "..", page)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(b), tableBegin)
	_, after, closed := strings.Cut(rest, tableEnd)
	if !found || !closed {
		t.Fatalf("%s has no place for the table", page)
	}
	text := before + tableBegin + "\n" + r.table(readers) + "\n" + tableEnd + after
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPage: the page counts the cases that there are.
func TestPage(t *testing.T) {
	if *update {
		t.Skip("the page is being written")
	}
	b, err := os.ReadFile(filepath.Join("..", "..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), tableBegin)
	table, _, _ := strings.Cut(rest, tableEnd)
	want := map[string]int{}
	for _, c := range corpus(t, "*.yaml") {
		if len(c.Origin) == 0 {
			want[c.Category]++
		}
	}
	for category, n := range want {
		if !strings.Contains(table, fmt.Sprintf("\n| %s | %d |", category, n)) {
			t.Errorf("%s does not say that %s has %d cases: run hack/conformance/http1.sh -update", page, category, n)
		}
	}
	if n := len(corpus(t, "responses.yaml")); !strings.Contains(string(b), fmt.Sprintf("%d answers of applications", n)) {
		t.Errorf("%s does not say that there are %d answers of applications", page, n)
	}
}
