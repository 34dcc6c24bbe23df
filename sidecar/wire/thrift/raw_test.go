// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// args is a struct {1: string} in the binary protocol.
func args(value string) []byte {
	b := append([]byte{11, 0, 1}, binary.BigEndian.AppendUint32(nil, uint32(len(value)))...)
	return append(append(b, value...), 0)
}

// binaryCall is a call in the binary protocol, without frame.
func binaryCall(kind message.Type, name string, seq int32, value string) []byte {
	return append(message.AppendHead(nil, message.Binary, kind, []byte(name), seq), args(value)...)
}

func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// binaryReply is a reply {0: string}.
func binaryReply(name string, seq int32, value string) []byte {
	b := message.AppendHead(nil, message.Binary, message.Reply, []byte(name), seq)
	a := args(value)
	a[2] = 0
	return append(b, a...)
}

// rawApp serves each connection with f and returns its address.
func rawApp(t testing.TB, f func(c *net.TCPConn, br *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				f(c.(*net.TCPConn), bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String()
}

// readFrame reads a frame and returns what is in it; nil where the connection ends.
func readFrame(br *bufio.Reader) []byte {
	var n [4]byte
	if _, err := io.ReadFull(br, n[:]); err != nil {
		return nil
	}
	b := make([]byte, binary.BigEndian.Uint32(n[:]))
	if _, err := io.ReadFull(br, b); err != nil {
		return nil
	}
	return b
}

// echoApp answers framed calls with their argument; its connections are counted.
func echoApp(t testing.TB, conns *atomic.Int32) string {
	return rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		if conns != nil {
			conns.Add(1)
		}
		for {
			b := readFrame(br)
			if b == nil {
				return
			}
			_, _ = c.Write(framed(echo(b)))
		}
	})
}

// echo is the reply to a call.
func echo(b []byte) []byte {
	h, err := message.ParseHead(message.Binary, b)
	if err != nil {
		return nil
	}
	v, _, _, _ := message.Find(message.Binary, b[h.Struct:], []int16{1})
	return binaryReply(string(h.Name), h.Seq, string(v.Append(nil)))
}

// exceptionIn is the text of the framed exception in b, empty where it is none.
func exceptionIn(t testing.TB, b []byte) string {
	t.Helper()
	if len(b) < 4 {
		return ""
	}
	h, err := message.ParseHead(message.Binary, b[4:])
	if err != nil || h.Type != message.Exception {
		return ""
	}
	v, _, _, _ := message.Find(message.Binary, b[4+h.Struct:], []int16{1})
	return string(v.Append(nil))
}

