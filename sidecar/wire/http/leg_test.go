// SPDX-License-Identifier: Apache-2.0

package http

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

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

// TestClosedWhenUsed: a request that met a connection which the application had
// closed, or closes, is not sent again once a byte of it was written, whatever its
// kernel says of it: an application may have closed one side only, read it, and have
// ended before it was acknowledged.
func TestClosedWhenUsed(t *testing.T) {
	const head = "POST / HTTP/1.1\r\n\r\n"
	for name, end := range map[string]func(*net.TCPConn){
		"closed": func(c *net.TCPConn) { _ = c.Close() },
		"half closed, read and reset": func(c *net.TCPConn) {
			_ = c.CloseWrite()
			go func() {
				_, _ = io.ReadFull(c, make([]byte, len(head)))
				_ = c.SetLinger(0)
				_ = c.Close()
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			u, app := pair(t)
			s := New(Config{Ports: chainPorts(), Dial: func(context.Context, string, string) (net.Conn, error) {
				t.Error("there is another connection")
				return nil, net.ErrClosed
			}})
			defer s.cancel()
			p := s.pool("app")
			defer p.close()
			// After Weir has looked.
			u.look = func(uintptr) { end(app) }
			p.put(u, time.Now())
			l := s.NewLeg()
			if err := l.send(nil, p, &Request{Head: []byte(head), Method: []byte("POST"), Whole: true}); err != nil {
				t.Fatal(err)
			}
			_, err := l.Receive()
			if f := l.Fail(err); f.Reason != UpstreamClosed {
				t.Errorf("got %v, %+v", err, f)
			}
		})
	}
}

// TestInterrupt: whoever waits for the application stops at once, and the next
// request is none of its business.
func TestInterrupt(t *testing.T) {
	u, app := pair(t)
	s := New(Config{Ports: chainPorts()})
	defer s.cancel()
	p := s.pool("app")
	defer p.close()
	p.put(u, time.Now())
	l := s.NewLeg()
	go func() {
		_, _ = io.ReadFull(app, make([]byte, 1))
		l.Interrupt()
	}()
	if err := l.Send(patient{}, "app", &Request{Head: []byte("GET / HTTP/1.1\r\n\r\n"), Method: []byte("GET"), Whole: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Receive(); !errors.Is(err, ErrClientGone) {
		t.Errorf("got %v", err)
	}
	l.Break()
	l.Finish()
	u, app = pair(t)
	p.put(u, time.Now())
	if err := l.Send(patient{}, "app", &Request{Head: []byte("GET / HTTP/1.1\r\n\r\n"), Method: []byte("GET"), Whole: true}); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(app, "HTTP/1.1 204 No Content\r\n\r\n")
	if status, err := l.Receive(); status != 204 {
		t.Errorf("got %d, %v", status, err)
	}
	l.Finish()
}

// patient is a client that stays.
type patient struct{}

func (patient) ReadBody([]byte) (int, error)     { return 0, io.EOF }
func (patient) AppendTrailers(dst []byte) []byte { return dst }
func (patient) ExtendRead(time.Time)             {}
func (patient) ExtendWrite(time.Time)            {}
func (patient) Gone() bool                       { return false }
