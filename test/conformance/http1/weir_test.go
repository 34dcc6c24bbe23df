// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/h2c"
	wire "weir.dev/weir/sidecar/wire/http"
)

const (
	containerPort = 8080
	// patience bounds what must come to an end by itself.
	patience = 30 * time.Second
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
	x.SetState(0, i)
	if r.bodies {
		return exchange.NeedBody
	}
	return exchange.Continue
}

func (r *recorder) MaxBody() int { return 1 << 20 }

func (r *recorder) Body(x *exchange.Exchange) exchange.Verdict {
	i := x.State(0).(*intent)
	i.Body, i.whole = string(x.Body), true
	return exchange.Continue
}

func (r *recorder) ResponseHead(*exchange.Exchange) {}

func (r *recorder) End(x *exchange.Exchange, o exchange.Outcome) { x.State(0).(*intent).outcome = o }

// method of the request that the nth response answers.
func (r *recorder) method(n int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n < len(r.seen) {
		return r.seen[n].Method
	}
	return http.MethodGet
}

// ports is a snapshot of one governed port.
type ports struct {
	port  exchange.Port
	ready chan struct{}
}

func governed(f exchange.Filter) *ports {
	p := &ports{ready: make(chan struct{}), port: exchange.Port{Number: containerPort, Protocol: exchange.HTTP, Chain: exchange.Chain{f}}}
	close(p.ready)
	return p
}

func (p *ports) Port(uint16) (*exchange.Port, bool) { return &p.port, true }
func (p *ports) Ready() <-chan struct{}             { return p.ready }

// received is what one connection brought, by request: a piece ends where the
// origin answered.
type received struct {
	bytes.Buffer
	pieces [][]byte
	// whole is how many of them are requests that the origin read whole.
	whole int
}

// split ends a piece. What is buffered belongs to the next.
func (r *received) split(buffered int) {
	b := r.Bytes()
	r.pieces = append(r.pieces, slices.Clone(b[:len(b)-buffered]))
	r.Next(len(b) - buffered)
}

// first is the first piece, nil where nothing came.
func (r *received) first() []byte {
	if len(r.pieces) == 0 {
		return nil
	}
	return r.pieces[0]
}

// origin is an application that keeps every byte it gets, by connection.
type origin struct {
	ln net.Listener
	wg sync.WaitGroup

	mu      sync.Mutex
	conns   []*received
	answers [][][]byte
	// answered tells when an answer of the script has been written.
	answered chan struct{}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

func newOrigin(t testing.TB, script []string) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{ln: ln, answered: make(chan struct{}, len(script))}
	for _, s := range script {
		pieces, err := unescape(s)
		if err != nil {
			t.Fatal(err)
		}
		o.answers = append(o.answers, pieces)
	}
	o.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			kept := &received{}
			o.mu.Lock()
			o.conns = append(o.conns, kept)
			o.mu.Unlock()
			o.wg.Go(func() { o.serve(c, kept) })
		}
	})
	return o
}

// serve answers requests as long as net/http can read them, and keeps the rest.
func (o *origin) serve(c net.Conn, kept *received) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	br := bufio.NewReader(io.TeeReader(c, kept))
	for {
		r, err := http.ReadRequest(br)
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		if err == nil {
			kept.split(br.Buffered())
			kept.whole++
		}
		if err != nil || !o.answer(c, r.Method) {
			_, _ = io.Copy(io.Discard, br)
			if kept.Len() > 0 {
				kept.split(0)
			}
			return
		}
	}
}

// answer writes the next answer of the script. It reports false when that ends
// the connection.
func (o *origin) answer(c net.Conn, method string) bool {
	o.mu.Lock()
	var script [][]byte
	if len(o.answers) > 0 {
		script, o.answers = o.answers[0], o.answers[1:]
	}
	o.mu.Unlock()
	if script == nil {
		body := "ok"
		if method == http.MethodHead {
			body = ""
		}
		_, err := io.WriteString(c, ok+body)
		return err == nil
	}
	defer func() { o.answered <- struct{}{} }()
	for i, p := range script {
		if i > 0 {
			time.Sleep(pause)
		}
		p, ends := bytes.CutSuffix(p, []byte("\x1a"))
		_, _ = c.Write(p)
		if ends {
			_ = c.(*net.TCPConn).CloseWrite()
			return false
		}
	}
	return true
}

// received ends the origin and returns what each connection brought. The proxy
// must have closed them.
func (o *origin) received() []*received {
	_ = o.ln.Close()
	o.wg.Wait()
	return o.conns
}

// proxied is what became of a case.
type proxied struct {
	// intents are the requests that filters saw.
	intents []*intent
	// forwarded is what the application got, by connection.
	forwarded []*received
	// statuses are those of the final responses that the client read whole or
	// in part.
	statuses []int
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
	p := &front{ln: ln, s: wire.New(wire.Config{Ports: governed(f), Logger: slog.New(slog.DiscardHandler), HTTP2: h2c.New})}
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
