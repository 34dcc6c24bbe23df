// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"bytes"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

// bytesConn is a connection that has sent its bytes and takes any.
type bytesConn struct{ r io.Reader }

func (c bytesConn) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c bytesConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c bytesConn) Close() error                     { return nil }
func (c bytesConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (c bytesConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }
func (c bytesConn) SetDeadline(time.Time) error      { return nil }
func (c bytesConn) SetReadDeadline(time.Time) error  { return nil }
func (c bytesConn) SetWriteDeadline(time.Time) error { return nil }

// readOne reads the first request of raw as far as its head.
func readOne(s *Server, raw []byte) (*txn, bool) {
	c := newConn(s, bytesConn{bytes.NewReader(raw)}, Target{Port: testPort, Upstream: "10.0.0.1:80"})
	t := newTxn(s)
	t.attach(c)
	if !t.readHead() {
		return t, false
	}
	t.begin()
	_, ok := t.paths.Fill(&t.x, t.port)
	t.upgrade = t.upgradeTo()
	t.dropListed()
	return t, ok
}

// FuzzRequest: what is accepted here, net/http accepts too and reads the same,
// both as it came and as it is sent on, and it is one request.
func FuzzRequest(f *testing.F) {
	for _, test := range refused {
		f.Add([]byte(test.raw))
	}
	f.Add([]byte("POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: h\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: a, b\r\na: 1\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n"))
	f.Add([]byte("GET http://h/x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"))
	s := New(Config{Ports: chainPorts()})
	f.Cleanup(s.cancel)
	f.Fuzz(func(t *testing.T, raw []byte) {
		x, ok := readOne(s, raw)
		if !ok {
			return
		}
		theirs, err := nethttp.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			if lenient(err) {
				return
			}
			t.Fatalf("net/http refuses it: %v", err)
		}
		if string(x.target.method) != theirs.Method {
			t.Errorf("method %q, theirs %q", x.target.method, theirs.Method)
		}
		if got, want := x.body.framing == chunked, len(theirs.TransferEncoding) > 0; got != want {
			t.Errorf("chunked %v, theirs %v", got, want)
		}
		if x.body.framing == fixedLength && x.body.left != theirs.ContentLength {
			t.Errorf("length %d, theirs %d", x.body.left, theirs.ContentLength)
		}
		wantBody, wantErr := io.ReadAll(theirs.Body)

		sent := x.appendRequest(nil)
		if x.body.framing != noBody && !x.body.ended {
			p := pump{buf: make([]byte, bulk), chunked: x.body.framing == chunked}
			for !x.body.ended {
				n, err := x.body.Read(p.buf[chunkRoom : bulk-2-len(lastChunk)])
				if err != nil && !x.body.ended {
					return
				}
				sent = append(sent, p.frame(x, n, x.body.ended)...)
			}
		}
		br := bufio.NewReader(bytes.NewReader(sent))
		again, err := nethttp.ReadRequest(br)
		if err != nil {
			t.Fatalf("what is sent on is refused: %v\n%q", err, sent)
		}
		gotBody, err := io.ReadAll(again.Body)
		if err != nil || wantErr == nil && !bytes.Equal(gotBody, wantBody) {
			t.Errorf("body %q, %v; theirs %q", gotBody, err, wantBody)
		}
		if rest, _ := io.ReadAll(br); len(rest) > 0 {
			t.Errorf("more than one request is sent on: %q", rest)
		}
		if again.Method != theirs.Method || again.Host != theirs.Host && theirs.Host != "" {
			t.Errorf("%s %s is sent on, theirs %s %s", again.Method, again.Host, theirs.Method, theirs.Host)
		}
	})
}

// writeConn keeps what is written to it.
type writeConn struct {
	bytesConn
	out *bytes.Buffer
}

func (c writeConn) Write(p []byte) (int, error) { return c.out.Write(p) }

