// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

func newCount() *atomic.Int32 { return new(atomic.Int32) }

// TestStreams: a message of 16 MB goes through, both ways, in a small part of its
// memory.
func TestStreams(t *testing.T) {
	const size = 15 << 20
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	app := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		head := binaryReply("echo", 1, "")
		head = head[:len(head)-5] // Without the length of its text, and the stop.
		for {
			var n [4]byte
			if _, err := io.ReadFull(br, n[:]); err != nil {
				return
			}
			if _, err := br.Discard(int(binary.BigEndian.Uint32(n[:]))); err != nil {
				return
			}
			_, _ = c.Write(binary.BigEndian.AppendUint32(nil, uint32(len(head)+4+size+1)))
			_, _ = c.Write(binary.BigEndian.AppendUint32(head[:len(head):len(head)], size))
			for range size / len(chunk) {
				_, _ = c.Write(chunk)
			}
			_, _ = c.Write([]byte{0})
		}
	})
	_, front := proxy(t, Config{Ports: chainPorts(&stub{})}, app)
	c := dialRaw(t, front)
	call := framed(binaryCall(message.Call, "echo", 1, strings.Repeat("x", size)))
	want := framed(binaryReply("echo", 1, strings.Repeat("x", size)))
	got := make([]byte, len(want))
	var before, after runtime.MemStats
	for i := range 2 {
		if i == 1 {
			runtime.ReadMemStats(&before)
		}
		go func() { _, _ = c.Write(call) }()
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if !bytes.Equal(got, want) {
		t.Error("the reply is another")
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > size/10 {
		t.Errorf("%d bytes were allocated for a message of %d", n, size)
	}
}

// TestAllocs: a call that is let through allocates nothing.
func TestAllocs(t *testing.T) {
	if race {
		t.Skip("the race detector allocates")
	}
	f := &nop{path: []int16{1}}
	_, front := proxy(t, Config{Ports: chainPorts(f), Names: func(uint16) map[string]string { return map[string]string{"echo": "echo"} }}, cannedApp(t))
	c := dialRaw(t, front)
	call, reply := framed(binaryCall(message.Call, "echo", 1, "hello")), make([]byte, len(framed(binaryReply("echo", 1, "hello"))))
	n := testing.AllocsPerRun(500, func() {
		if _, err := c.Write(call); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, reply); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0.5 {
		t.Errorf("%v allocations for each call", n)
	}
}

// nop reads a field and lets calls pass.
type nop struct{ path []int16 }

func (f *nop) Head(x *exchange.Exchange) exchange.Verdict {
	if v, state := x.Call.Args.Field(f.path); state != exchange.FieldFound || len(v) == 0 {
		return exchange.NeedBody
	}
	return exchange.Continue
}
func (*nop) MaxBody() int                             { return 0 }
func (*nop) Body(*exchange.Exchange) exchange.Verdict { return exchange.Continue }
func (*nop) ResponseHead(*exchange.Exchange)          {}
func (*nop) End(*exchange.Exchange, exchange.Outcome) {}

// cannedApp answers each call of 512 bytes at the most with the same reply.
func cannedApp(t testing.TB) string {
	reply := framed(binaryReply("echo", 1, "hello"))
	return rawApp(t, func(c *net.TCPConn, _ *bufio.Reader) {
		buf := make([]byte, 64<<10)
		n := 0
		for {
			k, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			for n += k; n >= 4; {
				size := 4 + int(binary.BigEndian.Uint32(buf))
				if n < size {
					break
				}
				n = copy(buf, buf[size:n])
				if _, err := c.Write(reply); err != nil {
					return
				}
			}
		}
	})
}

// BenchmarkCall is a framed binary call from a client on loopback through a Server to an
// application, both of them as cheap as they can be, and through what does nothing but
// pass frames on: the floor.
func BenchmarkCall(b *testing.B) {
	for name, front := range map[string]func() string{
		"weir": func() string {
			_, front := proxy(b, Config{Ports: chainPorts(&nop{path: []int16{1}})}, cannedApp(b))
			return front
		},
		"floor":  func() string { return forwarder(b, cannedApp(b)) },
		"direct": func() string { return cannedApp(b) },
	} {
		b.Run(name, func(b *testing.B) {
			c, err := net.Dial("tcp", front())
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			call, reply := framed(binaryCall(message.Call, "echo", 1, "hello")), make([]byte, len(framed(binaryReply("echo", 1, "hello"))))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(call); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, reply); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// forwarder reads frames and writes them, one after the other.
func forwarder(b *testing.B, upstream string) string {
	return rawApp(b, func(c *net.TCPConn, br *bufio.Reader) {
		up, err := net.Dial("tcp", upstream)
		if err != nil {
			return
		}
		defer func() { _ = up.Close() }()
		back := bufio.NewReader(up)
		buf := make([]byte, 64<<10)
		pass := func(from *bufio.Reader, to net.Conn) bool {
			if _, err := io.ReadFull(from, buf[:4]); err != nil {
				return false
			}
			n := int(binary.BigEndian.Uint32(buf))
			if _, err := io.ReadFull(from, buf[4:4+n]); err != nil {
				return false
			}
			_, err := to.Write(buf[:4+n])
			return err == nil
		}
		for pass(br, up) && pass(back, c) {
		}
	})
}

// TestCounted: calls are counted by configured names, all others as one.
func TestCounted(t *testing.T) {
	type counted struct {
		method string
		result Result
	}
	got := make(chan counted, 10)
	_, front := proxy(t, Config{Ports: chainPorts(&stub{}), Names: func(uint16) map[string]string {
		return map[string]string{"svc:echo": "svc:echo", "plain": "plain"}
	}, Metrics: Metrics{Call: func(_ uint16, method string, result Result, start time.Time) {
		if start.IsZero() {
			t.Error("no start")
		}
		got <- counted{method, result}
	}}}, echoApp(t, nil))
	c := dialRaw(t, front)
	br := bufio.NewReader(c)
	for name, want := range map[string]string{"svc:echo": "svc:echo", "plain": "plain", "svc:plain": "plain", "echo": Other, "svc:other": Other} {
		_, _ = c.Write(framed(binaryCall(message.Call, name, 1, "x")))
		readFrame(br)
		if g := <-got; g != (counted{want, Success}) {
			t.Errorf("%s: got %v", name, g)
		}
	}
}

// TestPanic: a filter that panics ends its connection and no other, and the filters are
// told.
func TestPanic(t *testing.T) {
	f := &stub{ended: make(chan struct{}, 2)}
	f.head = func(x *exchange.Exchange) exchange.Verdict {
		if string(x.Call.Method) == "panic" {
			panic("as it was asked to")
		}
		return exchange.Continue
	}
	_, front := proxy(t, Config{Ports: chainPorts(f)}, echoApp(t, nil))
	c, other := dialRaw(t, front), dialRaw(t, front)
	_, _ = c.Write(framed(binaryCall(message.Call, "panic", 1, "x")))
	if b := ends(t, c); len(b) > 0 {
		t.Errorf("got %q", b)
	}
	<-f.ended
	_, _ = other.Write(framed(binaryCall(message.Call, "echo", 1, "x")))
	if b := readFrame(bufio.NewReader(other)); !bytes.Equal(b, binaryReply("echo", 1, "x")) {
		t.Errorf("got %q", b)
	}
}

// TestFull: one connection more than there may be ends at once.
func TestFull(t *testing.T) {
	refused := make(chan Refusal, 1)
	s, front := proxy(t, Config{Ports: chainPorts(&stub{}), MaxConns: 1, Metrics: Metrics{Refused: func(_ uint16, r Refusal) { refused <- r }}}, echoApp(t, nil))
	first := dialRaw(t, front)
	_, _ = first.Write(framed(binaryCall(message.Call, "echo", 1, "x")))
	readFrame(bufio.NewReader(first))
	if b := ends(t, dialRaw(t, front)); len(b) > 0 || <-refused != RefusedFull {
		t.Errorf("got %q", b)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
