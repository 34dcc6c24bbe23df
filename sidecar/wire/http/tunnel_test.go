// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

const (
	ask    = "GET /chat HTTP/1.1\r\nHost: h\r\nconnection: keep-alive, Upgrade\r\nUPGRADE: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
	agreed = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\n"
)

// echoApp agrees to every Upgrade and sends back what it gets, in upper case.
func echoApp(t testing.TB) string {
	return rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		_ = c.SetDeadline(time.Time{})
		if readRawHead(br) == "" {
			return
		}
		_, _ = io.WriteString(c, agreed+"hi ")
		buf := make([]byte, 1024)
		for {
			n, err := br.Read(buf)
			_, _ = io.WriteString(c, strings.ToUpper(string(buf[:n])))
			if err != nil {
				_, _ = io.WriteString(c, " bye")
				return
			}
		}
	})
}

// TestTunnel: bytes go both ways after 101, those that came before it too, and
// each side may end its own. It is one request.
func TestTunnel(t *testing.T) {
	statuses := make(chan int, 10)
	f := &testFilter{ended: make(chan struct{}, 1)}
	w := newWatcher()
	p := chainPorts(f)
	p.port.Observer = w
	cfg := Config{Ports: p, Metrics: Metrics{Request: func(_ uint16, _ Protocol, status int, _ time.Time) { statuses <- status }}}
	_, front := proxy(t, cfg, echoApp(t))
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, ask+"early ")
	if got := readRawHead(br); got != strings.Replace(agreed, "Upgrade: websocket\r\nConnection: Upgrade\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n", 1) {
		t.Errorf("got %s", got)
	}
	if got := <-statuses; got != 101 {
		t.Errorf("counted as %d", got)
	}
	if n := len(f.told()); n != 0 {
		t.Error("the filter was told of an end before the end")
	}
	// No request of HTTP, whatever it looks like.
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
	_ = c.CloseWrite()
	if got, _ := io.ReadAll(br); string(got) != "hi EARLY GET / HTTP/1.1\r\n\r\n bye" {
		t.Errorf("got %q", got)
	}
	<-f.ended
	if got := f.told(); len(got) != 1 || got[0] != exchange.Replied || f.statuses[0] != 101 {
		t.Errorf("got outcomes %v, %v", got, f.statuses)
	}
	<-w.seen
	r := <-w.done
	if r.Status != 101 || r.RequestBytes != 24 || r.ResponseBytes != 31 || r.Upstream <= 0 || r.Aborted != "" {
		t.Errorf("got record %+v", r)
	}
	if len(statuses) > 0 {
		t.Error("counted twice")
	}
}

