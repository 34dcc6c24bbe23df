// SPDX-License-Identifier: Apache-2.0

package why

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency"
	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/filter/ratelimit"
	"weir.dev/weir/sidecar/wire/h2c"
	wire "weir.dev/weir/sidecar/wire/http"
)

// patience is for all of it: nothing waits for anybody else.
const patience = 20 * time.Second

// asked is what came of a request.
type asked struct {
	// seen: the filter was asked. Without it a policy does not govern the port, or the
	// codec has answered.
	seen        bool
	explanation ratelimit.Explanation
	// recorded is what the IdempotencyPolicy makes of it; nil: it was not asked.
	recorded *idempotency.Explanation
	client   netip.Addr
	// notes are about who is believed.
	notes []string
	// added are the names of the fields that the filter adds.
	added []string
	// passed: the application was reached.
	passed   bool
	response Response
}

// Response is what the client reads; of an application's answer what Weir adds.
type Response struct {
	// Status is 0 where it is the application's.
	Status int `json:"status,omitempty"`
	// Fields in their order.
	Fields []Field `json:"fields"`
	Body   string  `json:"body,omitempty"`
	// proto of the response, such as HTTP/1.1.
	proto string
}

// ask sends r to the port, through the data plane of a snapshot.
func ask(ctx context.Context, s *snapshot.Snapshot, port uint16, r Request, now time.Time) (*asked, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s = proto.CloneOf(s)
	s.Telemetry = nil
	for _, store := range s.GetStores() {
		store.Redis, store.CredentialsVersion = nil, "" // counters are this process's
	}
	e := engine.New(engine.Options{Now: func() int64 { return limiter.Micros(now) }})
	defer e.Close()
	if err := e.SetSecrets(anyKeys(s)); err != nil {
		return nil, err
	}
	if err := e.Apply(s); err != nil {
		return nil, fmt.Errorf("the sidecar refuses the snapshot: %w", err)
	}
	a := &asked{}
	app := newApplication(a)
	defer app.close()
	server := wire.New(wire.Config{
		Ports: &watched{Engine: e, count: r.Count, asked: a}, HTTP2: h2c.New, Logger: slog.New(slog.DiscardHandler),
		Dial: func(context.Context, string, string) (net.Conn, error) { return app.dial() },
	})
	defer func() { _ = server.Shutdown(ctx) }()
	client, served := net.Pipe()
	go server.ServeConn(from{served, r.Peer}, wire.Target{Port: port, Upstream: "application:80"})
	defer client.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = client.SetDeadline(deadline)
	}
	exchangeOnce := askHTTP1
	p, _ := e.Port(port)
	if p != nil && p.Protocol == exchange.Thrift {
		return nil, errors.New("the port speaks Thrift, and weir why explains requests of HTTP only")
	}
	a.believe(p, r)
	if p != nil && (p.Protocol == exchange.H2C || p.Protocol == exchange.GRPC || strings.HasPrefix(r.value("Content-Type"), "application/grpc")) {
		exchangeOnce = askHTTP2
	}
	var err error
	if a.response, err = exchangeOnce(ctx, client, r); err != nil {
		return nil, fmt.Errorf("the data plane did not answer: %w", err)
	}
	if a.passed {
		a.response.Status = 0
		a.response.Fields = slices.DeleteFunc(a.response.Fields, func(f Field) bool {
			return !slices.ContainsFunc(a.added, func(name string) bool { return strings.EqualFold(name, f.Name) })
		})
	}
	return a, nil
}

// anyKeys are good for records that nobody will read.
func anyKeys(s *snapshot.Snapshot) *stream.Secrets {
	out := &stream.Secrets{NamespaceKey: stream.DeriveNamespaceKey(make([]byte, stream.MinRootKey), nil, "why", "why")}
	for _, p := range s.GetIdempotencyPolicies() {
		if name := p.GetEncryptionKey(); name != "" {
			out.Keys = append(out.Keys, &stream.UserKey{Name: name, Version: p.GetEncryptionVersion(), Current: make([]byte, stream.MinRootKey)})
		}
	}
	return out
}

// believe notes what the port makes of fields that only trusted proxies may set.
func (a *asked) believe(p *exchange.Port, r Request) {
	if p == nil || p.Identity.Trusts(r.Peer) {
		return
	}
	for _, f := range r.Fields {
		switch name := strings.ToLower(f.Name); {
		case name == "x-forwarded-for" || name == "forwarded":
			a.notes = append(a.notes, fmt.Sprintf("%s is no trusted proxy of this port: %s does not say who the client is.", r.Peer, f.Name))
		case slices.Contains(p.Identity.Headers, name):
			a.notes = append(a.notes, fmt.Sprintf("%s is no trusted proxy of this port: the identity header %s is taken out of the request.", r.Peer, f.Name))
		}
	}
}