// TestOutcomes: what filters are told, and what the client gets.
func TestOutcomes(t *testing.T) {
	after := func(f func(c *net.TCPConn, call []byte)) func(c *net.TCPConn, br *bufio.Reader) {
		return func(c *net.TCPConn, br *bufio.Reader) {
			if b := readFrame(br); b != nil {
				f(c, b)
			}
		}
	}
	say := func(b []byte) func(c *net.TCPConn, br *bufio.Reader) {
		return after(func(c *net.TCPConn, _ []byte) { _, _ = c.Write(b) })
	}
	reply := framed(binaryReply("echo", 7, "ok"))
	tests := map[string]struct {
		app     func(c *net.TCPConn, br *bufio.Reader)
		call    []byte
		want    []byte
		text    string
		outcome exchange.Outcome
		reason  http.UpstreamError
		closed  bool
	}{
		"replied":               {app: say(reply), want: reply, outcome: exchange.Replied},
		"nobody listens":        {text: "weir: upstream unreachable; ", outcome: exchange.NotSent, reason: http.UpstreamUnreachable},
		"closed without a word": {app: say(nil), text: "weir: upstream closed; ", outcome: exchange.SentNoReply, reason: http.UpstreamClosed},
		"reset without a word": {app: after(func(c *net.TCPConn, _ []byte) { _ = c.SetLinger(0) }), text: "weir: upstream closed; ",
			outcome: exchange.SentNoReply, reason: http.UpstreamClosed},
		"half a head":        {app: say(reply[:10]), text: "weir: upstream closed; ", outcome: exchange.SentNoReply, reason: http.UpstreamClosed},
		"half a struct":      {app: say(reply[:len(reply)-2]), want: reply[:len(reply)-2], outcome: exchange.Aborted, reason: http.UpstreamAborted, closed: true},
		"no Thrift":          {app: say([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")), text: "weir: upstream invalid response; ", outcome: exchange.SentNoReply, reason: http.UpstreamInvalid},
		"a call for a reply": {app: say(framed(binaryCall(message.Call, "echo", 7, "x"))), text: "weir: upstream invalid response; ", outcome: exchange.SentNoReply, reason: http.UpstreamInvalid},
		"without frame":      {app: say(binaryReply("echo", 7, "ok")), text: "weir: upstream invalid response; ", outcome: exchange.SentNoReply, reason: http.UpstreamInvalid},
		"another protocol":   {app: say(framed([]byte("\x82\x41\x07\x04echo\x00"))), text: "weir: upstream invalid response; ", outcome: exchange.SentNoReply, reason: http.UpstreamInvalid},
		"no reply in time": {app: after(func(c *net.TCPConn, _ []byte) { _, _ = io.Copy(io.Discard, c) }), text: "weir: upstream timeout; ",
			outcome: exchange.SentNoReply, reason: http.UpstreamTimeout},
		"a call that is too large for the application": {app: func(c *net.TCPConn, br *bufio.Reader) {
			_, _ = br.Peek(4)
			_ = c.SetLinger(0)
		}, call: framed(binaryCall(message.Call, "echo", 7, strings.Repeat("x", 8<<20))), text: "weir: upstream closed; ",
			outcome: exchange.SentNoReply, reason: http.UpstreamClosed, closed: true},
		"a struct that is none":  {app: say(reply), call: framed(append(binaryCall(message.Call, "echo", 7, "x")[:16], 99, 0, 1)), text: "weir: malformed request; ", closed: true},
		"a struct without end":   {app: say(reply), call: framed(binaryCall(message.Call, "echo", 7, "x")[:20]), text: "weir: malformed request; ", closed: true},
		"two calls in one frame": {app: say(reply), call: framed(append(binaryCall(message.Call, "echo", 7, "x"), binaryCall(message.Call, "echo", 8, "x")...)), text: "weir: malformed request; ", closed: true},
		"Finagle":                {app: say(reply), call: framed(binaryCall(message.Call, finagleUpgrade, 7, "x")), text: "weir: not supported yet; "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			addr := closedPort(t)
			if test.app != nil {
				addr = rawApp(t, test.app)
			}
			f := &stub{ended: make(chan struct{}, 1)}
			p := chainPorts(f)
			p.port.Timeouts = []exchange.RouteTimeout{{Prefix: "/echo", Response: 200 * time.Millisecond}}
			var reason atomic.Value
			reason.Store(http.UpstreamError(""))
			_, front := proxy(t, Config{Ports: p, Metrics: Metrics{UpstreamError: func(_ uint16, r http.UpstreamError) { reason.Store(r) }}}, addr)
			c := dialRaw(t, front)
			if test.call == nil {
				test.call = framed(binaryCall(message.Call, "echo", 7, "x"))
			}
			go func() { _, _ = c.Write(test.call) }()
			var got []byte
			if test.closed {
				got = endsOrReset(t, c)
			} else {
				got = make([]byte, 4)
				if _, err := io.ReadFull(c, got); err != nil {
					t.Fatal(err)
				}
				body := make([]byte, binary.BigEndian.Uint32(got))
				if _, err := io.ReadFull(c, body); err != nil {
					t.Fatal(err)
				}
				got = append(got, body...)
			}
			if text := exceptionIn(t, got); test.text == "" && !bytes.Equal(got, test.want) || !strings.HasPrefix(text, test.text) {
				t.Errorf("got %q, %q", got, text)
			}
			if test.reason == "" && test.want == nil {
				if _, n := f.last(); n > 0 {
					t.Error("the filters saw it")
				}
				return
			}
			<-f.ended
			if got, _ := f.last(); got != test.outcome {
				t.Errorf("got outcome %v, want %v", got, test.outcome)
			}
			if got := reason.Load().(http.UpstreamError); got != test.reason {
				t.Errorf("got reason %q, want %q", got, test.reason)
			}
		})
	}
}

// endsOrReset is what comes before the end, which may be a reset.
func endsOrReset(t testing.TB, c net.Conn) []byte {
	t.Helper()
	return ends(t, c)
}

// closedPort returns an address that nobody listens on.
func closedPort(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// TestRefused: what is no Thrift on a governed port ends, with not a byte for anybody.
func TestRefused(t *testing.T) {
	tests := map[string]struct {
		begin string
		hold  bool
		want  Refusal
	}{
		"TLS":                                   {"\x16\x03\x01\x02\x00\x01\x00\x01", false, RefusedTLS},
		"something else":                        {"\x05\x01\x00", false, RefusedUnknown},
		"a name without version":                {"\x00\x00\x00\x04echo\x01\x00\x00\x00\x07\x00", false, RefusedLax},
		"a frame without version":               {"\x00\x00\x00\x0e\x00\x00\x00\x04echo\x01\x00\x00\x00\x07\x00", false, RefusedLax},
		"a frame of 4 GiB":                      {"\xff\xff\xff\xff\x80\x01\x00\x01", false, RefusedUnknown},
		"a frame over the bound":                {"\x00\xfa\x00\x01\x80\x01\x00\x01", false, RefusedUnknown},
		"a frame over the port's":               {"\x00\xf9\x00\x00\x80\x01\x00\x01", false, RefusedMalformed},
		"a name of 2 GiB":                       {"\x80\x01\x00\x01\x7f\xff\xff\xff", false, RefusedMalformed},
		"a reply":                               {"\x80\x01\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x07\x00", false, RefusedMalformed},
		"a header over its frame":               {"\x00\x00\x00\x2a\x0f\xff\x00\x00\x00\x00\x00\x07\xff\xff", false, RefusedMalformed},
		"snappy":                                {"\x00\x00\x00\x2a\x0f\xff\x00\x00\x00\x00\x00\x07\x00\x01\x00\x01\x03\x00", false, RefusedUnsupported},
		"a compressed message that is too long": {"\x00\xf0\x00\x00\x0f\xff\x00\x00\x00\x00\x00\x07\x00\x01\x00\x01\x01\x00", false, RefusedUnsupported},
		"nothing that is clear":                 {"\x80", true, RefusedTimeout},
		"half a head":                           {"\x80\x01\x00\x01\x00\x00\x00\x04ec", true, RefusedTimeout},
		"half a head, and the end":              {"\x80\x01\x00\x01\x00\x00\x00\x04ec", false, RefusedMalformed},
		"SASL":                                  {"\x01\x00\x00\x00\x06GSSAPI", false, RefusedUnknown},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			app := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
				if _, err := br.ReadByte(); err == nil {
					t.Error("the application got something")
				}
			})
			why := make(chan Refusal, 10)
			f := &stub{}
			_, front := proxy(t, Config{Ports: chainPorts(f), FrameBytes: 0xf80000, Timeouts: Timeouts{Sniff: 50 * time.Millisecond, Head: 50 * time.Millisecond},
				Metrics: Metrics{Refused: func(_ uint16, r Refusal) { why <- r }}}, app)
			c := dialRaw(t, front)
			_, _ = io.WriteString(c, test.begin)
			if !test.hold {
				_ = c.CloseWrite()
			}
			if b, _ := io.ReadAll(c); len(b) > 0 {
				t.Errorf("the client got %q", b)
			}
			if got := <-why; got != test.want {
				t.Errorf("refused for %q, want %q", got, test.want)
			}
			if _, n := f.last(); n > 0 {
				t.Error("a filter saw it")
			}
		})
	}
}

