// SPDX-License-Identifier: Apache-2.0

package fuzz

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"weir.dev/weir/sidecar/exchange"
	wire "weir.dev/weir/sidecar/wire/http"
)

const port = 8080

// clientConn is a client that has said all it has to say and takes any answer.
type clientConn struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *clientConn) Read(p []byte) (int, error)     { return c.in.Read(p) }
func (c *clientConn) Write(p []byte) (int, error)    { return c.out.Write(p) }
func (*clientConn) Close() error                     { return nil }
func (*clientConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (*clientConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }
func (*clientConn) SetDeadline(time.Time) error      { return nil }
func (*clientConn) SetReadDeadline(time.Time) error  { return nil }
func (*clientConn) SetWriteDeadline(time.Time) error { return nil }

// governed is a snapshot of one port that is always there.
type governed struct{ port *exchange.Port }

func (g governed) Port(uint16) (*exchange.Port, bool) { return g.port, true }
func (governed) Ready() <-chan struct{}               { return closed }

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// served is what became of one request.
type served struct {
	// let: filters saw it. ended: and were told the outcome.
	let, ended bool
	method     string
	outcome    exchange.Outcome
	status     int
}

// weir is a Server with a filter that records, for one connection at a time.
type weir struct {
	server *wire.Server
	// dial connects to the application; nil: every request is denied.
	dial func() (net.Conn, error)
	look func(x *exchange.Exchange)

	mu       sync.Mutex
	requests []served
	now      served
}

// newWeir must be shut down.
func newWeir(p exchange.Port) *weir {
	w := &weir{}
	p.Number, p.Protocol, p.Chain = port, exchange.HTTP, exchange.Chain{w}
	cfg := wire.Config{
		Ports:  governed{&p},
		Dial:   func(context.Context, string, string) (net.Conn, error) { return w.dial() },
		Logger: slog.New(slog.DiscardHandler),
	}
	cfg.Metrics.Request = w.request
	w.server = wire.New(cfg)
	return w
}

func (w *weir) shutdown() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = w.server.Shutdown(ctx)
}

// serve runs raw as all that a client sends on one connection, and returns what
// became of its requests, those refused before filters saw them among them, and
// what the client got.
func (w *weir) serve(raw []byte) ([]served, []byte) {
	w.mu.Lock()
	w.requests, w.now = nil, served{}
	w.mu.Unlock()
	c := &clientConn{in: bytes.NewReader(raw)}
	w.server.ServeConn(c, wire.Target{Port: port, Upstream: "10.0.0.1:80"})
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests, c.out.Bytes()
}

func (w *weir) request(_ uint16, _ wire.Protocol, status int, _ time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now.status = status
	w.requests = append(w.requests, w.now)
	w.now = served{}
}

func (w *weir) Head(x *exchange.Exchange) exchange.Verdict {
	w.mu.Lock()
	w.now.let, w.now.method = true, string(x.Method)
	w.mu.Unlock()
	if w.look != nil {
		w.look(x)
	}
	if w.dial == nil {
		x.Deny(exchange.Denial{Status: http.StatusTooManyRequests, Type: "urn:x", Title: "x"})
		return exchange.Respond
	}
	return exchange.Continue
}

func (*weir) MaxBody() int                             { return 0 }
func (*weir) Body(*exchange.Exchange) exchange.Verdict { return exchange.Continue }
func (*weir) ResponseHead(*exchange.Exchange)          {}
func (w *weir) End(_ *exchange.Exchange, o exchange.Outcome) {
	w.mu.Lock()
	w.now.ended, w.now.outcome = true, o
	w.mu.Unlock()
}
