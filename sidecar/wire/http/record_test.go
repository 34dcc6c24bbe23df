// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"
)

// recorder is a small filter that records. It keeps what it was told, in order.
type recorder struct {
	head          func(x *exchange.Exchange) exchange.Verdict
	timeout, late time.Duration
	responseHead  func(x *exchange.Exchange)
	piece         func(x *exchange.Exchange, p []byte)
	end           func(x *exchange.Exchange) bool
	overdue       func(x *exchange.Exchange)
	maxBody       int
	oversize      func(x *exchange.Exchange) exchange.Verdict

	mu    sync.Mutex
	log   []string
	ended chan []string
}

func newRecorder() *recorder { return &recorder{ended: make(chan []string, 10)} }

func (r *recorder) say(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.log); n > 0 && strings.HasPrefix(s, "body ") && strings.HasPrefix(r.log[n-1], "body ") {
		r.log[n-1] += s[len("body "):]
		return
	}
	r.log = append(r.log, s)
}

func (r *recorder) Head(x *exchange.Exchange) exchange.Verdict {
	x.Record, x.Timeout, x.Late = true, r.timeout, r.late
	if r.head != nil {
		return r.head(x)
	}
	return exchange.Continue
}
func (r *recorder) MaxBody() int { return r.maxBody }
func (r *recorder) Body(x *exchange.Exchange) exchange.Verdict {
	r.say(fmt.Sprintf("request %s", x.Body))
	return exchange.Continue
}
func (r *recorder) Oversize(x *exchange.Exchange) exchange.Verdict {
	r.say(fmt.Sprintf("oversize %v", x.Body == nil))
	return r.oversize(x)
}
func (r *recorder) ResponseHead(x *exchange.Exchange) {
	v, n := x.Response.Header("x-app")
	r.say(fmt.Sprintf("head %d %s*%d", x.Status, v, n))
	if r.responseHead != nil {
		r.responseHead(x)
	}
}
func (r *recorder) ResponseBody(x *exchange.Exchange, p []byte) {
	r.say("body " + string(p))
	if r.piece != nil {
		r.piece(x, p)
	}
}
func (r *recorder) ResponseEnd(x *exchange.Exchange) bool {
	s := "end"
	x.Response.Trailers(func(name, value []byte) bool { s += fmt.Sprintf(" %s=%s", name, value); return true })
	r.say(s)
	return r.end == nil || r.end(x)
}
func (r *recorder) Overdue(x *exchange.Exchange) {
	r.say("overdue")
	if r.overdue != nil {
		r.overdue(x)
	}
}
func (r *recorder) End(x *exchange.Exchange, o exchange.Outcome) {
	if x.Response != nil {
		// It is there until now.
		x.Response.Each(func(name, value []byte) bool { return len(name)+len(value) > 0 })
	}
	r.say(o.String())
	r.mu.Lock()
	log := r.log
	r.log = nil
	r.mu.Unlock()
	r.ended <- log
}

