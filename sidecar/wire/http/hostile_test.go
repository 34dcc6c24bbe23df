// SPDX-License-Identifier: Apache-2.0

package http

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	nethttp "net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

// hostileApp reads or not, answers early, late, in pieces, not at all, or resets.
func hostileApp(w nethttp.ResponseWriter, r *nethttp.Request) {
	switch rand.N(8) {
	case 0:
		c, _, err := nethttp.NewResponseController(w).Hijack()
		if err == nil {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
	case 1:
		w.WriteHeader(413)
	case 2:
		_, _ = io.WriteString(w, "part")
		w.(nethttp.Flusher).Flush()
		panic(nethttp.ErrAbortHandler)
	case 3:
		_, _ = io.CopyN(io.Discard, r.Body, 1000)
		_, _ = io.Copy(w, io.LimitReader(zeros{}, 300<<10))
	case 4:
		w.WriteHeader(103)
		fallthrough
	default:
		_, _ = io.Copy(w, r.Body)
	}
}

// hostileClient sends one connection's worth of requests, breaking some off.
func hostileClient(front string) {
	c, err := net.Dial("tcp", front)
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	size := []int{0, 5, 5000, 100 << 10, 400 << 10}[rand.N(5)]
	body := strings.Repeat("x", size)
	framed := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", size, body)
	if rand.N(2) == 0 {
		framed = "Transfer-Encoding: chunked\r\n\r\n"
		if size > 0 {
			framed += fmt.Sprintf("%x\r\n%s\r\n", size, body)
		}
		framed += "0\r\n\r\n"
	}
	expect := ""
	if rand.N(4) == 0 {
		expect = "Expect: 100-continue\r\n"
	}
	sent := strings.Repeat("POST /a HTTP/1.1\r\nHost: h\r\n"+expect+framed, 1+rand.N(3))
	if rand.N(3) == 0 {
		sent = sent[:rand.N(len(sent))]
	}
	go func() {
		if rand.N(4) == 0 {
			_, _ = io.CopyN(io.Discard, c, int64(rand.N(2000)))
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
	}()
	_, _ = io.WriteString(c, sent)
	if rand.N(2) == 0 {
		_ = c.(*net.TCPConn).CloseWrite()
	}
	_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	_, _ = io.Copy(io.Discard, c)
}

// balance is a filter that counts the calls it still expects.
type balance struct {
	mu    sync.Mutex
	open  int
	heads int
}

func (b *balance) Head(*exchange.Exchange) exchange.Verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open++
	b.heads++
	switch b.heads % 4 {
	case 0:
		return exchange.NeedBody
	default:
		return exchange.Continue
	}
}
func (b *balance) MaxBody() int                             { return 200 << 10 }
func (b *balance) Body(*exchange.Exchange) exchange.Verdict { return exchange.Continue }
func (b *balance) ResponseHead(*exchange.Exchange)          {}
func (b *balance) End(*exchange.Exchange, exchange.Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
}

// TestHostile: clients and an application that break off anywhere, with a new
// snapshot every millisecond, leave nothing behind: no connection, no memory of
// bodies, no filter that was not told the end.
func TestHostile(t *testing.T) {
	addr := app(t, hostileApp)
	b := &balance{}
	p := chainPorts(b)
	s, front := proxy(t, Config{Ports: p.timeout(time.Second), Timeouts: Timeouts{Stall: time.Second}}, addr)
	stop := make(chan struct{})
	var swaps, clients sync.WaitGroup
	swaps.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				p.set(&exchange.Port{Number: testPort, Protocol: exchange.HTTP, Chain: exchange.Chain{b}, Identity: &exchange.Identity{}})
			}
		}
	})
	for range 16 {
		clients.Go(func() {
			for range 25 {
				hostileClient(front)
			}
		})
	}
	clients.Wait()
	close(stop)
	swaps.Wait()
	for range 300 {
		if s.Conns() == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if n, held := s.Conns(), s.buffered.Load(); n != 0 || held != 0 {
		t.Errorf("%d connections and %d bytes of bodies are left", n, held)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open != 0 || b.heads < 300 {
		t.Errorf("of %d requests the filter was not told the end of %d", b.heads, b.open)
	}
}
