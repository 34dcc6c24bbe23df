// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
	wire "weir.dev/weir/sidecar/wire/http"
)

// sleepy is an application that closes connections which have been idle for a time,
// as Node does after 5 s, but so soon that the proxy uses them at that moment.
type sleepy struct {
	ln   net.Listener
	idle time.Duration
	wg   sync.WaitGroup
	// seen is how often each request was read.
	mu     sync.Mutex
	seen   map[int]int
	closed atomic.Int64
}

func (s *sleepy) run() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() {
			defer c.Close()
			s.serve(c)
		})
	}
}

func (s *sleepy) serve(c net.Conn) {
	br := bufio.NewReader(c)
	for {
		_ = c.SetReadDeadline(time.Now().Add(s.idle))
		_, err := br.Peek(1)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.closed.Add(1)
		}
		if err != nil {
			return
		}
		_ = c.SetReadDeadline(time.Time{})
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		id, _ := strconv.Atoi(r.URL.Path[1:])
		s.mu.Lock()
		s.seen[id]++
		s.mu.Unlock()
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%d", len(r.URL.Path)-1, id); err != nil {
			return
		}
	}
}

type none struct{}

func (none) Head(*exchange.Exchange) exchange.Verdict { return exchange.Continue }
func (none) MaxBody() int                             { return 0 }
func (none) Body(*exchange.Exchange) exchange.Verdict { return exchange.Continue }
func (none) ResponseHead(*exchange.Exchange)          {}
func (none) End(*exchange.Exchange, exchange.Outcome) {}

type onePort struct{ port *exchange.Port }

func (p onePort) Port(uint16) (*exchange.Port, bool) { return p.port, true }
func (onePort) Ready() <-chan struct{}               { return nil }

// TestIdleClose: an application that closes idle connections at the moment of their
// reuse. No request is sent twice, and what fails says that it may have been seen.
func TestIdleClose(t *testing.T) {
	const clients = 4
	each := 500
	if *duration > time.Minute {
		each = 2500
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := &sleepy{ln: ln, idle: time.Millisecond, seen: map[int]int{}}
	app.wg.Go(app.run)
	port := &exchange.Port{Number: always, Protocol: exchange.HTTP, Chain: exchange.Chain{none{}}}
	server := wire.New(wire.Config{Ports: onePort{port}, Logger: slog.New(slog.DiscardHandler)})
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg, conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := front.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { server.ServeConn(c, wire.Target{Port: always, Upstream: ln.Addr().String()}) })
		}
	})
	var failed, unseen atomic.Int64
	for n := range clients {
		wg.Go(func() {
			c, err := net.Dial("tcp", front.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			br := bufio.NewReader(c)
			for i := range each {
				id := n*each + i
				// The proxy and the application agree about nothing but time.
				time.Sleep(app.idle - 300*time.Microsecond + time.Duration(rand.IntN(600))*time.Microsecond)
				_, _ = fmt.Fprintf(c, "POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", id)
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Errorf("request %d: %v", id, err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				app.mu.Lock()
				seen := app.seen[id]
				app.mu.Unlock()
				switch {
				case err != nil || resp.StatusCode != 200 && resp.StatusCode != 502 || seen > 1:
					t.Errorf("request %d, read %d times: %d %q, %v", id, seen, resp.StatusCode, body, err)
				case resp.StatusCode == 200 && string(body) != strconv.Itoa(id):
					t.Errorf("request %d got %q", id, body)
				case resp.StatusCode == 502:
					failed.Add(1)
					if seen == 0 {
						unseen.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	_ = front.Close()
	_ = server.Shutdown(t.Context())
	conns.Wait()
	_ = ln.Close()
	app.wg.Wait()
	t.Logf("of %d requests %d failed, %d of which the application had not read; it closed %d idle connections", clients*each, failed.Load(), unseen.Load(), app.closed.Load())
}
