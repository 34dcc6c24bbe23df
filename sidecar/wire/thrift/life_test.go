// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

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

// TestDrain: who is quiet is sent away, whose call is under way is served.
func TestDrain(t *testing.T) {
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
	s.Drain()
	if b := ends(t, quiet); len(b) > 0 || !s.Draining() {
		t.Errorf("got %q", b)
	}
	close(goOn)
	if b := readFrame(bufio.NewReader(busy)); !bytes.Equal(b, binaryReply("echo", 1, "e")) {
		t.Errorf("got %q", b)
	}
	if b := ends(t, busy); len(b) > 0 {
		t.Errorf("got %q", b)
	}
}
