// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http"
)

const testPort = 9090

// ports is a snapshot of one port that tests may change.
type ports struct {
	mu   sync.Mutex
	port *exchange.Port
}

func (p *ports) Port(uint16) (*exchange.Port, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.port, true
}

func (p *ports) Ready() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func chainPorts(filters ...exchange.Filter) *ports {
	return &ports{port: &exchange.Port{Number: testPort, Protocol: exchange.Thrift, Chain: filters}}
}

// httpPorts are ports for the calls that come over HTTP.
type httpPorts struct{ *ports }

func (p httpPorts) Port(n uint16) (*exchange.Port, bool) {
	port, ready := p.ports.Port(n)
	over := *port
	over.Protocol = exchange.HTTP
	over.Chain = OverHTTP(port.Chain, 4<<20)
	return &over, ready
}

// proxy runs a Server in front of upstream and returns its address.
func proxy(t testing.TB, cfg Config, upstream string) (*Server, string) {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	over := http.New(http.Config{Ports: httpPorts{cfg.Ports.(*ports)}, Logger: cfg.Logger})
	cfg.HTTP = over
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
			wg.Go(func() { s.ServeConn(c, http.Target{Port: testPort, Upstream: upstream}) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = s.Shutdown(ctx)
		_ = over.Shutdown(ctx)
		wg.Wait()
	})
	return s, ln.Addr().String()
}

// stub does what its functions say and keeps what it saw.
type stub struct {
	head    func(x *exchange.Exchange) exchange.Verdict
	body    func(x *exchange.Exchange) exchange.Verdict
	reply   func(x *exchange.Exchange)
	overdue func(x *exchange.Exchange)
	end     func(x *exchange.Exchange) bool
	maxBody int

	mu       sync.Mutex
	recorded []byte
	outcomes []exchange.Outcome
	results  []exchange.CallResult
	ended    chan struct{}
}

func (f *stub) Head(x *exchange.Exchange) exchange.Verdict {
	if f.head == nil {
		return exchange.Continue
	}
	return f.head(x)
}
func (f *stub) MaxBody() int { return f.maxBody }
func (f *stub) Body(x *exchange.Exchange) exchange.Verdict {
	if f.body == nil {
		return exchange.Continue
	}
	return f.body(x)
}
func (f *stub) ResponseHead(x *exchange.Exchange) {
	f.mu.Lock()
	f.results = append(f.results, x.Call.Result)
	f.mu.Unlock()
	if f.reply != nil {
		f.reply(x)
	}
}
func (f *stub) ResponseBody(_ *exchange.Exchange, p []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recorded = append(f.recorded, p...)
}
func (f *stub) ResponseEnd(x *exchange.Exchange) bool { return f.end == nil || f.end(x) }
func (f *stub) Overdue(x *exchange.Exchange) {
	if f.overdue != nil {
		f.overdue(x)
	}
}
func (f *stub) End(_ *exchange.Exchange, o exchange.Outcome) {
	f.mu.Lock()
	f.outcomes = append(f.outcomes, o)
	f.mu.Unlock()
	if f.ended != nil {
		f.ended <- struct{}{}
	}
}

// last is the last outcome and how many there are.
func (f *stub) last() (exchange.Outcome, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.outcomes) == 0 {
		return 0, 0
	}
	return f.outcomes[len(f.outcomes)-1], len(f.outcomes)
}

// dialRaw connects for tests that write bytes.
func dialRaw(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// ends waits for the other side's end and returns what comes before it.
func ends(t testing.TB, c net.Conn) []byte {
	t.Helper()
	b, err := io.ReadAll(c)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		t.Fatalf("the connection goes on after %q", b)
	}
	return b
}

func target(upstream string) http.Target { return http.Target{Port: testPort, Upstream: upstream} }
