// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"weir.dev/weir/sidecar/exchange"
)

// TestReaders: the readers of this run read what nobody can misread.
func TestReaders(t *testing.T) {
	const raw = "POST /a?b=c HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" +
		"HEAD /d HTTP/1.1\r\nHost: h\r\n\r\n" +
		"PUT /e HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" + next
	want := []request{{"POST", "/a?b=c", "hello"}, {"HEAD", "/d", ""}, {"PUT", "/e", "abcde"}, {"GET", "/next", ""}}
	for _, r := range readers(t) {
		t.Run(r.name, func(t *testing.T) {
			got, err := r.read([][]byte{[]byte(raw)}, len(want), slow)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.requests, want) || got.refused != 0 || got.answers != len(want) {
				t.Errorf("got %v, %d answers, refused with %d; want %v", got.requests, got.answers, got.refused, want)
			}
			got, err = r.read([][]byte{[]byte(raw[:len(raw)-len(next)-3] + "X")}, 2, slow)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.requests, want[:2]) {
				t.Errorf("of a body without end it got %v", got.requests)
			}
		})
	}
}

// TestForwarded runs the corpus. What the proxy forwards must be read by every
// reader as what the filters saw.
func TestForwarded(t *testing.T) {
	all := readers(t)
	table := &results{}
	var mu sync.Mutex
	slots := make(chan struct{}, 16)
	t.Run("cases", func(t *testing.T) {
		for _, c := range corpus(t, "*.yaml") {
			if len(c.Origin) > 0 {
				continue
			}
			t.Run(c.Category+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				p := runCase(t, c, all)
				if !*update {
					return
				}
				row := direct(t, c, p, all)
				if row.disagree() {
					t.Logf("refused by the proxy: %v", row.refused)
					for i, d := range row.direct {
						t.Logf("%s: refused with %d, read %v", all[i].name, d.refused, d.requests)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				table.rows = append(table.rows, row)
			})
		}
	})
	if *update && !t.Failed() {
		table.write(t, all)
	}
}

// runCase runs a case as it streams and with a filter that wants bodies, and
// returns what was seen streaming.
func runCase(t *testing.T, c *testCase, all []*reader) *proxied {
	t.Helper()
	buffered := through(t, c, true)
	streamed := through(t, c, false)
	// Both must forward the same bodies, and only one knows what they are.
	for i, s := range streamed.sent() {
		if b := buffered.sent(); i < len(b) && b[i].whole {
			s.Body, s.whole = b[i].Body, true
		}
	}
	reads := map[string]int{}
	for mode, p := range map[string]*proxied{"buffered": buffered, "streamed": streamed} {
		for _, r := range all {
			whole, err := r.readAll(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := agree(p.sent(), whole); err != nil {
				t.Errorf("%s, %s: %v", mode, r.name, err)
				for _, c := range p.forwarded {
					t.Logf("forwarded: %q", c.pieces)
				}
			}
			if r == all[0] {
				reads[mode] = len(whole.requests)
			}
		}
		if p.unlimited {
			t.Errorf("%s: a response says nothing of the limit", mode)
		}
		if len(p.rest) > 0 {
			t.Errorf("%s: the client got what is no response: %q", mode, p.rest)
		}
	}
	checkVerdict(t, c, streamed, reads["streamed"])
	checkVerdict(t, c, buffered, reads["buffered"])
	return streamed
}

// readAll reads what each connection to the application carried.
func (r *reader) readAll(p *proxied) (reading, error) {
	var out reading
	for _, c := range p.forwarded {
		one, err := r.read(c.pieces, c.whole, slow)
		if err != nil {
			return out, err
		}
		out.requests = append(out.requests, one.requests...)
		if out.refused == 0 {
			out.refused = one.refused
		}
	}
	return out, nil
}

// agree compares what a reader has read whole with what was meant. A reader may
// refuse a request, and then reads no more of its connection; what it reads must
// have been meant, in that order.
func agree(meant []*intent, got reading) error {
	at := 0
	for _, m := range meant {
		if at < len(got.requests) && same(m, got.requests[at]) {
			at++
			continue
		}
		if m.outcome == exchange.Replied && got.refused == 0 {
			return fmt.Errorf("the filters saw %v, it did not; it read %v", m.request, got.requests)
		}
	}
	if at < len(got.requests) {
		return fmt.Errorf("it read %v, which the filters did not see: they saw %v", got.requests[at], meant)
	}
	return nil
}

func same(m *intent, r request) bool {
	// Whether an empty query has its question mark is not kept by intents.
	return m.Method == r.Method && m.Target == strings.TrimSuffix(r.Target, "?") && (!m.whole || m.Body == r.Body)
}

// checkVerdict holds the proxy to what the case asks.
func checkVerdict(t *testing.T, c *testCase, p *proxied, whole int) {
	t.Helper()
	if c.Weir == either {
		return
	}
	want := c.requests()
	if whole != want {
		t.Errorf("%d requests reached the application whole, want %d; the client got %v", whole, want, p.statuses)
	}
	sent := len(p.sent())
	last := 0
	if len(p.statuses) > 0 {
		last = p.statuses[len(p.statuses)-1]
	}
	switch c.Weir {
	case refuse:
		if sent != want {
			t.Errorf("%d requests reached the application, want %d", sent, want)
		}
		if !slices.Contains(c.Status, last) {
			t.Errorf("the client got %v, want the last of %v", p.statuses, c.Status)
		}
	case cut:
		if last != 0 && last < 400 && len(p.statuses) > want {
			t.Errorf("the client got %v for a body that is broken", p.statuses)
		}
	case forward:
		if len(p.statuses) != want || last != 200 {
			t.Errorf("the client got %v, want %d times 200", p.statuses, want)
		}
	}
}

// direct gives the case's own bytes to each reader, without the proxy.
func direct(t *testing.T, c *testCase, p *proxied, all []*reader) row {
	t.Helper()
	out := row{c: c, refused: slices.ContainsFunc(p.statuses, func(s int) bool { return s >= 400 }) || c.Weir == cut}
	most := 0
	for _, reader := range all {
		got, err := reader.read([][]byte{c.raw()}, most, quiet)
		if err != nil {
			t.Error(err)
		}
		out.direct = append(out.direct, got)
		most = max(most, got.answers)
	}
	return out
}
