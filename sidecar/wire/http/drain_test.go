// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

func TestDrain(t *testing.T) {
	f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
		if string(x.Path) == "/deny" {
			return deny(x)
		}
		return exchange.Continue
	}}
	s, front := proxy(t, Config{Ports: chainPorts(f)}, app(t, digest))
	for _, path := range []string{"/", "/deny"} {
		c, br := dialRaw(t, front)
		s.draining.Store(false)
		for _, closes := range []bool{false, true} {
			if closes {
				s.Drain()
			}
			_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n")
			if resp, _ := readResponse(t, br, "GET"); resp.Close != closes {
				t.Errorf("%s: got close %v, want %v", path, resp.Close, closes)
			}
		}
		if _, err := br.ReadByte(); err != io.EOF {
			t.Errorf("%s: after the last response: %v", path, err)
		}
	}
}

// TestShutdown: idle connections end at once, a request in flight is finished.
func TestShutdown(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		close(arrived)
		<-release
		_, _ = io.WriteString(w, "done")
	})
	s, front := proxy(t, Config{Ports: chainPorts()}, addr)
	fresh, freshReader := dialRaw(t, front)
	_ = fresh
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	<-arrived
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	if _, err := freshReader.ReadByte(); err != io.EOF {
		t.Errorf("the idle connection: %v", err)
	}
	select {
	case err := <-down:
		t.Fatalf("Shutdown did not wait: %v", err)
	default:
	}
	close(release)
	if resp, body := readResponse(t, br, "GET"); body != "done" || !resp.Close {
		t.Errorf("got %q, close %v", body, resp.Close)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	late, lateReader := dialRaw(t, front)
	_, _ = io.WriteString(late, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if b, _ := io.ReadAll(lateReader); len(b) > 0 {
		t.Errorf("served after Shutdown: %q", b)
	}
}

// TestShutdownGivesUp: what does not end in time is closed, spliced or not.
func TestShutdownGivesUp(t *testing.T) {
	for _, governed := range []bool{true, false} {
		arrived := make(chan struct{})
		addr := rawApp(t, func(_ *net.TCPConn, br *bufio.Reader) {
			readRawHead(br)
			close(arrived)
			_, _ = io.Copy(io.Discard, br)
		})
		p := chainPorts()
		if !governed {
			p.set(nil)
		}
		s, front := proxy(t, Config{Ports: p}, addr)
		c, _ := dialRaw(t, front)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		<-arrived
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("governed %v: got %v", governed, err)
		}
		if n := s.Conns(); n != 0 {
			t.Errorf("governed %v: %d connections are left", governed, n)
		}
	}
}

// TestSplice: ports without policies carry any bytes, with half-close, from
// either side first.
func TestSplice(t *testing.T) {
	addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		_, _ = io.WriteString(c, "220 I speak first\r\n")
		b, _ := io.ReadAll(br)
		_, _ = c.Write(b)
		_ = c.CloseWrite()
	})
	ports := map[string]*exchange.Port{
		"not listed":  nil,
		"no filters":  {Number: testPort},
		"opaque port": {Number: testPort, Protocol: exchange.Opaque, Chain: exchange.Chain{&testFilter{}}},
	}
	for name, port := range ports {
		t.Run(name, func(t *testing.T) {
			p := chainPorts()
			p.set(port)
			_, front := proxy(t, Config{Ports: p}, addr)
			c, br := dialRaw(t, front)
			if line, _ := br.ReadString('\n'); line != "220 I speak first\r\n" {
				t.Errorf("got %q", line)
			}
			sent := "\x16\x03\x00\x00 any bytes" + strings.Repeat("x", 1<<20)
			_, _ = io.WriteString(c, sent)
			_ = c.CloseWrite()
			if got, err := io.ReadAll(br); string(got) != sent || err != nil {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
}

func TestMissingConfig(t *testing.T) {
	addr := app(t, digest)
	get := func(t *testing.T, front string) *nethttp.Response {
		c, br := dialRaw(t, front)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, _ := readResponse(t, br, "GET")
		return resp
	}
	t.Run("denied", func(t *testing.T) {
		_, front := proxy(t, Config{Ports: &ports{ready: make(chan struct{})}, MissingConfigWait: time.Millisecond}, addr)
		resp := get(t, front)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || !resp.Close {
			t.Errorf("got %d %v", resp.StatusCode, resp.Header)
		}
	})
	t.Run("passed", func(t *testing.T) {
		_, front := proxy(t, Config{Ports: &ports{ready: make(chan struct{})}, MissingConfigWait: -1, OnMissingConfig: PassThrough}, addr)
		if resp := get(t, front); resp.StatusCode != 200 {
			t.Errorf("got %d", resp.StatusCode)
		}
	})
	t.Run("comes in time", func(t *testing.T) {
		p := &ports{ready: make(chan struct{})}
		_, front := proxy(t, Config{Ports: p, MissingConfigWait: time.Minute}, addr)
		p.set(chainPorts(&testFilter{head: deny}).port)
		time.AfterFunc(20*time.Millisecond, func() { close(p.ready) })
		if resp := get(t, front); resp.StatusCode != 403 {
			t.Errorf("got %d", resp.StatusCode)
		}
	})
}

// TestMissingConfigWaitsOnce: what the server has waited, its later connections
// do not wait again.
func TestMissingConfigWaitsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Ports: &ports{ready: make(chan struct{})}})
		for i, want := range []time.Duration{10 * time.Second, 0} {
			start := time.Now()
			(&conn{s: s}).awaitConfig()
			if got := time.Since(start); got != want {
				t.Errorf("connection %d: waited %v, want %v", i+1, got, want)
			}
		}
	})
}

