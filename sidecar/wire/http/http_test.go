// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

const testPort = 8080

// ports is a snapshot of one port that tests may change.
type ports struct {
	mu    sync.Mutex
	port  *exchange.Port
	ready chan struct{}
}

func (p *ports) Port(uint16) (*exchange.Port, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.ready:
		return p.port, true
	default:
		return nil, false
	}
}

func (p *ports) Ready() <-chan struct{} { return p.ready }

func (p *ports) set(port *exchange.Port) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.port = port
}

// chainPorts is ready with one HTTP port and those filters.
func chainPorts(filters ...exchange.Filter) *ports {
	if len(filters) == 0 {
		filters = []exchange.Filter{&testFilter{}}
	}
	p := &ports{ready: make(chan struct{}), port: &exchange.Port{Number: testPort, Protocol: exchange.HTTP, Chain: filters}}
	close(p.ready)
	return p
}

// timeout bounds every response.
func (p *ports) timeout(d time.Duration) *ports {
	p.port.Timeouts = []exchange.RouteTimeout{{Prefix: "/", Response: d}}
	return p
}

// testFilter does what its functions say and keeps what it saw.
type testFilter struct {
	head    func(x *exchange.Exchange) exchange.Verdict
	body    func(x *exchange.Exchange) exchange.Verdict
	maxBody int

	mu       sync.Mutex
	outcomes []exchange.Outcome
	statuses []int
	ended    chan struct{}
}

func (f *testFilter) Head(x *exchange.Exchange) exchange.Verdict {
	if f.head == nil {
		return exchange.Continue
	}
	return f.head(x)
}
func (f *testFilter) MaxBody() int { return f.maxBody }
func (f *testFilter) Body(x *exchange.Exchange) exchange.Verdict {
	if f.body == nil {
		return exchange.Continue
	}
	return f.body(x)
}
func (f *testFilter) ResponseHead(*exchange.Exchange) {}
func (f *testFilter) End(x *exchange.Exchange, o exchange.Outcome) {
	f.mu.Lock()
	f.outcomes = append(f.outcomes, o)
	f.statuses = append(f.statuses, x.Status)
	f.mu.Unlock()
	if f.ended != nil {
		f.ended <- struct{}{}
	}
}

// told returns the outcomes so far.
func (f *testFilter) told() []exchange.Outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.outcomes)
}

// proxy runs a Server in front of upstream and returns its address.
func proxy(t testing.TB, cfg Config, upstream string) (*Server, string) {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := New(cfg)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.ServeConn(c, Target{Port: testPort, Upstream: upstream}) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = s.Shutdown(ctx)
		wg.Wait()
	})
	return s, ln.Addr().String()
}

// app runs a net/http server and returns its address.
func app(t testing.TB, h nethttp.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// client is a net/http client of its own.
func client(t testing.TB) *nethttp.Client {
	tr := &nethttp.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &nethttp.Client{Transport: tr, Timeout: 20 * time.Second}
}

// dialRaw connects for tests that write bytes.
func dialRaw(t testing.TB, addr string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn), bufio.NewReader(c)
}

func readResponse(t testing.TB, br *bufio.Reader, method string) (*nethttp.Response, string) {
	t.Helper()
	resp, err := nethttp.ReadResponse(br, &nethttp.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestKeepAlive(t *testing.T) {
	var conns sync.Map
	addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		conns.Store(r.RemoteAddr, true)
		b, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path+" "+string(b))
	})
	_, front := proxy(t, Config{Ports: chainPorts()}, addr)
	c := client(t)
	for range 3 {
		resp, err := c.Post("http://"+front+"/a", "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if got, want := string(b), "POST /a hello"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	n := 0
	conns.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("the application saw %d connections, want 1", n)
	}
}

func TestDenial(t *testing.T) {
	f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
		x.Add("RateLimit", []byte(`"a";r=0;t=2`))
		x.Deny(exchange.Denial{Status: 429, Type: "urn:x", Title: "No", Detail: "say \"when\"", Limits: []string{"a"}, RetryAfter: 1500 * time.Millisecond})
		return exchange.Respond
	}}
	_, front := proxy(t, Config{Ports: chainPorts(f)}, "127.0.0.1:1")
	c, br := dialRaw(t, front)
	for range 2 {
		_, _ = io.WriteString(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
		resp, body := readResponse(t, br, "POST")
		want := `{"type":"urn:x","title":"No","status":429,"detail":"say \"when\"","violated-policies":["a"]}` + "\n"
		if body != want {
			t.Errorf("got body %s, want %s", body, want)
		}
		for name, want := range map[string]string{
			"Content-Type": "application/problem+json", "Cache-Control": "no-store", "Retry-After": "2", "Ratelimit": `"a";r=0;t=2`, "Date": "", "Server": "",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
	}
}
