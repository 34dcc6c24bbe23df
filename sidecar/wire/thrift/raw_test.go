// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"bufio"
	"bytes"
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
			if test.reason == http.UpstreamTimeout {
				p.port.Timeouts = []exchange.RouteTimeout{{Prefix: "/echo", Response: 50 * time.Millisecond}}
			}
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
			patience := 20 * time.Second
			if test.hold {
				patience = 50 * time.Millisecond
			}
			_, front := proxy(t, Config{Ports: chainPorts(f), FrameBytes: 0xf80000, Timeouts: Timeouts{Sniff: patience, Head: patience},
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
