// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"bytes"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"
)

// fieldsOf makes fields of name, value, name, value.
func fieldsOf(pairs ...string) (f []exchange.Field) {
	for i := 0; i < len(pairs); i += 2 {
		f = append(f, exchange.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return f
}

// replays answers everything with r.
func replays(r *exchange.Reply) *testFilter {
	return &testFilter{ended: make(chan struct{}, 10), head: func(x *exchange.Exchange) exchange.Verdict {
		x.Add("Idempotent-Replayed", []byte("true"))
		x.Replayed = true
		x.Answer(r)
		return exchange.Respond
	}}
}

// TestAnswer: recorded responses as clients get them, the connection going on.
func TestAnswer(t *testing.T) {
	full := &exchange.Reply{Status: 201, Body: []byte("hello"), Header: fieldsOf("Location", "/1", "x-odd", "a", "X-Odd", "b",
		"Connection", "close", "Keep-Alive", "x", "Transfer-Encoding", "chunked", "Content-Length", "7", "Upgrade", "x", "Proxy-Connection", "x")}
	const fields = "Location: /1\r\nx-odd: a\r\nX-Odd: b\r\n"
	for name, test := range map[string]struct {
		reply         *exchange.Reply
		request, want string
		closes        bool
		bytes         int64
	}{
		"GET":  {full, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 201 Created\r\n" + fields + "Content-Length: 5\r\nIdempotent-Replayed: true\r\n\r\nhello", false, 5},
		"POST": {full, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 201 Created\r\n" + fields + "Content-Length: 5\r\nIdempotent-Replayed: true\r\n\r\nhello", false, 5},
		"POST, chunks": {full, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
			"HTTP/1.1 201 Created\r\n" + fields + "Content-Length: 5\r\nIdempotent-Replayed: true\r\n\r\nhello", false, 5},
		"HEAD": {full, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 201 Created\r\n" + fields + "Content-Length: 7\r\nIdempotent-Replayed: true\r\n\r\n", false, 0},
		"client closes": {full, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 201 Created\r\n" + fields + "Content-Length: 5\r\nIdempotent-Replayed: true\r\nConnection: close\r\n\r\nhello", true, 5},
		"HTTP/1.0": {full, "GET / HTTP/1.0\r\n\r\n",
			"HTTP/1.1 201 Created\r\n" + fields + "Content-Length: 5\r\nIdempotent-Replayed: true\r\nConnection: close\r\n\r\nhello", true, 5},
		"HTTP/1.0, keep-alive": {full, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
			"HTTP/1.1 201 Created\r\n" + fields + "Content-Length: 5\r\nIdempotent-Replayed: true\r\nConnection: keep-alive\r\n\r\nhello", false, 5},
		// Nobody asks for the body, and where the next request begins is not known.
		"Expect": {full, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
			"HTTP/1.1 201 Created\r\n" + fields + "Content-Length: 5\r\nIdempotent-Replayed: true\r\nConnection: close\r\n\r\nhello", true, 5},
		"204": {&exchange.Reply{Status: 204, Header: fieldsOf("A", "b", "Content-Length", "0")}, "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
			"HTTP/1.1 204 No Content\r\nA: b\r\nIdempotent-Replayed: true\r\n\r\n", false, 0},
		"304": {&exchange.Reply{Status: 304, Body: []byte("x")}, "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
			"HTTP/1.1 304 Not Modified\r\nIdempotent-Replayed: true\r\n\r\n", false, 0},
		"empty":          {&exchange.Reply{Status: 200}, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nIdempotent-Replayed: true\r\n\r\n", false, 0},
		"unknown status": {&exchange.Reply{Status: 299}, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 299 \r\nContent-Length: 0\r\nIdempotent-Replayed: true\r\n\r\n", false, 0},
		"trailers": {&exchange.Reply{Status: 200, Body: []byte("hello"), Trailer: fieldsOf("X-Sum", "1")}, "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nIdempotent-Replayed: true\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", false, 5},
		"trailers alone": {&exchange.Reply{Status: 200, Trailer: fieldsOf("X-Sum", "1")}, "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nIdempotent-Replayed: true\r\n\r\n0\r\nX-Sum: 1\r\n\r\n", false, 0},
		"trailers, HTTP/1.0": {&exchange.Reply{Status: 200, Body: []byte("hello"), Trailer: fieldsOf("X-Sum", "1")}, "GET / HTTP/1.0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nIdempotent-Replayed: true\r\nConnection: close\r\n\r\nhello", true, 5},
		"large": {&exchange.Reply{Status: 200, Body: bytes.Repeat([]byte("x"), 1<<20+1)}, "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\nIdempotent-Replayed: true\r\n\r\n" + strings.Repeat("x", 1<<20+1), false, 1<<20 + 1},
		"large, trailers": {&exchange.Reply{Status: 200, Body: bytes.Repeat([]byte("x"), 1<<20), Trailer: fieldsOf("X-Sum", "1")}, "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nIdempotent-Replayed: true\r\n\r\n100000\r\n" + strings.Repeat("x", 1<<20) + "\r\n0\r\nX-Sum: 1\r\n\r\n", false, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			f, w := replays(test.reply), newWatcher()
			p := chainPorts(f)
			p.port.Observer = w
			_, front := proxy(t, Config{Ports: p}, closedPort(t))
			c, br := dialRaw(t, front)
			for range 2 {
				_, _ = io.WriteString(c, test.request)
				got := make([]byte, len(test.want))
				n, err := io.ReadFull(br, got)
				if diff := cmp.Diff(test.want, string(got[:n])); diff != "" || err != nil {
					t.Fatalf("%v\n%s", err, diff)
				}
				r := <-w.done
				if r.Status != test.reply.Status || r.Outcome != exchange.NotSent || r.ResponseBytes != test.bytes || r.Aborted != "" {
					t.Errorf("observed %+v", r)
				}
				if test.closes {
					if b, _ := io.ReadAll(br); len(b) > 0 {
						t.Errorf("and then %q", b)
					}
					return
				}
			}
		})
	}
}

// TestAnswerToNobody: a client that goes inside a recorded response.
func TestAnswerToNobody(t *testing.T) {
	f, w := replays(&exchange.Reply{Status: 200, Body: bytes.Repeat([]byte("x"), 64<<20)}), newWatcher()
	p := chainPorts(f)
	p.port.Observer = w
	_, front := proxy(t, Config{Ports: p}, closedPort(t))
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	readRawHead(br)
	leave(c)
	if r := <-w.done; r.Aborted != abortedClientGone || r.ResponseBytes >= 64<<20 {
		t.Errorf("observed %+v", r)
	}
}

// TestUpstreamFields: what filters set takes the place of what clients say, in heads
// and trailers; what they hide stays here.
func TestUpstreamFields(t *testing.T) {
	f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
		x.SetUpstream("idempotency-key", []byte("k"))
		x.SetUpstream("weir-fence", []byte("1\r\nX-Bad: 1"))
		x.SetUpstream("weir-delivery", nil)
		return exchange.Continue
	}}
	hides := newRecorder()
	hides.responseHead = func(x *exchange.Exchange) { x.HideResponse("weir-outcome"); x.HideResponse("x-sum") }
	for name, record := range map[string]bool{"relayed": false, "recorded": true} {
		t.Run(name, func(t *testing.T) {
			heads := make(chan string, 2)
			hides.head = func(x *exchange.Exchange) exchange.Verdict { x.Record = record; return exchange.Continue }
			_, front := proxy(t, Config{Ports: chainPorts(f, hides)}, rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
				heads <- readRawHead(br)
				heads <- readRawHead(br)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nWeir-Outcome: committed\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nX-B: 2\r\n\r\n")
			}))
			c, br := dialRaw(t, front)
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nIdempotency-Key: a\r\nidempotency_key: b\r\nWEIR-Fence: 9\r\nweir-delivery: x\r\nX-Forwarded-For: 1\r\n"+
				"X-Forwarded-Proto: http\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nWeir-Delivery: y\r\nidempotency-key: z\r\nX-T: 1\r\n\r\n")
			want := "POST / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1, 127.0.0.1\r\nX-Forwarded-Proto: http\r\nTransfer-Encoding: chunked\r\n" +
				"idempotency-key: k\r\nweir-fence: 1  X-Bad: 1\r\n\r\n"
			if diff := cmp.Diff([]string{want, "0\r\nX-T: 1\r\n\r\n"}, []string{<-heads, <-heads}); diff != "" {
				t.Error(diff)
			}
			want = "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-B: 2\r\n\r\n"
			got := make([]byte, len(want))
			_, _ = io.ReadFull(br, got)
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Error(diff)
			}
			<-hides.ended
		})
	}
}

// TestOversize: a filter may let a body pass that is longer than it takes, whatever
// way it comes.
func TestOversize(t *testing.T) {
	long := strings.Repeat("0123456789", 20<<10)
	chunks := func(b, trailers string) string {
		var s strings.Builder
		for len(b) > 0 {
			n := min(len(b), 3000)
			s.Write(appendChunk(nil, []byte(b[:n])))
			b = b[n:]
		}
		return s.String() + "0\r\n" + trailers + "\r\n"
	}
	const post = "POST / HTTP/1.1\r\nHost: h\r\n"
	for name, test := range map[string]struct {
		request, body string
		verdict       exchange.Verdict
		status        int
		log           []string
		trailer       string
	}{
		"fits":            {post + "Content-Length: 5\r\n\r\n01234", "01234", exchange.Continue, 200, []string{"request 01234", "replied"}, ""},
		"fits, chunks":    {post + "Transfer-Encoding: chunked\r\n\r\n" + chunks("01234", ""), "01234", exchange.Continue, 200, []string{"request 01234", "replied"}, ""},
		"fixed":           {post + "Content-Length: 204800\r\n\r\n" + long, long, exchange.Continue, 200, []string{"oversize true", "replied"}, ""},
		"one more":        {post + "Transfer-Encoding: chunked\r\n\r\n" + chunks("012345", ""), "012345", exchange.Continue, 200, []string{"oversize true", "replied"}, ""},
		"chunks":          {post + "Transfer-Encoding: chunked\r\n\r\n" + chunks(long, ""), long, exchange.Continue, 200, []string{"oversize true", "replied"}, ""},
		"trailers":        {post + "Transfer-Encoding: chunked\r\n\r\n" + chunks(long, "X-T: 1\r\n"), long, exchange.Continue, 200, []string{"oversize true", "replied"}, "1"},
		"short, trailers": {post + "Transfer-Encoding: chunked\r\n\r\n" + chunks("012345", "X-T: 1\r\n"), "012345", exchange.Continue, 200, []string{"oversize true", "replied"}, "1"},
		"Expect":          {post + "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n" + chunks(long, ""), long, exchange.Continue, 200, []string{"oversize true", "replied"}, ""},
		"refused":         {post + "Content-Length: 204800\r\n\r\n" + long, "", exchange.Respond, 422, []string{"oversize true", "not_sent"}, ""},
		"refused, chunks": {post + "Transfer-Encoding: chunked\r\n\r\n" + chunks("0123456", ""), "", exchange.Respond, 422, []string{"oversize true", "not_sent"}, ""},
		"the port's":      {post + "Transfer-Encoding: chunked\r\n\r\n" + chunks(long+long, ""), "", exchange.Continue, 413, []string{"oversize true", "sent_no_reply"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
				if b, err := io.ReadAll(r.Body); err == nil && string(b) != test.body {
					t.Errorf("the application got %d bytes", len(b))
				}
				if got := r.Trailer.Get("X-T"); got != test.trailer || r.Header.Get("Expect") != "" && test.body == long {
					t.Errorf("trailer %q, expect %q", got, r.Header.Get("Expect"))
				}
			})
			f := newRecorder()
			f.maxBody = 5
			f.head = func(x *exchange.Exchange) exchange.Verdict { x.Record = false; return exchange.NeedBody }
			f.oversize = func(x *exchange.Exchange) exchange.Verdict {
				x.Deny(exchange.Denial{Status: 422, Type: "urn:x"})
				return test.verdict
			}
			f.responseHead = func(*exchange.Exchange) { f.log = f.log[:len(f.log)-1] }
			p := chainPorts(f)
			p.port.MaxBody = 300 << 10
			_, front := proxy(t, Config{Ports: p}, addr)
			c, br := dialRaw(t, front)
			go func() { _, _ = io.WriteString(c, test.request) }()
			resp, err := nethttp.ReadResponse(br, nil)
			for err == nil && resp.StatusCode == 100 {
				resp, err = nethttp.ReadResponse(br, nil)
			}
			if err != nil || resp.StatusCode != test.status {
				t.Fatalf("%v, %+v", err, resp)
			}
			_, _ = io.ReadAll(resp.Body)
			if diff := cmp.Diff(test.log, <-f.ended); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDispatchedOnce: a request with an Idempotency-Key, which net/http's Transport
// would repeat, reaches the application once when that ends a kept connection after
// it has read it.
func TestDispatchedOnce(t *testing.T) {
	for name, request := range map[string]string{
		"GET":                "GET / HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k\r\n\r\n",
		"POST":               "POST / HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k\r\n\r\n",
		"POST, length 0":     "POST / HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n",
		"POST, body":         "POST / HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k\r\nContent-Length: 2\r\n\r\n\r\n",
		"POST, chunks":       "POST / HTTP/1.1\r\nHost: h\r\nX-Idempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\r\n\r\n0\r\n\r\n",
		"POST, body, record": "POST /record HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k\r\nContent-Length: 2\r\n\r\n\r\n",
	} {
		for _, reset := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				var seen atomic.Int32
				addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
					for readRawHead(br) != "" {
						if seen.Add(1) == 2 {
							if reset {
								_ = c.SetLinger(0)
							}
							return
						}
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					}
				})
				f := newRecorder()
				f.maxBody = 100
				f.head = func(x *exchange.Exchange) exchange.Verdict {
					if x.Record = string(x.Path) == "/record"; x.Record {
						return exchange.NeedBody
					}
					return exchange.Continue
				}
				_, front := proxy(t, Config{Ports: chainPorts(f)}, addr)
				c, br := dialRaw(t, front)
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				readResponse(t, br, "GET")
				<-f.ended
				_, _ = io.WriteString(c, request)
				if resp, _ := readResponse(t, br, "POST"); resp.StatusCode != 502 {
					t.Errorf("got %d", resp.StatusCode)
				}
				if log := <-f.ended; log[len(log)-1] != "sent_no_reply" || seen.Load() != 2 {
					t.Errorf("%q, and the application saw %d requests", log, seen.Load())
				}
			})
		}
	}
}