// TestPipelined: calls that come together are served in order, over one connection.
func TestPipelined(t *testing.T) {
	for name, frame := range map[string]func([]byte) []byte{"framed": framed, "unframed": func(b []byte) []byte { return b }} {
		t.Run(name, func(t *testing.T) {
			var conns atomic.Int32
			addr := echoApp(t, &conns)
			if name == "unframed" {
				addr = unframedApp(t, &conns)
			}
			_, front := proxy(t, Config{Ports: chainPorts(&stub{})}, addr)
			c := dialRaw(t, front)
			var calls, want []byte
			const n = 200
			for i := range n {
				value := strings.Repeat("x", i*37)
				calls = append(calls, frame(binaryCall(message.Call, "echo", int32(i), value))...)
				want = append(want, frame(binaryReply("echo", int32(i), value))...)
			}
			go func() { _, _ = c.Write(calls) }()
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Error("the replies are others")
			}
			if conns.Load() != 1 {
				t.Errorf("%d connections", conns.Load())
			}
		})
	}
}

// unframedApp is echoApp for messages without frame.
func unframedApp(t testing.TB, conns *atomic.Int32) string {
	return rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		conns.Add(1)
		var have []byte
		buf := make([]byte, 64<<10)
		for {
			n, err := br.Read(buf)
			if err != nil {
				return
			}
			have = append(have, buf[:n]...)
			for {
				h, err := message.ParseHead(message.Binary, have)
				if err != nil {
					break
				}
				var s message.Scanner
				s.Reset(message.Binary, maxFrame)
				k, err := s.Scan(have[h.Struct:])
				if err != nil || !s.Done() {
					break
				}
				_, _ = c.Write(echo(have))
				have = have[h.Struct+k:]
			}
		}
	})
}

