// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"io"
	"math"
	"net"
	nethttp "net/http"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// TestConfigure: settings change under connections that are there, zero is the
// default again.
func TestConfigure(t *testing.T) {
	s, front := proxy(t, Config{Ports: chainPorts()}, app(t, digest))
	c, br := dialRaw(t, front)
	ask := func(head, want int) {
		t.Helper()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nX-A: "+strings.Repeat("a", head)+"\r\n\r\n")
		if resp, _ := readResponse(t, br, "GET"); resp.StatusCode != want {
			t.Fatalf("%d bytes: got %d, want %d", head, resp.StatusCode, want)
		}
	}
	ask(100, 200)
	s.Configure(Settings{HeadBytes: 64 << 10, Idle: time.Minute})
	ask(40<<10, 200)
	if got := *s.Settings(); got != (Settings{64 << 10, s.cfg.MaxConns, time.Minute, 5 * time.Minute, 5 * time.Second}) {
		t.Errorf("got %+v", got)
	}
	s.Configure(Settings{})
	ask(100, 200)
	ask(40<<10, 431)
	c, br = dialRaw(t, front)
	ask(100, 200)
	s.Configure(Settings{HeadBytes: 4 << 10})
	ask(5<<10, 431)
}

// TestConfigureResponse: the bound of heads holds for responses.
func TestConfigureResponse(t *testing.T) {
	addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		for readRawHead(br) != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: "+strings.Repeat("a", 20<<10)+"\r\n\r\n")
		}
	})
	s, front := proxy(t, Config{Ports: chainPorts()}, addr)
	for size, want := range map[int]int{0: 502, 32 << 10: 200} {
		s.Configure(Settings{HeadBytes: size})
		c, br := dialRaw(t, front)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if resp, _ := readResponse(t, br, "GET"); resp.StatusCode != want {
			t.Errorf("%d: got %d, want %d", size, resp.StatusCode, want)
		}
	}
}

// TestDefaultMaxConns: as many as memory is good for.
func TestDefaultMaxConns(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	for limit, want := range map[int64]int{math.MaxInt64: 65536, 1 << 40: 65536, 240 << 20: 10240} {
		debug.SetMemoryLimit(limit)
		if got := defaultMaxConns(); got != want {
			t.Errorf("%d: got %d, want %d", limit, got, want)
		}
	}
}