// TestRecord: what recorders are told of responses, and what clients get of them.
func TestRecord(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	for name, test := range map[string]struct {
		request, app, want string
		log                []string
	}{
		"fixed": {get, "HTTP/1.1 200 OK\r\nX-App: a\r\nContent-Length: 5\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nX-App: a\r\nContent-Length: 5\r\n\r\nhello", []string{"head 200 a*1", "body hello", "end", "replied"}},
		"one byte": {get, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nh",
			"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nh", []string{"head 200 *0", "body h", "end", "replied"}},
		"empty": {get, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", []string{"head 201 *0", "end", "replied"}},
		"204": {get, "HTTP/1.1 204 No Content\r\n\r\n",
			"HTTP/1.1 204 No Content\r\n\r\n", []string{"head 204 *0", "end", "replied"}},
		"304": {get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
			"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", []string{"head 304 *0", "end", "replied"}},
		"HEAD": {"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", []string{"head 200 *0", "end", "replied"}},
		"chunks": {get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", []string{"head 200 *0", "body hello", "end", "replied"}},
		"no chunk": {get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []string{"head 200 *0", "end", "replied"}},
		"trailers": {get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", []string{"head 200 *0", "body ok", "end X-Sum=1", "replied"}},
		"until the end": {get, "HTTP/1.1 200 OK\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", []string{"head 200 *0", "body hello", "end", "replied"}},
		"1xx": {get, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", []string{"head 200 *0", "body ok", "end", "replied"}},
		"HTTP/1.0, chunks": {"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", []string{"head 200 *0", "body ok", "end X-Sum=1", "replied"}},
		"HTTP/1.0, fixed": {"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", []string{"head 200 *0", "body ok", "end", "replied"}},
		"short": {get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", []string{"head 200 *0", "body hel", "aborted"}},
		"chunks end early": {get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", []string{"head 200 *0", "body hel", "aborted"}},
		"bad chunk": {get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\nzz\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", []string{"head 200 *0", "body hel", "aborted"}},
		"no response": {get, "", "HTTP/1.1 502 Bad Gateway\r\n", []string{"sent_no_reply"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newRecorder()
			_, front := proxy(t, Config{Ports: chainPorts(f)}, rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
				readRawHead(br)
				_, _ = io.WriteString(c, test.app)
			}))
			c, br := dialRaw(t, front)
			_, _ = io.WriteString(c, test.request)
			got := make([]byte, len(test.want))
			n, err := io.ReadFull(br, got)
			if diff := cmp.Diff(test.want, string(got[:n])); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
			if diff := cmp.Diff(test.log, <-f.ended); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLastByte: of a response that comes in parts all but the end goes on at once. The
// end, and a response that comes as a whole, goes only when recorders have ended; not at
// all when they say so.
func TestLastByte(t *testing.T) {
	for name, test := range map[string]struct {
		// app is the response; of one that has a rest, the rest comes when the client
		// has the early part.
		app, early, rest string
		before, after    string
	}{
		"fixed": {app: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", after: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
		"fixed, in parts": {
			app: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", early: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", rest: "llo", before: "ll", after: "o",
		},
		"fixed, after its head": {
			app: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", early: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", rest: "o", after: "o",
		},
		"chunks": {
			app:   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n",
			after: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n",
		},
		"chunks, in parts": {
			app:   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
			early: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", rest: "0\r\nA: b\r\n\r\n", after: "0\r\nA: b\r\n\r\n",
		},
		"empty": {app: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", after: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		"204":   {app: "HTTP/1.1 204 No Content\r\n\r\n", after: "HTTP/1.1 204 No Content\r\n\r\n"},
	} {
		for _, whole := range []bool{true, false} {
			t.Run(fmt.Sprint(name, whole), func(t *testing.T) {
				t.Parallel()
				w, f := newWatcher(), newRecorder()
				reached, release, rest := make(chan struct{}), make(chan struct{}), make(chan struct{})
				f.end = func(*exchange.Exchange) bool { close(reached); <-release; return whole }
				p := chainPorts(f)
				p.port.Observer = w
				_, front := proxy(t, Config{Ports: p}, rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
					for readRawHead(br) != "" {
						_, _ = io.WriteString(c, test.app)
						if test.rest != "" {
							<-rest
							_, _ = io.WriteString(c, test.rest)
						}
					}
				}))
				c, br := dialRaw(t, front)
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				got := make([]byte, len(test.early))
				if _, err := io.ReadFull(br, got); err != nil || string(got) != test.early {
					t.Errorf("first: %q, %v", got, err)
				}
				close(rest)
				got = make([]byte, len(test.before))
				if _, err := io.ReadFull(br, got); err != nil || string(got) != test.before {
					t.Errorf("before the end: %q, %v", got, err)
				}
				<-reached
				_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if b, err := br.ReadByte(); err == nil {
					t.Errorf("got %q before recorders had ended", b)
				}
				_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
				close(release)
				want := exchange.Record{Status: 200, Outcome: exchange.Replied}
				if name == "204" {
					want.Status = 204
				}
				if whole {
					got = make([]byte, len(test.after))
					if _, err := io.ReadFull(br, got); err != nil || string(got) != test.after {
						t.Errorf("at the end: %q, %v", got, err)
					}
				} else {
					if b, _ := io.ReadAll(br); len(b) > 0 {
						t.Errorf("got %q", b)
					}
					want.Outcome, want.Aborted = exchange.Aborted, abortedUnrecorded
					if test.early == "" {
						want.Status = 0
					}
				}
				r := <-w.done
				if r.Status != want.Status || r.Outcome != want.Outcome || r.Aborted != want.Aborted {
					t.Errorf("observed %+v, want %+v", r, want)
				}
				// The application's connection is as good as after any response.
				c, br = dialRaw(t, front)
				f.end = nil
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
				if b, _ := io.ReadAll(br); !strings.HasPrefix(string(b), "HTTP/1.1 20") || test.early != "" && !strings.HasSuffix(string(b), test.after) {
					t.Errorf("the next got %q", b)
				}
			})
		}
	}
}

// TestUnrecordedHTTP10: where the end of the connection is the end of the body, it is
// a reset when recorders say no.
func TestUnrecordedHTTP10(t *testing.T) {
	f := newRecorder()
	f.end = func(*exchange.Exchange) bool { return false }
	_, front := proxy(t, Config{Ports: chainPorts(f)}, rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		readRawHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nok")
	}))
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
	if b, err := io.ReadAll(br); err == nil {
		t.Errorf("got %q as if it were whole", b)
	}
}
