// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// verdict is what the proxy does with a case.
type verdict string

const (
	// refuse: no byte of the request reaches the application.
	refuse verdict = "refuse"
	// cut: the head has gone to the application before the body turned out to
	// be broken, and the application never sees the end of it.
	cut verdict = "cut"
	// forward: every request goes to the application.
	forward verdict = "forward"
	// either: what is forwarded must be read alike, nothing else is asked.
	either verdict = "either"
)

// testCase is one entry of corpus/*.yaml.
type testCase struct {
	Name string `yaml:"-"`
	// Category is the file's name.
	Category string `yaml:"-"`
	// From is the rule or the report that the case is made from.
	From string `yaml:"from"`
	// Send is what the client writes, see unescape.
	Send string  `yaml:"send"`
	Weir verdict `yaml:"weir"`
	// Requests is how many requests reach the application whole. By default 0,
	// for forward 1 and one more for each \N in Send.
	Requests *int `yaml:"requests"`
	// Status are the statuses of a refusal, 0 for an end without an answer: 400 by
	// default.
	Status []int `yaml:"status"`
	// Origin are the answers of the application to the first requests, see
	// unescape; \Z ends the connection. Then it answers 200 with "ok".
	Origin []string `yaml:"origin"`
	// Client is what the client reads for the first request: a status, and the
	// body; or "closed". Only with Origin.
	Client []string `yaml:"client"`

	// pieces are what is written at once.
	pieces [][]byte
}

// raw is all of Send.
func (c *testCase) raw() []byte { return bytes.Join(c.pieces, nil) }

// requests is how many must arrive whole.
func (c *testCase) requests() int {
	switch {
	case c.Requests != nil:
		return *c.Requests
	case c.Weir == forward:
		return 1 + strings.Count(c.Send, `\N`)
	default:
		return 0
	}
}

// next is what \N stands for: the request that must stay one of its own.
const next = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n"

// unescape reads Go's escapes, \N for the next request, \| for a pause between
// two writes, and \*{n:text} for n times a text.
func unescape(s string) ([][]byte, error) {
	var out [][]byte
	for piece := range strings.SplitSeq(s, `\|`) {
		b, err := unescapePiece(piece)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

func unescapePiece(s string) ([]byte, error) {
	before, rest, ok := strings.Cut(s, `\*{`)
	if ok {
		count, rest, _ := strings.Cut(rest, ":")
		text, rest, closed := strings.Cut(rest, "}")
		n, err := strconv.Atoi(count)
		if err != nil || !closed {
			return nil, fmt.Errorf(`\*{ needs a number, a colon, a text and }: %q`, s)
		}
		tail, err := unescapePiece(rest)
		if err != nil {
			return nil, err
		}
		head, err := unescapePiece(before + strings.Repeat(text, n))
		return append(head, tail...), err
	}
	s = strings.ReplaceAll(s, `\Z`, `\x1a`)
	s = strings.ReplaceAll(s, `\N`, strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(next))
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", s, err)
	}
	return []byte(text), nil
}

// corpus reads the cases of the files that match pattern, in the order of their
// names.
func corpus(t testing.TB, pattern string) []*testCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("corpus", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus %s: %v", pattern, err)
	}
	var out []*testCase
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		cases := map[string]*testCase{}
		d := yaml.NewDecoder(bytes.NewReader(b))
		d.KnownFields(true)
		if err := d.Decode(&cases); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		for name, c := range cases {
			c.Name, c.Category = name, strings.TrimSuffix(filepath.Base(f), ".yaml")
			if c.pieces, err = unescape(c.Send); err != nil {
				t.Fatalf("%s: %s: %v", f, name, err)
			}
			if len(c.Status) == 0 {
				c.Status = []int{400}
			}
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *testCase) int {
		return strings.Compare(a.Category+"/"+a.Name, b.Category+"/"+b.Name)
	})
	return out
}

// TestCorpus: every case says what it is made from and what is asked of it, and
// no two are the same.
func TestCorpus(t *testing.T) {
	cases := corpus(t, "*.yaml")
	if len(cases) < 180 {
		t.Errorf("the corpus has %d cases, and lost some", len(cases))
	}
	sent := map[string]string{}
	for _, c := range cases {
		name := c.Category + "/" + c.Name
		if c.From == "" || !slices.Contains([]verdict{refuse, cut, forward, either}, c.Weir) {
			t.Errorf("%s needs from and weir", name)
		}
		if len(c.Origin) > 0 != (len(c.Client) > 0) {
			t.Errorf("%s needs both origin and client, or neither", name)
		}
		key := c.Send + strings.Join(c.Origin, "\x00")
		if other, ok := sent[key]; ok {
			t.Errorf("%s is %s again", name, other)
		}
		sent[key] = name
	}
}