// TestTooManyConnections: one more is told so where HTTP is spoken, and just closed
// elsewhere.
func TestTooManyConnections(t *testing.T) {
	for name, test := range map[string]struct {
		port *exchange.Port
		sent string
		want bool
	}{
		"governed":        {&exchange.Port{Chain: exchange.Chain{&nopFilter{}}, Protocol: exchange.HTTP}, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
		"auto":            {&exchange.Port{Chain: exchange.Chain{&nopFilter{}}}, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("a", 100000), true},
		"HTTP/2":          {&exchange.Port{Chain: exchange.Chain{&nopFilter{}}}, preface, false},
		"HTTP/2 in bits":  {&exchange.Port{Chain: exchange.Chain{&nopFilter{}}, Protocol: exchange.HTTP}, "P|" + preface[1:], false},
		"HTTP/1 in bits":  {&exchange.Port{Chain: exchange.Chain{&nopFilter{}}}, "P|OST / HTTP/1.1\r\nHost: h\r\n\r\n", true},
		"TLS":             {&exchange.Port{Chain: exchange.Chain{&nopFilter{}}}, "\x16\x03\x01\x02\x00", false},
		"grpc":            {&exchange.Port{Chain: exchange.Chain{&nopFilter{}}, Protocol: exchange.GRPC}, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", false},
		"not governed":    {nil, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", false},
		"opaque":          {&exchange.Port{Chain: exchange.Chain{&nopFilter{}}, Protocol: exchange.Opaque}, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", false},
		"without a word":  {&exchange.Port{Chain: exchange.Chain{&nopFilter{}}}, "", false},
		"only ends first": {&exchange.Port{Chain: exchange.Chain{&nopFilter{}}}, "\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := chainPorts()
			p.set(test.port)
			refused := make(chan Refusal, 1)
			s, front := proxy(t, Config{Ports: p, MaxConns: 1, Metrics: Metrics{Refused: func(_ uint16, why Refusal) { refused <- why }}}, app(t, digest))
			first, _ := dialRaw(t, front)
			for s.Conns() == 0 {
				time.Sleep(time.Millisecond)
			}
			second, br := dialRaw(t, front)
			for i, bit := range strings.Split(test.sent, "|") {
				time.Sleep(time.Duration(i) * 20 * time.Millisecond)
				_, _ = io.WriteString(second, bit)
			}
			if got := <-refused; got != RefusedFull {
				t.Errorf("counted as %s", got)
			}
			if test.want {
				resp, body := readResponse(t, br, "GET")
				if resp.StatusCode != 503 || !strings.Contains(body, rules.ProblemTooManyConns) || !resp.Close || resp.Header.Get("Retry-After") != "1" {
					t.Errorf("got %d %s", resp.StatusCode, body)
				}
			} else if b, _ := io.ReadAll(br); len(b) > 0 {
				t.Errorf("got %q", b)
			}
			_ = first.Close()
			for s.Conns() > 0 {
				time.Sleep(time.Millisecond)
			}
			s.Configure(Settings{MaxConns: 2})
			if test.port != nil && test.port.Protocol == exchange.HTTP {
				for range 2 {
					c, br := dialRaw(t, front)
					_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
					if resp, _ := readResponse(t, br, "GET"); resp.StatusCode != 200 {
						t.Errorf("got %d", resp.StatusCode)
					}
				}
			}
		})
	}
}

// TestMaxBody: a body that is too long is 413, whatever says how long it is; of one
// whose length is known the application sees nothing.
func TestMaxBody(t *testing.T) {
	for name, test := range map[string]struct {
		framed string
		filter *testFilter
		status int
		seen   bool
	}{
		"fits":                     {"Content-Length: 5\r\n\r\nhello", nil, 200, true},
		"too long":                 {"Content-Length: 6\r\n\r\nhello!", nil, 413, false},
		"too long, not sent":       {"Expect: 100-continue\r\nContent-Length: 6\r\n\r\n", nil, 413, false},
		"far too long":             {"Content-Length: 100000000\r\n\r\nhello!", nil, 413, false},
		"chunks fit":               {"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", nil, 200, true},
		"chunks too long":          {"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n4\r\nllo!\r\n0\r\n\r\n", nil, 413, true},
		"chunks without end":       {"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n4\r\nllo!\r\n", nil, 413, true},
		"a filter reads, fits":     {"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", &testFilter{head: verdict(exchange.NeedBody), maxBody: 100}, 200, true},
		"a filter reads, too long": {"Transfer-Encoding: chunked\r\n\r\n6\r\nhello!\r\n0\r\n\r\n", &testFilter{head: verdict(exchange.NeedBody), maxBody: 100}, 413, false},
	} {
		t.Run(name, func(t *testing.T) {
			seen, whole := make(chan struct{}, 10), make(chan bool, 10)
			addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
				seen <- struct{}{}
				_, err := io.ReadAll(r.Body)
				whole <- err == nil
			})
			if test.filter == nil {
				test.filter = &testFilter{}
			}
			p := chainPorts(test.filter)
			p.port.MaxBody = 5
			_, front := proxy(t, Config{Ports: p}, addr)
			c, br := dialRaw(t, front)
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\n"+test.framed)
			resp, body := readResponse(t, br, "POST")
			if resp.StatusCode != test.status || test.status == 413 && !strings.Contains(body, rules.ProblemBodyTooLarge) {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
			if test.seen {
				<-seen
				if got := <-whole; got != (test.status == 200) {
					t.Errorf("the application took a part for the whole: %v", got)
				}
			}
			if len(seen) > 0 {
				t.Error("the application saw the request")
			}
		})
	}
}

// TestMaxBodyLate: a body that grows too long while the response is on its way ends
// both connections, and no answer is put into the response.
func TestMaxBodyLate(t *testing.T) {
	addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		readRawHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
		_, _ = io.Copy(io.Discard, br)
	})
	w := newWatcher()
	p := chainPorts()
	p.port.MaxBody, p.port.Observer = 5, w
	_, front := proxy(t, Config{Ports: p}, addr)
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n")
	resp, err := nethttp.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(resp.Body, make([]byte, 2))
	_, _ = io.WriteString(c, "9\r\nllo world\r\n")
	if b, err := io.ReadAll(resp.Body); err == nil || len(b) > 0 {
		t.Errorf("got %q, %v", b, err)
	}
	if r := <-w.done; r.Aborted != abortedTooLarge || r.Outcome != exchange.Aborted {
		t.Errorf("got %+v", r)
	}
}

// TestResponseTimeout: by route, shorter than the tick of the clock, from the end of
// the request; none where no route says so.
func TestResponseTimeout(t *testing.T) {
	addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if strings.HasSuffix(r.URL.Path, "/begun") {
			w.(nethttp.Flusher).Flush()
		}
		select {
		case <-r.Context().Done():
		case <-time.After(1500 * time.Millisecond):
		}
	})
	p := chainPorts()
	p.port.Timeouts = []exchange.RouteTimeout{{Prefix: "/slow/fine"}, {Prefix: "/slow", Response: 100 * time.Millisecond}}
	_, front := proxy(t, Config{Ports: p}, addr)
	for name, test := range map[string]struct {
		request string
		status  int
		after   string
	}{
		"at once":          {"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n", 504, ""},
		"by path":          {"GET /x/../slow/a HTTP/1.1\r\nHost: h\r\n\r\n", 504, ""},
		"with a body":      {"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", 504, ""},
		"chunked":          {"POST /slow HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 504, "0\r\n\r\n"},
		"begun is in time": {"GET /slow/begun HTTP/1.1\r\nHost: h\r\n\r\n", 200, ""},
		"a longer prefix":  {"GET /slow/fine HTTP/1.1\r\nHost: h\r\n\r\n", 200, ""},
		"another route":    {"GET /slower HTTP/1.1\r\nHost: h\r\n\r\n", 200, ""},
		"the body is slow": {"POST /slow/begun HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 200, "0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, br := dialRaw(t, front)
			_, _ = io.WriteString(c, test.request)
			if test.after != "" {
				time.Sleep(300 * time.Millisecond)
				_, _ = io.WriteString(c, test.after)
			}
			resp, body := readResponse(t, br, "GET")
			if resp.StatusCode != test.status || resp.StatusCode == 504 && !strings.Contains(body, "100ms") {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
		})
	}
}
