// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	nethttp "net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// closedPort returns an address that nobody listens on.
func closedPort(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestOutcomes: what filters are told, and what the client gets.
func TestOutcomes(t *testing.T) {
	say := func(s string, reset bool) func(*net.TCPConn, *bufio.Reader) {
		return func(c *net.TCPConn, br *bufio.Reader) {
			readRawHead(br)
			_, _ = io.WriteString(c, s)
			if reset {
				_ = c.SetLinger(0)
			}
		}
	}
	tests := map[string]struct {
		app     func(*net.TCPConn, *bufio.Reader)
		request string
		status  int
		typ     string
		outcome exchange.Outcome
		reason  UpstreamError
		broken  bool
	}{
		"replied":                {app: say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false), status: 200, outcome: exchange.Replied},
		"nobody listens":         {app: nil, status: 502, typ: rules.ProblemUnreachable, outcome: exchange.NotSent, reason: UpstreamUnreachable},
		"closed without a word":  {app: say("", false), status: 502, typ: rules.ProblemUpstreamClosed, outcome: exchange.SentNoReply, reason: UpstreamClosed},
		"reset without a word":   {app: say("", true), status: 502, typ: rules.ProblemUpstreamClosed, outcome: exchange.SentNoReply, reason: UpstreamClosed},
		"closed inside the head": {app: say("HTTP/1.1 200 OK\r\nX-A", false), status: 502, typ: rules.ProblemUpstreamClosed, outcome: exchange.SentNoReply, reason: UpstreamClosed},
		"not HTTP":               {app: say("220 smtp ready\r\n\r\n", false), status: 502, typ: rules.ProblemUpstreamInvalid, outcome: exchange.SentNoReply, reason: UpstreamInvalid},
		"HTTP/2":                 {app: say("HTTP/2.0 200 OK\r\n\r\n", false), status: 502, typ: rules.ProblemUpstreamInvalid, outcome: exchange.SentNoReply, reason: UpstreamInvalid},
		"folded response":        {app: say("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", false), status: 502, typ: rules.ProblemUpstreamInvalid, outcome: exchange.SentNoReply, reason: UpstreamInvalid},
		"two lengths":            {app: say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", false), status: 502, typ: rules.ProblemUpstreamInvalid, outcome: exchange.SentNoReply, reason: UpstreamInvalid},
		"gzip coding":            {app: say("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab", false), status: 502, typ: rules.ProblemUpstreamInvalid, outcome: exchange.SentNoReply, reason: UpstreamInvalid},
		"101 unasked":            {app: say("HTTP/1.1 101 Switching Protocols\r\n\r\n", false), status: 502, typ: rules.ProblemUpstreamInvalid, outcome: exchange.SentNoReply, reason: UpstreamInvalid},
		"NUL in the reason":      {app: say("HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n", false), status: 502, typ: rules.ProblemUpstreamInvalid, outcome: exchange.SentNoReply, reason: UpstreamInvalid},
		"NUL in a value":         {app: say("HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n", false), status: 502, typ: rules.ProblemUpstreamInvalid, outcome: exchange.SentNoReply, reason: UpstreamInvalid},
		"head too long":          {app: say("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("a", 17<<10)+"\r\n\r\n", false), status: 502, typ: rules.ProblemUpstreamInvalid, outcome: exchange.SentNoReply, reason: UpstreamInvalid},
		"no answer in time":      {app: func(_ *net.TCPConn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) }, status: 504, typ: rules.ProblemUpstreamTimeout, outcome: exchange.SentNoReply, reason: UpstreamTimeout},
		"short body":             {app: say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", false), status: 200, outcome: exchange.Aborted, reason: UpstreamAborted, broken: true},
		"reset in the body":      {app: say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", true), status: 0, outcome: exchange.Aborted, reason: UpstreamAborted, broken: true},
		"chunks end early":       {app: say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", false), status: 200, outcome: exchange.Aborted, reason: UpstreamAborted, broken: true},
		"bad chunk":              {app: say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n", false), status: 200, outcome: exchange.Aborted, reason: UpstreamAborted, broken: true},
		"chunks end early, 1.0": {app: say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", false), request: "GET / HTTP/1.0\r\n\r\n",
			status: 200, outcome: exchange.Aborted, reason: UpstreamAborted, broken: true},
		"body not taken": {app: func(c *net.TCPConn, br *bufio.Reader) { readRawHead(br) },
			request: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nabc", status: 502, typ: rules.ProblemUpstreamClosed, outcome: exchange.SentNoReply, reason: UpstreamClosed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			addr := closedPort(t)
			if test.app != nil {
				addr = rawApp(t, test.app)
			}
			f := &testFilter{ended: make(chan struct{}, 1)}
			var reason atomic.Value
			reason.Store(UpstreamError(""))
			cfg := Config{Ports: chainPorts(f).timeout(200 * time.Millisecond), Metrics: Metrics{UpstreamError: func(_ uint16, r UpstreamError) { reason.Store(r) }}}
			_, front := proxy(t, cfg, addr)
			c, br := dialRaw(t, front)
			if test.request == "" {
				test.request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
			}
			_, _ = io.WriteString(c, test.request)
			resp, err := nethttp.ReadResponse(br, nil)
			if err == nil {
				var b []byte
				b, err = io.ReadAll(resp.Body)
				if test.status != 0 && resp.StatusCode != test.status || !strings.Contains(string(b), test.typ) {
					t.Errorf("got %d %s", resp.StatusCode, b)
				}
			}
			if (err != nil) != test.broken {
				t.Errorf("got error %v", err)
			}
			<-f.ended
			if f.told()[0] != test.outcome {
				t.Errorf("got outcome %v, want %v", f.told()[0], test.outcome)
			}
			if got := reason.Load().(UpstreamError); got != test.reason {
				t.Errorf("got reason %q, want %q", got, test.reason)
			}
		})
	}
}

// TestClientGone: the application's part ends when the client has left.
func TestClientGone(t *testing.T) {
	left := make(chan struct{})
	addr := app(t, func(_ nethttp.ResponseWriter, r *nethttp.Request) {
		<-r.Context().Done()
		close(left)
	})
	f := &testFilter{ended: make(chan struct{}, 1)}
	_, front := proxy(t, Config{Ports: chainPorts(f)}, addr)
	c, _ := dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	_ = c.Close()
	<-left
	<-f.ended
	if f.told()[0] != exchange.SentNoReply {
		t.Errorf("got outcome %v", f.told()[0])
	}
}

// TestClientGoneInBody: a body that breaks off reaches the application as broken.
func TestClientGoneInBody(t *testing.T) {
	got := make(chan error, 1)
	addr := app(t, func(_ nethttp.ResponseWriter, r *nethttp.Request) {
		_, err := io.ReadAll(r.Body)
		got <- err
	})
	for _, raw := range []string{"Content-Length: 1000\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"} {
		f := &testFilter{ended: make(chan struct{}, 1)}
		_, front := proxy(t, Config{Ports: chainPorts(f)}, addr)
		c, _ := dialRaw(t, front)
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\n"+raw)
		_ = c.Close()
		if err := <-got; err == nil {
			t.Error("the application saw the end of the body")
		}
		<-f.ended
		if f.told()[0] != exchange.SentNoReply {
			t.Errorf("got outcome %v", f.told()[0])
		}
	}
}

// TestReuse: connections that the application closes while they are idle are
// noticed, and no request fails on them.
func TestReuse(t *testing.T) {
	var conns atomic.Int32
	closed := make(chan struct{}, 100)
	addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		conns.Add(1)
		readRawHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_ = c.Close()
		closed <- struct{}{}
	})
	_, front := proxy(t, Config{Ports: chainPorts()}, addr)
	c, br := dialRaw(t, front)
	for range 10 {
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
		if resp, _ := readResponse(t, br, "POST"); resp.StatusCode != 200 {
			t.Errorf("got %d", resp.StatusCode)
		}
		<-closed
	}
	if n := conns.Load(); n != 10 {
		t.Errorf("%d connections", n)
	}
}

// TestNeverSentTwice: on a kept connection that takes the request and dies, the
// request is not repeated.
func TestNeverSentTwice(t *testing.T) {
	var requests atomic.Int32
	addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		for i := 0; readRawHead(br) != ""; i++ {
			requests.Add(1)
			if i == 1 {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	_, front := proxy(t, Config{Ports: chainPorts()}, addr)
	c, br := dialRaw(t, front)
	for _, want := range []int{200, 502} {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k\r\n\r\n")
		if resp, _ := readResponse(t, br, "GET"); resp.StatusCode != want {
			t.Errorf("got %d, want %d", resp.StatusCode, want)
		}
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("the application saw %d requests", n)
	}
}

// refusingConn takes no byte.
type refusingConn struct{ net.Conn }

func (refusingConn) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestRetryOnlyUnsent: a kept connection that takes no byte is replaced; a fresh
// one is not.
func TestRetryOnlyUnsent(t *testing.T) {
	addr := app(t, digest)
	var dials atomic.Int32
	cfg := Config{Ports: chainPorts()}
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	s, front := proxy(t, cfg, addr)
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s.pool(addr).put(newUpConn(refusingConn{raw}), time.Now())
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
	if resp, _ := readResponse(t, br, "POST"); resp.StatusCode != 200 || dials.Load() != 1 {
		t.Errorf("got %d after %d dials", resp.StatusCode, dials.Load())
	}

	f := &testFilter{}
	cfg = Config{Ports: chainPorts(f), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return refusingConn{c}, err
	}}
	dials.Store(0)
	_, front = proxy(t, cfg, addr)
	c, br = dialRaw(t, front)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	if resp, _ := readResponse(t, br, "POST"); resp.StatusCode != 502 || dials.Load() != 1 {
		t.Errorf("got %d after %d dials", resp.StatusCode, dials.Load())
	}
}

// TestPoolExpires: idle connections are closed after their time.
func TestPoolExpires(t *testing.T) {
	ended := make(chan struct{})
	addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		readRawHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_, _ = br.ReadByte()
		close(ended)
	})
	cfg := Config{Ports: chainPorts()}
	cfg.Timeouts.UpstreamIdle = 50 * time.Millisecond
	_, front := proxy(t, cfg, addr)
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	readResponse(t, br, "GET")
	<-ended
}

// TestPanic: a filter that panics ends its connection and nothing else; filters
// before it are told, and no memory stays reserved.
func TestPanic(t *testing.T) {
	first := &testFilter{maxBody: 10, head: verdict(exchange.NeedBody), ended: make(chan struct{}, 2)}
	counted := make(chan int, 2)
	f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
		if string(x.Path) == "/panic" {
			panic("x")
		}
		return exchange.Continue
	}}
	s, front := proxy(t, Config{Ports: chainPorts(first, f), Metrics: Metrics{
		Request: func(_ uint16, _ Protocol, status int, _ time.Time) { counted <- status },
	}}, app(t, digest))
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "POST /panic HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab")
	if b, _ := io.ReadAll(br); len(b) > 0 {
		t.Errorf("got %q", b)
	}
	<-first.ended
	if diff := cmp.Diff([]exchange.Outcome{exchange.NotSent}, first.told()); diff != "" || s.buffered.Load() != 0 {
		t.Errorf("%s; %d bytes reserved", diff, s.buffered.Load())
	}
	if status := <-counted; status != 0 {
		t.Errorf("counted as %d", status)
	}
	c, br = dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	readResponse(t, br, "GET")
}

// TestIdleConnections: a connection that waits holds no buffers. Half
// of the memory is the test's own end of the connections.
func TestIdleConnections(t *testing.T) {
	_, front := proxy(t, Config{Ports: chainPorts(&nopFilter{}), HeadBytes: 64 << 10}, app(t, digest))
	used := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	open := func() net.Conn {
		c, err := net.Dial("tcp", front)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	open()
	const n = 300
	before := used()
	for range n {
		open()
	}
	if each := (int64(used()) - int64(before)) / n; each > 10<<10 {
		t.Errorf("%d bytes for each idle connection", each)
	} else {
		t.Logf("%d bytes for each idle connection", each)
	}
}

// TestConcurrent runs many clients through one pool.
func TestConcurrent(t *testing.T) {
	addr := app(t, digest)
	_, front := proxy(t, Config{Ports: chainPorts()}, addr)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			c := client(t)
			for n := range 50 {
				body := strings.Repeat("x", (i*50+n)*37)
				resp, err := c.Post("http://"+front+"/", "", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				b, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if !strings.HasPrefix(string(b), digestOf([]byte(body))) {
					t.Errorf("got %q", b)
				}
			}
		})
	}
	wg.Wait()
}
