// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"bytes"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is two ends of a connection.
func pair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = d.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_ = d.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

func raw(t *testing.T, c *net.TCPConn) syscall.RawConn {
	t.Helper()
	r, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSocket: what is written is read, in pieces larger than the kernel takes at once,
// and then the end.
func TestSocket(t *testing.T) {
	a, b := pair(t)
	var in, out Socket
	in.Attach(b, raw(t, b))
	out.Attach(a, raw(t, a))
	want := bytes.Repeat([]byte("0123456789"), 500_000)
	go func() {
		if n, err := out.Write(want); n != len(want) || err != nil {
			t.Errorf("%d bytes written, %v", n, err)
		}
		_ = a.CloseWrite()
	}()
	if got, err := io.ReadAll(&in); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes read, %v", len(got), err)
	}
	_ = b.SetReadDeadline(time.Unix(1, 0))
	if _, err := in.Read(make([]byte, 1)); err == nil {
		t.Error("a read after its deadline has worked")
	}
}

// TestWaiter: a wait ends when something comes, and tells an end from that.
func TestWaiter(t *testing.T) {
	a, b := pair(t)
	w := NewWaiter(raw(t, b))
	if s := w.Look(); s != Quiet {
		t.Errorf("nothing has come: %v", s)
	}
	go func() { _, _ = a.Write([]byte("x")) }()
	if !w.Wait() || w.Look() != Readable || w.First() != 'x' {
		t.Errorf("one byte has come: %v, %q", w.Look(), w.First())
	}
	if _, err := b.Read(make([]byte, 1)); err != nil || w.Look() != Quiet {
		t.Errorf("it was read: %v, %v", w.Look(), err)
	}
	_ = a.Close()
	w.Wait()
	if w.Look() != Gone || w.Wait() {
		t.Error("the end was not seen")
	}
	_ = b.Close()
	if w.Look() != Gone {
		t.Error("the own end was not seen")
	}
}

// TestPool hands out the connection used last, and none that is bad.
func TestPool(t *testing.T) {
	p := NewPool(time.Minute)
	defer p.Close()
	now := time.Now()
	if p.Get(now) != nil {
		t.Error("something in nothing")
	}
	var conns, ends []*Conn
	for range 4 {
		a, b := pair(t)
		conns, ends = append(conns, NewConn(a)), append(ends, NewConn(b))
		p.Put(conns[len(conns)-1], now)
	}
	_ = ends[3].Close()
	w := NewWaiter(raw(t, conns[3].Conn.(*net.TCPConn)))
	w.Wait()
	_, _ = ends[2].Write([]byte("unasked"))
	NewWaiter(raw(t, conns[2].Conn.(*net.TCPConn))).Wait()
	if got := p.Get(now); got != conns[1] {
		t.Error("not the last that is good")
	}
	if got := p.Get(now.Add(2 * time.Minute)); got != nil {
		t.Error("one that was idle too long")
	}
	p.Put(conns[1], now)
	p.Close()
	if _, err := conns[1].Conn.Write([]byte("x")); err == nil {
		t.Error("the pool was closed, its connection was not")
	}
}

// TestPoolSweep: idle connections are closed when their time is over, and not before.
func TestPoolSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(4 * time.Second)
		near, far := net.Pipe()
		ended := make(chan time.Time, 1)
		go func() {
			_, _ = io.Copy(io.Discard, far)
			ended <- time.Now()
		}()
		start := time.Now()
		p.Put(NewConn(near), start)
		if d := (<-ended).Sub(start); d != 4*time.Second {
			t.Errorf("it was closed after %v", d)
		}
		if p.Get(time.Now()) != nil {
			t.Error("and handed out")
		}
		p.Close()
	})
}