// TestDribble: bytes that come one by one make the same calls.
func TestDribble(t *testing.T) {
	for name, frame := range map[string]func([]byte) []byte{"framed": framed, "unframed": func(b []byte) []byte { return b }} {
		t.Run(name, func(t *testing.T) {
			var conns atomic.Int32
			addr := echoApp(t, nil)
			if name == "unframed" {
				addr = unframedApp(t, &conns)
			}
			_, front := proxy(t, Config{Ports: chainPorts(&stub{})}, addr)
			c := dialRaw(t, front)
			_ = c.SetNoDelay(true)
			call := frame(binaryCall(message.Call, "echo", 7, "hello"))
			go func() {
				for range 2 {
					for i := range call {
						_, _ = c.Write(call[i : i+1])
					}
				}
			}()
			want := frame(binaryReply("echo", 7, "hello"))
			want = append(want, want...)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// TestUnmarkedOneway: a client that goes on after a call without a reply is served, and
// a reply that comes after all is passed on.
func TestUnmarkedOneway(t *testing.T) {
	for name, late := range map[string]bool{"no reply": false, "a late reply": true} {
		t.Run(name, func(t *testing.T) {
			answer := make(chan struct{})
			app := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
				note := readFrame(br)
				call := readFrame(br)
				if call == nil {
					return
				}
				close(answer)
				if late {
					_, _ = c.Write(framed(echo(note)))
				}
				_, _ = c.Write(framed(echo(call)))
				for b := readFrame(br); b != nil; b = readFrame(br) {
					_, _ = c.Write(framed(echo(b)))
				}
			})
			f := &stub{ended: make(chan struct{}, 10)}
			results := make(chan Result, 10)
			_, front := proxy(t, Config{Ports: chainPorts(f), Metrics: Metrics{Call: func(_ uint16, _ string, r Result, _ time.Time) { results <- r }}}, app)
			c := dialRaw(t, front)
			_, _ = c.Write(framed(binaryCall(message.Call, "note", 1, "n")))
			_, _ = c.Write(framed(binaryCall(message.Call, "echo", 2, "e")))
			<-answer
			br := bufio.NewReader(c)
			if late {
				if b := readFrame(br); !bytes.Equal(b, binaryReply("note", 1, "n")) {
					t.Errorf("got %q", b)
				}
			}
			for i := range int32(3) {
				if i > 0 {
					_, _ = c.Write(framed(binaryCall(message.Call, "echo", 2+i, "e")))
				}
				if b := readFrame(br); !bytes.Equal(b, binaryReply("echo", 2+i, "e")) {
					t.Errorf("got %q", b)
				}
			}
			if a, b := <-results, <-results; a != Unanswered || b != Success {
				t.Errorf("got %v, %v", a, b)
			}
			for range 4 {
				<-f.ended
			}
			if f.outcomes[0] != exchange.SentNoReply || f.outcomes[1] != exchange.Replied {
				t.Errorf("got %v", f.outcomes)
			}
		})
	}
}

// TestOnewayOrder: what follows a oneway call reaches the application behind it, and
// nobody else's call does.
func TestOnewayOrder(t *testing.T) {
	var conns atomic.Int32
	started, goOn := make(chan struct{}, 10), make(chan struct{})
	app := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		conns.Add(1)
		for b := readFrame(br); b != nil; b = readFrame(br) {
			if h, _ := message.ParseHead(message.Binary, b); h.Type == message.Oneway {
				started <- struct{}{}
				<-goOn
				continue
			}
			_, _ = c.Write(framed(echo(b)))
		}
	})
	f := &stub{ended: make(chan struct{}, 10)}
	_, front := proxy(t, Config{Ports: chainPorts(f)}, app)
	c, other := dialRaw(t, front), dialRaw(t, front)
	_, _ = c.Write(framed(binaryCall(message.Oneway, "note", 1, "n")))
	<-started
	<-f.ended
	_, _ = other.Write(framed(binaryCall(message.Call, "echo", 1, "o")))
	if b := readFrame(bufio.NewReader(other)); !bytes.Equal(b, binaryReply("echo", 1, "o")) {
		t.Errorf("got %q", b)
	}
	_, _ = c.Write(framed(binaryCall(message.Call, "echo", 2, "e")))
	close(goOn)
	if b := readFrame(bufio.NewReader(c)); !bytes.Equal(b, binaryReply("echo", 2, "e")) {
		t.Errorf("got %q", b)
	}
	if conns.Load() != 2 {
		t.Errorf("%d connections", conns.Load())
	}
}