// TestSwap: a new snapshot holds for the next request of an open connection.
func TestSwap(t *testing.T) {
	p := chainPorts()
	_, front := proxy(t, Config{Ports: p}, app(t, digest))
	c, br := dialRaw(t, front)
	for _, step := range []struct {
		port   *exchange.Port
		status int
	}{
		{p.port, 200},
		{&exchange.Port{Chain: exchange.Chain{&testFilter{head: deny}}}, 403},
		{nil, 200},
		{&exchange.Port{Chain: exchange.Chain{&testFilter{head: deny}}}, 403},
	} {
		p.set(step.port)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if resp, _ := readResponse(t, br, "GET"); resp.StatusCode != step.status {
			t.Errorf("got %d, want %d", resp.StatusCode, step.status)
		}
	}
}

// TestRetire: a policy that comes for a port ends the spliced connections of it
// between two requests, so that none passes by.
func TestRetire(t *testing.T) {
	p := chainPorts()
	p.set(nil)
	arrived, answer := make(chan struct{}), make(chan struct{}, 1)
	addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		arrived <- struct{}{}
		<-answer
		digest(w, r)
	})
	_, front := proxy(t, Config{Ports: p}, addr)
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	<-arrived
	p.set(chainPorts(&testFilter{head: deny}).port)
	// The request in flight is not cut off.
	time.Sleep(recheckEvery + 2*quiet)
	answer <- struct{}{}
	if resp, _ := readResponse(t, br, "GET"); resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("after it: %v", err)
	}
	c, br = dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if resp, _ := readResponse(t, br, "GET"); resp.StatusCode != 403 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestMaxConns(t *testing.T) {
	_, front := proxy(t, Config{Ports: chainPorts(), MaxConns: 1}, app(t, digest))
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	readResponse(t, br, "GET")
	_, second := dialRaw(t, front)
	if _, err := second.ReadByte(); err == nil {
		t.Error("the second connection was served")
	}
}

func TestTimeouts(t *testing.T) {
	cfg := Config{Ports: chainPorts()}
	cfg.Timeouts.Head = 50 * time.Millisecond
	_, front := proxy(t, cfg, "127.0.0.1:1")
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHo")
	if resp, _ := readResponse(t, br, "GET"); resp.StatusCode != 408 {
		t.Errorf("slow head: got %d", resp.StatusCode)
	}

	cfg = Config{Ports: chainPorts()}
	cfg.Timeouts.Idle = 50 * time.Millisecond
	_, front = proxy(t, cfg, "127.0.0.1:1")
	_, br = dialRaw(t, front)
	if b, err := io.ReadAll(br); len(b) > 0 || err != nil {
		t.Errorf("idle: got %q, %v", b, err)
	}
}