// from is a connection that comes from somewhere.
type from struct {
	net.Conn
	peer netip.Addr
}

// RemoteAddr is the peer's.
func (c from) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.peer, 40000))
}

// watched is the engine's ports, with the filter explaining itself.
type watched struct {
	*engine.Engine
	count int
	asked *asked
}

// Port implements exchange.Ports.
func (w *watched) Port(number uint16) (*exchange.Port, bool) {
	p, ready := w.Engine.Port(number)
	if p == nil {
		return p, ready
	}
	c := *p
	c.Chain = nil
	if f := engine.RateLimit(p); f != nil {
		c.Chain = append(c.Chain, &explaining{Filter: f, w: w})
	}
	if f := engine.Idempotency(p); f != nil {
		c.Chain = append(c.Chain, &recording{Filter: f, w: w})
	}
	return &c, ready
}

// recording is the filter of idempotency, with a store that is in this process and
// empty.
type recording struct {
	*idempotency.Filter
	w *watched
}

// Head implements exchange.Filter.
func (f *recording) Head(x *exchange.Exchange) exchange.Verdict {
	a := f.w.asked
	e := f.Explain(x)
	a.recorded, a.seen, a.client = &e, true, x.Client
	if !e.Shadow {
		a.added = append(a.added, "idempotency-status")
	}
	return f.Filter.Head(x)
}

// explaining is a filter that keeps what it has made of the request.
type explaining struct {
	*ratelimit.Filter
	w *watched
}

// Head implements exchange.Filter.
func (f *explaining) Head(x *exchange.Exchange) exchange.Verdict {
	a := f.w.asked
	var v exchange.Verdict
	a.explanation, v = f.Explain(x, f.w.count)
	a.seen, a.client = true, x.Client
	x.Fields(func(name string, _ []byte) bool { a.added = append(a.added, name); return true })
	return v
}

// askHTTP1 reads the answer byte by byte: the order and case of fields are the data
// plane's.
func askHTTP1(_ context.Context, c net.Conn, r Request) (Response, error) {
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\n", r.Method, r.Target)
	for _, f := range r.Fields {
		fmt.Fprintf(&head, "%s: %s\r\n", f.Name, f.Value)
	}
	head.WriteString("\r\n")
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		// What was not read does not matter.
		_, _ = c.Write(head.Bytes())
	}()
	var raw bytes.Buffer
	resp, err := http.ReadResponse(bufio.NewReader(io.TeeReader(c, &raw)), &http.Request{Method: r.Method})
	if err != nil {
		return Response{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Response{}, err
	}
	out := Response{Status: resp.StatusCode, Body: string(body), proto: resp.Proto}
	lines, _, _ := strings.Cut(raw.String(), "\r\n\r\n")
	for _, line := range strings.Split(lines, "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ":")
		out.Fields = append(out.Fields, Field{name, strings.TrimSpace(value)})
	}
	_ = c.Close()
	<-sent
	return out, nil
}

func askHTTP2(ctx context.Context, c net.Conn, r Request) (Response, error) {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	used := false
	t := &http.Transport{Protocols: p, DisableCompression: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		if used {
			return nil, errors.New("the connection was closed")
		}
		used = true
		return c, nil
	}}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, r.Method, "http://application"+r.Target, nil)
	if err != nil {
		return Response{}, err
	}
	req.Host = r.value("Host")
	for _, f := range r.Fields {
		if n := http.CanonicalHeaderKey(f.Name); n != "Host" && n != "Content-Length" {
			req.Header.Add(n, f.Value)
		}
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return Response{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Response{}, err
	}
	out := Response{Status: resp.StatusCode, Body: string(body), proto: resp.Proto}
	maps.Copy(resp.Header, resp.Trailer)
	for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
		for _, v := range resp.Header[name] {
			out.Fields = append(out.Fields, Field{strings.ToLower(name), v})
		}
	}
	return out, nil
}

// application answers everything, in HTTP/1 and HTTP/2, over pipes.
type application struct {
	server *http.Server
	conns  chan net.Conn
	done   chan struct{}
}

func newApplication(a *asked) *application {
	app := &application{conns: make(chan net.Conn), done: make(chan struct{})}
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	app.server = &http.Server{Protocols: p, ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a.passed = true
		w.Header()["Date"] = nil
		w.WriteHeader(http.StatusOK)
	}), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = app.server.Serve(app) }()
	return app
}

func (a *application) dial() (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case a.conns <- there:
		return here, nil
	case <-a.done:
		return nil, net.ErrClosed
	}
}

func (a *application) close() { _ = a.server.Close() }

// Accept implements net.Listener.
func (a *application) Accept() (net.Conn, error) {
	select {
	case c := <-a.conns:
		return c, nil
	case <-a.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (a *application) Close() error {
	select {
	case <-a.done:
	default:
		close(a.done)
	}
	return nil
}

// Addr implements net.Listener.
func (a *application) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