// TestReuse: a connection that the application has closed is noticed, and no call fails
// on it.
func TestReuse(t *testing.T) {
	var conns atomic.Int32
	closed := make(chan struct{}, 100)
	app := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		conns.Add(1)
		if b := readFrame(br); b != nil {
			_, _ = c.Write(framed(echo(b)))
			_ = c.Close()
			closed <- struct{}{}
		}
	})
	_, front := proxy(t, Config{Ports: chainPorts(&stub{})}, app)
	c := dialRaw(t, front)
	br := bufio.NewReader(c)
	for i := range int32(10) {
		_, _ = c.Write(framed(binaryCall(message.Call, "echo", i, "e")))
		if b := readFrame(br); !bytes.Equal(b, binaryReply("echo", i, "e")) {
			t.Errorf("got %q", b)
		}
		<-closed
	}
	if conns.Load() != 10 {
		t.Errorf("%d connections", conns.Load())
	}
}

// TestUnasked: an application that says more than it was asked has its connection
// closed; what it said is nobody's.
func TestUnasked(t *testing.T) {
	var conns atomic.Int32
	app := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		conns.Add(1)
		for b := readFrame(br); b != nil; b = readFrame(br) {
			_, _ = c.Write(append(framed(echo(b)), framed(binaryReply("echo", 9, "for nobody"))...))
		}
	})
	_, front := proxy(t, Config{Ports: chainPorts(&stub{})}, app)
	c := dialRaw(t, front)
	br := bufio.NewReader(c)
	for i := range int32(5) {
		_, _ = c.Write(framed(binaryCall(message.Call, "echo", i, "e")))
		if b := readFrame(br); !bytes.Equal(b, binaryReply("echo", i, "e")) {
			t.Errorf("got %q", b)
		}
	}
	if conns.Load() != 5 {
		t.Errorf("%d connections", conns.Load())
	}
}

