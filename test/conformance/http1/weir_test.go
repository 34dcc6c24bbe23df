// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/h2c"
	wire "weir.dev/weir/sidecar/wire/http"
)

const (
	containerPort = 8080
	// patience bounds what must come to an end by itself.
	patience = 30 * time.Second
	// slot of the recorder's state: the last, behind those of real filters.
	slot = exchange.MaxFilters - 1
	// pause separates two writes.
	pause = 10 * time.Millisecond
)

// intent is a request as the proxy's filters saw it.
type intent struct {
	request
	outcome exchange.Outcome
	// whole: request.Body is what a filter was given.
	whole bool
}

// recorder is a filter that lets everything through and keeps what it saw.
type recorder struct {
	// bodies: it asks for the body of each request.
	bodies bool

	mu   sync.Mutex
	seen []*intent
}

// Head keeps the request. Its memory is the codec's, so all is copied.
func (r *recorder) Head(x *exchange.Exchange) exchange.Verdict {
	target := string(x.RawPath)
	if len(x.Query) > 0 {
		target += "?" + string(x.Query)
	}
	i := &intent{request: request{Method: string(x.Method), Target: target}}
	r.mu.Lock()
	r.seen = append(r.seen, i)
	r.mu.Unlock()
	x.SetState(slot, i)
	if r.bodies {
		return exchange.NeedBody
	}
	return exchange.Continue
}

func (r *recorder) MaxBody() int { return 1 << 20 }

func (r *recorder) Body(x *exchange.Exchange) exchange.Verdict {
	i := x.State(slot).(*intent)
	i.Body, i.whole = string(x.Body), true
	return exchange.Continue
}

func (r *recorder) ResponseHead(*exchange.Exchange) {}

func (r *recorder) End(x *exchange.Exchange, o exchange.Outcome) { x.State(slot).(*intent).outcome = o }

// method of the request that the nth response answers.
func (r *recorder) method(n int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n < len(r.seen) {
		return r.seen[n].Method
	}
	return http.MethodGet
}

// ports are an engine's with a filter behind its own.
type ports struct {
	*engine.Engine
	port exchange.Port
}

// governed is one port with a limit that is never reached, and f.
func governed(t testing.TB, f exchange.Filter) *ports {
	t.Helper()
	e := engine.New(engine.Options{})
	t.Cleanup(e.Close)
	err := e.Apply(&snapshot.Snapshot{
		Workload: &snapshot.Workload{Cluster: "local", Namespace: "shop", Key: "w"},
		Ports:    []*snapshot.Port{{Number: containerPort, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "payments"}},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{
			Name: "payments", Generation: 1,
			FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK, Headers: snapshot.HeaderStyle_HEADER_STYLE_IETF,
			Limits: []*snapshot.Limit{{
				Name: "all", Algorithm: snapshot.Algorithm_ALGORITHM_FIXED_WINDOW, Limit: 1 << 20, WindowSeconds: 3600,
				Key:          []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_Header{Header: "x-client-id"}}},
				OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP, Scope: snapshot.Scope_SCOPE_POD,
			}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	port, _ := e.Port(containerPort)
	p := &ports{Engine: e, port: *port}
	p.port.Chain = append(slices.Clone(port.Chain), f)
	return p
}

func (p *ports) Port(uint16) (*exchange.Port, bool) { return &p.port, true }

// proxied is what became of a case.
type proxied struct {
	// intents are the requests that filters saw.
	intents []*intent
	// forwarded is what the application got, by connection.
	forwarded []*received
	// statuses are those of the final responses that the client read whole or
	// in part.
	statuses []int
	// unlimited: a response came from the application and the limit was not asked.
	unlimited bool
	// rest is what the client read that is no response.
	rest []byte
}

// sent are the requests of which a byte may have reached the application.
func (p *proxied) sent() []*intent {
	return slices.DeleteFunc(slices.Clone(p.intents), func(i *intent) bool { return i.outcome == exchange.NotSent })
}

// through runs a case through a proxy of its own, so that its connections to the
// application are of that case alone and end with it.
func through(t testing.TB, c *testCase, bodies bool) *proxied {
	t.Helper()
	o := newOrigin(t, nil)
	r := &recorder{bodies: bodies}
	front := startProxy(t, r, o)
	conn := front.dial(t)
	p := &proxied{}
	write := make(chan struct{})
	go func() {
		defer close(write)
		writePieces(conn, c.pieces)
	}()
	p.converse(conn, write, c, r)
	_ = conn.Close()
	<-write
	front.stop(t)
	p.forwarded = o.received()
	p.intents = r.seen
	return p
}

// converse reads responses, half-closes once all have come that must, and reads
// on to the end. A client that half-closes earlier is taken for gone.
func (p *proxied) converse(conn *net.TCPConn, written <-chan struct{}, c *testCase, r *recorder) {
	want := c.requests()
	switch c.Weir {
	case refuse:
		want++ // and then the proxy closes
	case either:
		want = 0
	}
	br := bufio.NewReader(conn)
	for n := 0; ; {
		if n >= want {
			<-written
			_ = conn.CloseWrite()
		}
		if _, err := br.Peek(1); err != nil {
			return
		}
		resp, err := http.ReadResponse(br, &http.Request{Method: r.method(n)})
		if err != nil {
			p.rest, _ = io.ReadAll(br)
			return
		}
		if resp.StatusCode < 200 {
			continue
		}
		n++
		p.statuses = append(p.statuses, resp.StatusCode)
		p.unlimited = p.unlimited || resp.StatusCode == http.StatusOK && resp.Header.Get("RateLimit") == ""
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return
		}
	}
}

func writePieces(conn net.Conn, pieces [][]byte) {
	for i, b := range pieces {
		if i > 0 {
			time.Sleep(pause)
		}
		if _, err := conn.Write(b); err != nil {
			return
		}
	}
}

// front is a proxy on a port of its own.
type front struct {
	s  *wire.Server
	ln net.Listener
	wg sync.WaitGroup
}

func startProxy(t testing.TB, f exchange.Filter, o *origin) *front {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &front{ln: ln, s: wire.New(wire.Config{Ports: governed(t, f), Logger: slog.New(slog.DiscardHandler), HTTP2: h2c.New})}
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.s.ServeConn(c, wire.Target{Port: containerPort, Upstream: o.ln.Addr().String()}) })
		}
	})
	return p
}

func (p *front) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// stop waits for the connections, whose clients have gone, and closes those to
// the application.
func (p *front) stop(t testing.TB) {
	t.Helper()
	_ = p.ln.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.s.Shutdown(ctx); err != nil {
		t.Errorf("a connection does not end with its client: %v", err)
	}
	p.wg.Wait()
}