// FuzzResponse: a response that is relayed whole is, for the client, the one that
// net/http reads from the application, and nothing after it.
func FuzzResponse(f *testing.F) {
	for _, raw := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.0 200\r\n\r\nuntil close",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\noka",
	} {
		for _, head := range []bool{false, true} {
			f.Add([]byte(raw), head)
		}
	}
	s := New(Config{Ports: chainPorts(&nopFilter{})})
	f.Cleanup(s.cancel)
	f.Fuzz(func(t *testing.T, raw []byte, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		var out bytes.Buffer
		request := strings.NewReader(method + " / HTTP/1.1\r\nHost: h\r\n\r\n")
		c := newConn(s, writeConn{bytesConn{request}, &out}, Target{Port: testPort, Upstream: "10.0.0.1:80"})
		x := newTxn(s)
		x.attach(c)
		if !x.readHead() {
			t.Fatal("the request was refused")
		}
		x.begin()
		x.up.start, x.up.method, x.up.client, x.up.pool = time.Now(), []byte(method), x, s.pool(c.target.Upstream)
		x.up.br.Reset(bytes.NewReader(raw))
		if x.relay() != exchange.Replied {
			return
		}
		ask := &nethttp.Request{Method: method}
		theirs, wantErr := final(bufio.NewReader(bytes.NewReader(raw)), ask)
		br := bufio.NewReader(bytes.NewReader(out.Bytes()))
		ours, err := final(br, ask)
		if wantErr != nil {
			t.Skip("net/http reads no response")
		}
		if err != nil {
			t.Fatalf("the client cannot read it: %v\n%q", err, out.Bytes())
		}
		want, wantErr := io.ReadAll(theirs.Body)
		got, err := io.ReadAll(ours.Body)
		if ours.StatusCode != theirs.StatusCode || err != nil || wantErr == nil && !bytes.Equal(got, want) {
			t.Errorf("got %d %q, %v; want %d %q, %v", ours.StatusCode, got, err, theirs.StatusCode, want, wantErr)
		}
		if rest, _ := io.ReadAll(br); len(rest) > 0 {
			t.Errorf("more than one response: %q", rest)
		}
	})
}

// final reads responses up to the first that is not interim.
func final(br *bufio.Reader, ask *nethttp.Request) (*nethttp.Response, error) {
	for {
		resp, err := nethttp.ReadResponse(br, ask)
		if err != nil || resp.StatusCode >= 200 {
			return resp, err
		}
	}
}

// lenient are refusals of net/http that say nothing about framing.
func lenient(err error) bool {
	for _, s := range []string{"invalid URL", "parse ", "malformed Host"} {
		if strings.Contains(err.Error(), s) {
			return true
		}
	}
	return false
}

// TestHotPathDoesNotAllocate: reading a head, filling the exchange, running
// filters and building the heads of both sides.
func TestHotPathDoesNotAllocate(t *testing.T) {
	s := New(Config{Ports: chainPorts()})
	defer s.cancel()
	raw := []byte("POST /users/%34%32/pay?x=1 HTTP/1.1\r\nHost: h\r\nUser-Agent: wrk\r\nX-Client-Id: a\r\nX-Forwarded-For: 1.2.3.4\r\nContent-Length: 5\r\n\r\nhello")
	answer := []byte("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/plain\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
	in := bytes.NewReader(nil)
	c := newConn(s, bytesConn{in}, Target{Port: testPort, Upstream: "10.0.0.1:80"})
	c.deadlines = time.Now()
	x := newTxn(s)
	x.attach(c)
	up := bytes.NewReader(nil)
	run := func() {
		in.Reset(raw)
		if !x.readHead() {
			t.Fatal("refused")
		}
		x.begin()
		if _, ok := x.paths.Fill(&x.x, x.port); !ok {
			t.Fatal("refused")
		}
		x.chain.Head(&x.x, &x.progress)
		x.x.Add("RateLimit", answer[:9])
		x.out = x.appendRequest(x.out[:0])
		up.Reset(answer)
		x.up.br.Reset(up)
		if err := x.up.readHead(); err != nil {
			t.Fatal(err)
		}
		x.up.method = x.target.method
		_ = x.up.frame()
		x.chain.ResponseHead(&x.x)
		if got := x.relayFinal(); got != exchange.Replied {
			t.Fatal(got)
		}
		x.chain.End(&x.x, &x.progress, exchange.Replied)
		x.end()
	}
	f := s.cfg.Ports.(*ports).port.Chain[0].(*testFilter)
	run()
	f.outcomes, f.statuses = make([]exchange.Outcome, 0, 1000), make([]int, 0, 1000)
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

type nopFilter struct{}

func (*nopFilter) Head(*exchange.Exchange) exchange.Verdict { return exchange.Continue }
func (*nopFilter) MaxBody() int                             { return 0 }
func (*nopFilter) Body(*exchange.Exchange) exchange.Verdict { return exchange.Continue }
func (*nopFilter) ResponseHead(*exchange.Exchange)          {}
func (*nopFilter) End(*exchange.Exchange, exchange.Outcome) {}
