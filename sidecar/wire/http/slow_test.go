// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

// TestSlowUpload: a body that takes longer than Stall, though it never stalls,
// does not cost the client its response.
func TestSlowUpload(t *testing.T) {
	t.Parallel()
	addr := app(t, digest)
	_, front := proxy(t, Config{Ports: chainPorts(), Timeouts: Timeouts{Stall: 1500 * time.Millisecond}}, addr)
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
	for range 8 {
		time.Sleep(300 * time.Millisecond)
		_, _ = io.WriteString(c, "5\r\nhello\r\n")
	}
	_, _ = io.WriteString(c, "0\r\n\r\n")
	resp, body := readResponse(t, br, "POST")
	if want := digestOf([]byte(strings.Repeat("hello", 8))); resp.StatusCode != 200 || !strings.HasPrefix(body, want) {
		t.Errorf("got %d %s, want %s", resp.StatusCode, body, want)
	}
}

// TestSlowBufferedUpload: the same for a body that a filter reads.
func TestSlowBufferedUpload(t *testing.T) {
	t.Parallel()
	f := &testFilter{head: verdict(exchange.NeedBody), maxBody: 100}
	_, front := proxy(t, Config{Ports: chainPorts(f), Timeouts: Timeouts{Stall: 600 * time.Millisecond}}, app(t, digest))
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n")
	for range 8 {
		time.Sleep(150 * time.Millisecond)
		_, _ = io.WriteString(c, "x")
	}
	if resp, body := readResponse(t, br, "POST"); resp.StatusCode != 200 {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}

// TestQuietResponse: a response that pauses longer than Stall, such as events that
// are rare, goes on afterwards.
func TestQuietResponse(t *testing.T) {
	t.Parallel()
	addr := app(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		_, _ = io.WriteString(w, "one ")
		w.(nethttp.Flusher).Flush()
		time.Sleep(2500 * time.Millisecond)
		_, _ = io.WriteString(w, "two")
	})
	_, front := proxy(t, Config{Ports: chainPorts(), Timeouts: Timeouts{Stall: 1500 * time.Millisecond}}, addr)
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
	if _, body := readResponse(t, br, "GET"); body != "one two" {
		t.Errorf("got %q", body)
	}
}

// TestEmptyLines: who sends empty lines and no request is held to the time that a
// head may take.
func TestEmptyLines(t *testing.T) {
	for name, sent := range map[string]string{"a line": "\r\n", "half a line": "\r"} {
		t.Run(name, func(t *testing.T) {
			_, front := proxy(t, Config{Ports: chainPorts(), Timeouts: Timeouts{Head: 50 * time.Millisecond}}, "127.0.0.1:1")
			c, _ := dialRaw(t, front)
			_, _ = io.WriteString(c, sent)
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Errorf("the connection was kept: %v", err)
			}
		})
	}
}

// TestStuckApplication: an application that does not take a body that a filter has
// read costs the time of a stall, not for ever.
func TestStuckApplication(t *testing.T) {
	done := make(chan struct{})
	addr := rawApp(t, func(c *net.TCPConn, _ *bufio.Reader) { <-done })
	defer close(done)
	const size = 32 << 20
	f := &testFilter{head: verdict(exchange.NeedBody), maxBody: size, ended: make(chan struct{}, 1)}
	_, front := proxy(t, Config{Ports: chainPorts(f).timeout(200 * time.Millisecond), Timeouts: Timeouts{Stall: time.Second}}, addr)
	c, br := dialRaw(t, front)
	go func() {
		_, _ = io.WriteString(c, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 33554432\r\n\r\n")
		_, _ = io.Copy(c, io.LimitReader(zeros{}, size))
	}()
	resp, _ := readResponse(t, br, "POST")
	<-f.ended
	if resp.StatusCode < 502 {
		t.Errorf("got %d", resp.StatusCode)
	}
}