// TestUpgradeForwarded: what the application gets of Upgrade and Connection.
func TestUpgradeForwarded(t *testing.T) {
	for name, test := range map[string]struct{ sent, want string }{
		"asked":              {"Connection: upgrade, X-Hop\r\nX-Hop: 1\r\nUpgrade: WebSocket\r\n", "Connection: Upgrade\r\nUpgrade: WebSocket\r\n"},
		"any protocol":       {"Upgrade: foo\r\nConnection: Upgrade\r\n", "Connection: Upgrade\r\nUpgrade: foo\r\n"},
		"two Connections":    {"Connection: close\r\nConnection: Upgrade\r\nUpgrade: foo\r\n", "Connection: Upgrade\r\nUpgrade: foo\r\n"},
		"not listed":         {"Upgrade: websocket\r\n", ""},
		"listed by another":  {"Connection: keep-alive\r\nUpgrade: websocket\r\n", ""},
		"h2c":                {"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: H2C\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n", ""},
		"settings alone":     {"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n", ""},
		"two protocols":      {"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n", ""},
		"two Upgrades":       {"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", ""},
		"no token":           {"Connection: Upgrade\r\nUpgrade: web socket\r\n", ""},
		"TLS/1.0":            {"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n", ""},
		"empty":              {"Connection: Upgrade\r\nUpgrade:\r\n", ""},
		"listed, not there":  {"Connection: Upgrade\r\n", ""},
		"Connection is last": {"Upgrade: websocket\r\nSec-WebSocket-Key: x\r\nConnection: Upgrade\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, version := range []string{"1.1", "1.0"} {
				heads := make(chan string, 1)
				addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
					heads <- readRawHead(br)
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nok")
				})
				_, front := proxy(t, Config{Ports: chainPorts()}, addr)
				c, br := dialRaw(t, front)
				_, _ = io.WriteString(c, "GET / HTTP/"+version+"\r\nHost: h\r\n"+test.sent+"\r\n")
				if resp, body := readResponse(t, br, "GET"); body != "ok" || resp.Header.Get("Upgrade") != "" {
					t.Errorf("got %q %v", body, resp.Header)
				}
				want := "GET / HTTP/1.1\r\nHost: h\r\n" + test.want + "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\r\n"
				if version == "1.0" {
					want = strings.Replace(want, test.want, strings.Replace(test.want, "Connection: Upgrade\r\nUpgrade: ", "Gone: ", 1), 1)
					want = strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(want, "Gone: websocket\r\n", ""), "Gone: WebSocket\r\n", ""), "Gone: foo\r\n", "")
				}
				if got := <-heads; got != want {
					t.Errorf("HTTP/%s: the application got %q, want %q", version, got, want)
				}
			}
		})
	}
}

// TestUpgradeRefused: after an Upgrade that the application does not take, HTTP
// goes on: what the client has sent meanwhile is its next request, for filters too
// (CVE-2019-18277 and the WebSocket smuggling of 2019 went by here).
func TestUpgradeRefused(t *testing.T) {
	for name, answer := range map[string]string{
		"ignored":         "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"not allowed":     "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno",
		"other version":   "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
		"chunked":         "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
		"after Continue":  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"Switched? no":    "HTTP/1.1 200 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
		"unasked":         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\n",
		"without Upgrade": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
		"HTTP/1.0":        "HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
		"not listed":      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
	} {
		for _, body := range []string{"", "Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"} {
			t.Run(fmt.Sprintf("%s/%.8s", name, body), func(t *testing.T) {
				var requests []string
				served := make(chan string, 4)
				addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
					for {
						head := readRawHead(br)
						if head == "" {
							return
						}
						if strings.HasPrefix(head, "GET /chat") {
							if body != "" {
								_, _ = io.CopyN(io.Discard, br, int64(len(body)-strings.Index(body, "\r\n\r\n")-4))
							}
							served <- "/chat"
							_, _ = io.WriteString(c, answer)
							continue
						}
						served <- head[:strings.Index(head, " HTTP")]
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					}
				})
				var secret bool
				f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
					requests = append(requests, string(x.Path))
					if string(x.Path) == "/secret" {
						secret = true
						return deny(x)
					}
					return exchange.Continue
				}}
				_, front := proxy(t, Config{Ports: chainPorts(f)}, addr)
				c, br := dialRaw(t, front)
				request := ask
				if body != "" {
					request = strings.TrimSuffix(ask, "\r\n") + body
				}
				_, _ = io.WriteString(c, request+"GET /secret HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
				if strings.Contains(answer, "100 Continue") {
					readRawHead(br)
				}
				resp, _ := readResponse(t, br, "GET")
				if switched := strings.HasPrefix(answer, "HTTP/1.1 101"); switched && resp.StatusCode != 502 || !switched && resp.StatusCode < 200 {
					t.Errorf("got %d", resp.StatusCode)
				}
				if resp, _ := readResponse(t, br, "GET"); resp.StatusCode != 403 || !secret {
					t.Errorf("the next request: got %d; filters saw %v", resp.StatusCode, requests)
				}
				if got := <-served; got != "/chat" || len(served) > 0 {
					t.Errorf("the application saw %s and %d more", got, len(served))
				}
			})
		}
	}
}

