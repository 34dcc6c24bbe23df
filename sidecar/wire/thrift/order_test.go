// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

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
