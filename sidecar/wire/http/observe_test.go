// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"
)

// watcher is an Observer that keeps what it is told.
type watcher struct {
	trace bool
	// parent is the client's span.
	parent [8]byte
	seen   chan string
	done   chan exchange.Record
}

func newWatcher() *watcher {
	return &watcher{seen: make(chan string, 10), done: make(chan exchange.Record, 10)}
}

func (w *watcher) Start(x *exchange.Exchange) {
	host, _ := x.Request.Header("x-listed")
	w.seen <- strings.Join([]string{x.Protocol, string(x.Method), string(x.Path), x.Client.String(), string(host)}, " ")
	if w.trace {
		x.Trace.TraceID, x.Trace.SpanID, x.Trace.ParentID = [16]byte{1}, [8]byte{2}, w.parent
		x.Trace.SetParent(1)
	}
}

func (w *watcher) Done(_ *exchange.Exchange, r *exchange.Record) { w.done <- *r }

func TestObserver(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	say := func(s string) func(*net.TCPConn, *bufio.Reader) {
		return func(c *net.TCPConn, br *bufio.Reader) {
			for readRawHead(br) != "" {
				_, _ = io.WriteString(c, s)
				if s != ok {
					return
				}
			}
		}
	}
	for name, test := range map[string]struct {
		request  string
		app      func(*net.TCPConn, *bufio.Reader)
		filter   *testFilter
		seen     string // empty: nothing
		want     exchange.Record
		upstream bool
	}{
		"replied": {
			request: "POST /a/ HTTP/1.1\r\nHost: h\r\nConnection: x-listed\r\nX-Listed: a\r\nContent-Length: 5\r\n\r\nhello", app: say(ok),
			seen: "HTTP/1.1 POST /a 127.0.0.1 ", upstream: true,
			want: exchange.Record{Status: 200, Outcome: exchange.Replied, RequestBytes: 5, ResponseBytes: 2},
		},
		"chunked, 1.0 answers": {
			request: "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
			app:     say("HTTP/1.0 200 OK\r\n\r\nuntil the end"),
			seen:    "HTTP/1.1 POST /a 127.0.0.1 ", upstream: true,
			want: exchange.Record{Status: 200, Outcome: exchange.Replied, RequestBytes: 3, ResponseBytes: 13},
		},
		"1.0": {
			request: "GET / HTTP/1.0\r\n\r\n", app: say(ok), seen: "HTTP/1.0 GET / 127.0.0.1 ", upstream: true,
			want: exchange.Record{Status: 200, Outcome: exchange.Replied, ResponseBytes: 2},
		},
		"denied": {
			request: "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", app: say(ok), filter: &testFilter{head: deny}, seen: "HTTP/1.1 HEAD / 127.0.0.1 ",
			want: exchange.Record{Status: 403},
		},
		"refused before filters": {
			request: "HEAD /%2e HTTP/1.1\r\nHost: h\r\n\r\n", app: say(ok), seen: "HTTP/1.1 HEAD / 127.0.0.1 ",
			want: exchange.Record{Status: 400},
		},
		"closed without a word": {
			request: "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", app: say(""), seen: "HTTP/1.1 HEAD / 127.0.0.1 ",
			want: exchange.Record{Status: 502, Outcome: exchange.SentNoReply, Aborted: "closed"},
		},
		"broke off": {
			request: "GET / HTTP/1.1\r\nHost: h\r\n\r\n", app: say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), seen: "HTTP/1.1 GET / 127.0.0.1 ", upstream: true,
			want: exchange.Record{Status: 200, Outcome: exchange.Aborted, ResponseBytes: 2, Aborted: "aborted"},
		},
		"no request": {request: "GET / HTTP/1.1\r\nHost : h\r\n\r\n", app: say(ok)},
	} {
		t.Run(name, func(t *testing.T) {
			if test.filter == nil {
				test.filter = &testFilter{}
			}
			w := newWatcher()
			p := chainPorts(test.filter)
			p.port.Observer = w
			_, front := proxy(t, Config{Ports: p}, rawApp(t, test.app))
			c, _ := dialRaw(t, front)
			_, _ = io.WriteString(c, test.request)
			_ = c.CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			if test.seen == "" {
				if len(w.seen) > 0 {
					t.Errorf("saw %s", <-w.seen)
				}
				return
			}
			if got := <-w.seen; got != test.seen {
				t.Errorf("saw %q, want %q", got, test.seen)
			}
			got := <-w.done
			if got.Duration <= 0 || (got.Upstream > 0) != test.upstream || got.Upstream > got.Duration {
				t.Errorf("took %v, the application %v", got.Duration, got.Upstream)
			}
			got.Duration, got.Upstream = 0, 0
			test.want.GRPCStatus = -1
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTraceParent: Weir's takes the place of the client's, however many there are;
// tracestate stays where the trace goes on, and Connection takes neither away.
func TestTraceParent(t *testing.T) {
	const ours = "traceparent: 00-01000000000000000000000000000000-0200000000000000-01\r\n"
	const theirs = "TraceParent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n"
	heads := make(chan string, 1)
	addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		for {
			head := readRawHead(br)
			if head == "" {
				return
			}
			heads <- head
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	for name, test := range map[string]struct {
		trace        bool
		parent       byte
		sent         string
		ours, theirs int
		state        bool
	}{
		"added":             {true, 0, "", 1, 0, false},
		"replaced":          {true, 7, theirs + "tracestate: a=b\r\n", 1, 0, true},
		"two, none taken":   {true, 0, theirs + theirs + "tracestate: a=b\r\n", 1, 0, false},
		"nothing is traced": {false, 0, theirs + "Connection: traceparent, tracestate\r\ntracestate: a=b\r\n", 0, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatcher()
			w.trace, w.parent[0] = test.trace, test.parent
			p := chainPorts()
			p.port.Observer = w
			_, front := proxy(t, Config{Ports: p}, addr)
			c, br := dialRaw(t, front)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n"+test.sent+"\r\n")
			readResponse(t, br, "GET")
			got := <-heads
			if strings.Count(got, ours) != test.ours || strings.Count(got, theirs) != test.theirs ||
				strings.Contains(got, "tracestate: a=b\r\n") != test.state {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestObserverOfPanic: who was told of a beginning is told of an end.
func TestObserverOfPanic(t *testing.T) {
	w := newWatcher()
	p := chainPorts(&testFilter{head: func(*exchange.Exchange) exchange.Verdict { panic("filter") }})
	p.port.Observer = w
	_, front := proxy(t, Config{Ports: p}, "127.0.0.1:1")
	c, _ := dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	select {
	case r := <-w.done:
		if r.Aborted != "panic" {
			t.Errorf("got %+v", r)
		}
	case <-time.After(10 * time.Second):
		t.Error("no end")
	}
}