// TestClientGone: the application's part ends when the client has left.
func TestClientGone(t *testing.T) {
	left, got := make(chan struct{}), make(chan struct{})
	app := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		readFrame(br)
		close(got)
		_, _ = io.Copy(io.Discard, c)
		close(left)
	})
	f := &stub{ended: make(chan struct{}, 1)}
	_, front := proxy(t, Config{Ports: chainPorts(f)}, app)
	c := dialRaw(t, front)
	_, _ = c.Write(framed(binaryCall(message.Call, "echo", 1, "e")))
	<-got
	_ = c.Close()
	<-left
	<-f.ended
	if o, _ := f.last(); o != exchange.SentNoReply {
		t.Errorf("got outcome %v", o)
	}
}

// TestShutdown: a connection that waits for a call ends at once, one with a call under
// way after its reply.
func TestShutdown(t *testing.T) {
	got, goOn := make(chan struct{}), make(chan struct{})
	app := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		b := readFrame(br)
		close(got)
		<-goOn
		_, _ = c.Write(framed(echo(b)))
	})
	s, front := proxy(t, Config{Ports: chainPorts(&stub{})}, app)
	quiet, busy := dialRaw(t, front), dialRaw(t, front)
	_, _ = busy.Write(framed(binaryCall(message.Call, "echo", 1, "e")))
	<-got
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	if b := ends(t, quiet); len(b) > 0 {
		t.Errorf("got %q", b)
	}
	close(goOn)
	if b := ends(t, busy); !bytes.Equal(b, framed(binaryReply("echo", 1, "e"))) {
		t.Errorf("got %q", b)
	}
	if err := <-done; err != nil || s.Conns() != 0 {
		t.Errorf("%v, %d connections", err, s.Conns())
	}
}

// TestShutdownGivesUp: a call that does not end is ended.
func TestShutdownGivesUp(t *testing.T) {
	got := make(chan struct{})
	app := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		readFrame(br)
		close(got)
		_, _ = io.Copy(io.Discard, c)
	})
	f := &stub{ended: make(chan struct{}, 1)}
	s, front := proxy(t, Config{Ports: chainPorts(f)}, app)
	c := dialRaw(t, front)
	_, _ = c.Write(framed(binaryCall(message.Call, "echo", 1, "e")))
	<-got
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); err == nil {
		t.Error("nothing was given up")
	}
	<-f.ended
	if o, _ := f.last(); o != exchange.SentNoReply {
		t.Errorf("got outcome %v", o)
	}
}

// TestDrain: who is quiet is sent away, who calls is served.
func TestDrain(t *testing.T) {
	s, front := proxy(t, Config{Ports: chainPorts(&stub{})}, echoApp(t, nil))
	quiet, busy := dialRaw(t, front), dialRaw(t, front)
	br := bufio.NewReader(busy)
	s.Drain()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, quiet)
	}()
	for n := int32(0); ; n++ {
		_, _ = busy.Write(framed(binaryCall(message.Call, "echo", n, "e")))
		if b := readFrame(br); !bytes.Equal(b, binaryReply("echo", n, "e")) {
			t.Fatalf("call %d: got %q", n, b)
		}
		select {
		case <-ended:
			return
		default:
		}
	}
}
