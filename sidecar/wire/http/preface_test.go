// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

// fakeHTTP2 reads what it is given to the end and keeps it.
type fakeHTTP2 struct {
	got     chan string
	drained chan struct{}
	closed  chan struct{}
}

func (f *fakeHTTP2) ServeConn(c net.Conn, _ Target) {
	b, _ := io.ReadAll(c)
	_, _ = io.WriteString(c, "done")
	f.got <- string(b)
}
func (f *fakeHTTP2) Drain() { f.drained <- struct{}{} }
func (f *fakeHTTP2) Close() { close(f.closed) }

// The preface is found however its bytes arrive, and nothing of it is lost.
func TestPreface(t *testing.T) {
	for name, test := range map[string]struct {
		protocol exchange.Protocol
		pieces   []string
		want     string // what HTTP2 gets; empty: an answer of HTTP/1
		status   int
	}{
		"at once":           {exchange.HTTP, []string{preface + "more"}, preface + "more", 0},
		"byte by byte":      {exchange.Auto, strings.Split(preface+"more", ""), preface + "more", 0},
		"after its line":    {exchange.GRPC, []string{"PRI * HTTP/2.0\r\n\r\n", "SM\r\n\r\n"}, preface, 0},
		"h2c":               {exchange.H2C, []string{preface}, preface, 0},
		"websocket":         {exchange.WebSocket, []string{preface}, preface, 0},
		"another method":    {exchange.HTTP, []string{"P", "R", "IX / HTTP/1.1\r\nHost: h\r\n\r\n"}, "", 502},
		"broken":            {exchange.HTTP, []string{"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n"}, "", 505},
		"after a request":   {exchange.HTTP, []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n" + preface}, "", 502},
		"after empty line":  {exchange.HTTP, []string{"\r\n" + preface}, "", 505},
		"of another's port": {exchange.Thrift, []string{preface}, "", 505},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeHTTP2{got: make(chan string, 1), drained: make(chan struct{}, 9), closed: make(chan struct{})}
			ports := chainPorts()
			ports.port.Protocol = test.protocol
			s, front := proxy(t, Config{Ports: ports, HTTP2: func(*Server) HTTP2 { return f }}, "127.0.0.1:1")
			c, br := dialRaw(t, front)
			for _, p := range test.pieces {
				if _, err := io.WriteString(c, p); err != nil {
					t.Fatal(err)
				}
				if len(test.pieces) > 1 {
					time.Sleep(time.Millisecond)
				}
			}
			_ = c.CloseWrite()
			if test.want == "" {
				if resp, _ := readResponse(t, br, "GET"); resp.StatusCode != test.status {
					t.Errorf("got %d, want %d", resp.StatusCode, test.status)
				}
				return
			}
			if got := <-f.got; got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if b, _ := io.ReadAll(br); string(b) != "done" {
				t.Errorf("the client got %q", b)
			}
			s.Drain()
			<-f.drained
			_ = s.Shutdown(context.Background())
			<-f.closed
		})
	}
}

// A connection of HTTP/2 counts as one, and Shutdown ends it.
func TestPrefaceCounts(t *testing.T) {
	f := &fakeHTTP2{got: make(chan string, 1), drained: make(chan struct{}, 9), closed: make(chan struct{})}
	s, front := proxy(t, Config{Ports: chainPorts(), HTTP2: func(*Server) HTTP2 { return f }, MaxConns: 1}, "127.0.0.1:1")
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, preface)
	for s.Conns() == 0 {
		time.Sleep(time.Millisecond)
	}
	second, _ := dialRaw(t, front)
	if _, err := bufio.NewReader(second).ReadByte(); err == nil {
		t.Error("a connection above MaxConns was served")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err == nil {
		t.Error("Shutdown did not wait for the connection")
	}
	if got := <-f.got; got != preface {
		t.Errorf("got %q", got)
	}
	if _, err := br.ReadByte(); err == nil {
		t.Error("the connection is still there")
	}
}
