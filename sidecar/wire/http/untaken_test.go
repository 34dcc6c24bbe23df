// SPDX-License-Identifier: Apache-2.0

package http

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// TestUntaken: only what came to a connection that the application had closed
// before is known not to have been read.
func TestUntaken(t *testing.T) {
	const first, second = "GET /1", "GET /2"
	read := func(t *testing.T, c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, len(second))); err != nil {
			t.Error(err)
		}
	}
	for name, tc := range map[string]struct {
		// before is done before the second request is sent, after once it was.
		before, after func(*testing.T, *net.TCPConn)
		// ended: the connection's end is met, and no reset.
		ended, untaken bool
	}{
		"closed before":      {before: func(_ *testing.T, c *net.TCPConn) { _ = c.Close() }, ended: true, untaken: true},
		"half closed before": {before: func(_ *testing.T, c *net.TCPConn) { _ = c.CloseWrite() }, ended: true},
		"read and closed":    {after: func(t *testing.T, c *net.TCPConn) { read(t, c); _ = c.Close() }, ended: true},
		"read and reset": {after: func(t *testing.T, c *net.TCPConn) {
			read(t, c)
			_ = c.SetLinger(0)
			_ = c.Close()
		}},
		"closed without a look": {after: func(_ *testing.T, c *net.TCPConn) { _ = c.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			u, app := pair(t)
			_, _ = io.WriteString(u, first)
			read(t, app)
			_, _ = io.WriteString(app, "ok")
			if _, err := io.ReadFull(u, make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
			if tc.before != nil {
				tc.before(t, app)
			}
			if _, err := io.WriteString(u, second); err != nil {
				t.Fatal(err)
			}
			if tc.after != nil {
				tc.after(t, app)
			}
			_, err := u.Read(make([]byte, 1))
			if ended := errors.Is(err, io.EOF); ended != tc.ended {
				t.Fatalf("got %v, want the connection's end: %v", err, tc.ended)
			}
			if got := tc.ended && u.untaken(len(second)); got != tc.untaken {
				t.Errorf("got %v, want %v", got, tc.untaken)
			}
		})
	}
}

// pair is a connection and its application's end.
func pair(t *testing.T) (*upConn, *net.TCPConn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	app, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		_ = app.Close()
	})
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return newUpConn(c), app.(*net.TCPConn)
}

// TestResend: a request that met the end of a kept connection is sent again over
// another, whatever its method, and once.
func TestResend(t *testing.T) {
	u, app := pair(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := New(Config{Ports: chainPorts()})
	defer s.cancel()
	p := s.pool(ln.Addr().String())
	defer p.close()
	// The application closes it after Weir has looked.
	u.look = func(uintptr) { _ = app.Close() }
	p.put(u, time.Now())
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = io.ReadFull(c, make([]byte, len("POST / HTTP/1.1\r\n\r\n")))
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
	}()
	l := s.NewLeg()
	head := []byte("POST / HTTP/1.1\r\n\r\n")
	if err := l.send(nil, p, &Request{Head: head, Method: head[:4], Whole: true}); err != nil {
		t.Fatal(err)
	}
	if status, err := l.Receive(); status != 204 || err != nil {
		t.Errorf("got %d, %v", status, err)
	}
	if !l.Finish() || len(p.idle) != 1 {
		t.Errorf("%d connections are kept", len(p.idle))
	}
}
