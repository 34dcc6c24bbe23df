// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

const testPort = 8080

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ports is a snapshot of one port.
type ports struct {
	mu   sync.Mutex
	port *exchange.Port
}

func (p *ports) Port(uint16) (*exchange.Port, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.port, true
}
func (p *ports) Ready() <-chan struct{} { c := make(chan struct{}); close(c); return c }

func onPort(protocol exchange.Protocol, filters ...exchange.Filter) *ports {
	if len(filters) == 0 {
		filters = []exchange.Filter{&testFilter{}}
	}
	return &ports{port: &exchange.Port{Number: testPort, Protocol: protocol, Chain: filters}}
}

// testFilter does what its functions say and keeps what it saw.
type testFilter struct {
	head     func(x *exchange.Exchange) exchange.Verdict
	body     func(x *exchange.Exchange) exchange.Verdict
	response func(x *exchange.Exchange)
	end      func(x *exchange.Exchange)
	maxBody  int

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
func (f *testFilter) ResponseHead(x *exchange.Exchange) {
	if f.response != nil {
		f.response(x)
	}
}
func (f *testFilter) End(x *exchange.Exchange, o exchange.Outcome) {
	f.mu.Lock()
	f.outcomes = append(f.outcomes, o)
	f.statuses = append(f.statuses, x.Status)
	f.mu.Unlock()
	if f.end != nil {
		f.end(x)
	}
	if f.ended != nil {
		f.ended <- struct{}{}
	}
}

func (f *testFilter) told() []exchange.Outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.outcomes)
}

// proxy runs a Server in front of upstream and returns its address.
func proxy(t testing.TB, cfg wirehttp.Config, upstream string) (*wirehttp.Server, string) {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.HTTP2 = New
	s := wirehttp.New(cfg)
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
			wg.Go(func() { s.ServeConn(c, wirehttp.Target{Port: testPort, Upstream: upstream}) })
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

func h2cOnly() *http.Protocols {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &p
}

// connOf finds an application's connection in a request's context.
type connOf struct{}

// app runs a net/http server that speaks h2c and HTTP/1.
func app(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	p := h2cOnly()
	p.SetHTTP1(true)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Over HTTP/1 net/http would read the request before it answers.
		_ = http.NewResponseController(w).EnableFullDuplex()
		h(w, r)
	}))
	srv.Config.Protocols = p
	srv.Config.DisableGeneralOptionsHandler = true
	srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connOf{}, c) }
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	srv.Start()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.Listener.Addr().String()
}

// client is an h2c client of its own.
func client(t testing.TB) *http.Client {
	tr := &http.Transport{Protocols: h2cOnly(), DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func readAll(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	return string(b)
}

// both runs a test towards applications that speak HTTP/2 and such that speak
// HTTP/1.1.
func both(t *testing.T, test func(*testing.T, exchange.Protocol)) {
	t.Run("h2c", func(t *testing.T) { test(t, exchange.H2C) })
	t.Run("http", func(t *testing.T) { test(t, exchange.HTTP) })
}