// TestUpgradeDenied: filters come before it, with a body and without.
func TestUpgradeDenied(t *testing.T) {
	_, front := proxy(t, Config{Ports: chainPorts(&testFilter{head: deny})}, "127.0.0.1:1")
	c, br := dialRaw(t, front)
	for range 2 {
		_, _ = io.WriteString(c, ask)
		if resp, _ := readResponse(t, br, "GET"); resp.StatusCode != 403 || resp.Close {
			t.Errorf("got %d, close %v", resp.StatusCode, resp.Close)
		}
	}
}

// TestUpgradeWithBufferedBody: a filter that reads bodies reads this one's, and the
// tunnel opens all the same.
func TestUpgradeWithBufferedBody(t *testing.T) {
	f := &testFilter{head: verdict(exchange.NeedBody), maxBody: 10}
	_, front := proxy(t, Config{Ports: chainPorts(f)}, echoApp(t))
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, strings.TrimSuffix(ask, "\r\n")+"Content-Length: 3\r\n\r\nabctunnel")
	readRawHead(br)
	_ = c.CloseWrite()
	if got, _ := io.ReadAll(br); string(got) != "hi ABCTUNNEL bye" {
		t.Errorf("got %q", got)
	}
}

// TestTunnelSurvives: a snapshot that is swapped, a policy that comes, and Drain
// leave a tunnel alone; Shutdown ends it with its context.
func TestTunnelSurvives(t *testing.T) {
	f := &testFilter{ended: make(chan struct{}, 1)}
	p := chainPorts(f)
	s, front := proxy(t, Config{Ports: p}, echoApp(t))
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, ask)
	readRawHead(br)
	say := func(word, want string) {
		t.Helper()
		_, _ = io.WriteString(c, word)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(br, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	say("a", "hi A")
	p.set(nil)
	say("b", "B")
	p.set(&exchange.Port{Number: testPort, Chain: exchange.Chain{&testFilter{head: deny}}})
	say("c", "C")
	s.Drain()
	say("d", "D")
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	ended := make(chan error)
	go func() { ended <- s.Shutdown(ctx) }()
	say("e", "E")
	if err := <-ended; err == nil {
		t.Error("Shutdown did not wait")
	}
	<-f.ended
	if f.told()[0] != exchange.Replied {
		t.Errorf("got %v", f.told())
	}
}

// TestTunnelIdle: a tunnel on which nothing moves ends, one on which something
// does goes on.
func TestTunnelIdle(t *testing.T) {
	_, front := proxy(t, Config{Ports: chainPorts(), Timeouts: Timeouts{Idle: 400 * time.Millisecond}}, echoApp(t))
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, ask)
	readRawHead(br)
	_, _ = io.ReadFull(br, make([]byte, len("hi ")))
	for range 8 {
		_, _ = io.WriteString(c, "x")
		if b, err := br.ReadByte(); b != 'X' {
			t.Fatalf("got %q, %v", b, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if _, err := br.ReadByte(); err == nil {
		t.Error("something came")
	}
}

// TestTunnelMemory: an idle tunnel costs its goroutines and not buffers.
func TestTunnelMemory(t *testing.T) {
	const tunnels = 200
	addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		readRawHead(br)
		_, _ = io.WriteString(c, agreed)
		_, _ = br.ReadByte()
	})
	_, front := proxy(t, Config{Ports: chainPorts()}, addr)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range tunnels {
		c, br := dialRaw(t, front)
		_, _ = io.WriteString(c, ask)
		readRawHead(br)
	}
	// Client and application of the test hold 4 KiB each.
	if each := int64(heap()-before) / tunnels; each > 20<<10 {
		t.Errorf("%d bytes for each tunnel", each)
	} else {
		t.Logf("%d bytes for each tunnel and the test's own", each)
	}
}
