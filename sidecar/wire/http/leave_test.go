// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"
)

// leave ends a connection so that writes to it fail.
func leave(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// TestClientLeaves: whenever a client goes after its request, recorders get the
// response to its end.
func TestClientLeaves(t *testing.T) {
	big := strings.Repeat("x", 3*bulk)
	for name, test := range map[string]struct {
		linger bool // the client says FIN, not RST
		head   bool // it has got the head and a piece
		length int  // of the response, -1: chunks
		status int
	}{
		"before the head":         {status: 0, length: len(big) + 1},
		"before the head, chunks": {length: -1},
		"before the head, FIN":    {linger: true, length: len(big) + 1},
		"in the body":             {head: true, status: 200, length: len(big) + 1},
		"in the body, chunks":     {head: true, status: 200, length: -1},
		"in the body, FIN":        {head: true, linger: true, status: 200, length: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, left := make(chan struct{}), make(chan struct{})
			addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
				if test.length >= 0 {
					w.Header().Set("Content-Length", fmt.Sprint(test.length))
				}
				if test.head {
					_, _ = io.WriteString(w, "a")
					_ = nethttp.NewResponseController(w).Flush()
				}
				close(got)
				<-left
				// Time to go wrong: Weir looks once a second whether anyone is there.
				select {
				case <-r.Context().Done():
					t.Error("the application's part was ended")
				case <-time.After(pollEvery + pollEvery/2):
				}
				if !test.head {
					_, _ = io.WriteString(w, "a")
				}
				_, _ = io.WriteString(w, big)
			})
			f, w := newRecorder(), newWatcher()
			p := chainPorts(f)
			p.port.Observer = w
			_, front := proxy(t, Config{Ports: p}, addr)
			c, br := dialRaw(t, front)
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
			if test.head {
				readRawHead(br)
				for b := byte(0); b != 'a'; b, _ = br.ReadByte() {
				}
			}
			<-got
			if test.linger {
				_ = c.Close()
			} else {
				leave(c)
			}
			close(left)
			if diff := cmp.Diff([]string{"head 200 *0", "body a" + big, "end", "replied"}, <-f.ended); diff != "" {
				t.Error(diff)
			}
			r := <-w.done
			if r.Outcome != exchange.Replied || r.Aborted != abortedClientGone || test.head && r.Status != 200 {
				t.Errorf("observed %+v", r)
			}
		})
	}
}

// TestClientLeavesUnwanted: a client that goes ends the request, where recorders have
// what they want.
func TestClientLeavesUnwanted(t *testing.T) {
	for name, unwant := range map[string]func(f *recorder){
		"from the head": func(f *recorder) { f.responseHead = func(x *exchange.Exchange) { x.Record = false } },
		"from a piece":  func(f *recorder) { f.piece = func(x *exchange.Exchange, _ []byte) { x.Record = false } },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan struct{})
			addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
				defer close(ended)
				for r.Context().Err() == nil {
					_, _ = io.WriteString(w, "data: x\n\n")
					_ = nethttp.NewResponseController(w).Flush()
				}
			})
			f := newRecorder()
			unwant(f)
			_, front := proxy(t, Config{Ports: chainPorts(f)}, addr)
			c, br := dialRaw(t, front)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			for range 100 {
				_, _ = br.ReadString('\n')
			}
			leave(c)
			<-ended
			if log := <-f.ended; log[len(log)-1] != "aborted" || log[len(log)-2] == "end" {
				t.Errorf("%q", log)
			}
		})
	}
}

// TestUnwantedEnds: a recorder that wants no more of a body still sees its end before
// the client does.
func TestUnwantedEnds(t *testing.T) {
	f := newRecorder()
	f.responseHead = func(x *exchange.Exchange) { x.Record = false }
	_, front := proxy(t, Config{Ports: chainPorts(f)}, app(t, digest))
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	readResponse(t, br, "GET")
	if diff := cmp.Diff([]string{"head 200 *0", "end", "replied"}, <-f.ended); diff != "" {
		t.Error(diff)
	}
}

// TestAbandoned: what only recorders wait for is not awaited for ever.
func TestAbandoned(t *testing.T) {
	for name, test := range map[string]struct {
		trickles bool
		log      []string
	}{
		"no head": {false, []string{"sent_no_reply"}},
		"no end":  {true, []string{"aborted"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun, ended := make(chan struct{}), make(chan struct{})
			addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
				defer close(ended)
				if !test.trickles {
					close(begun)
					<-r.Context().Done()
					return
				}
				for n := 0; r.Context().Err() == nil; n++ {
					_, _ = io.WriteString(w, "x")
					_ = nethttp.NewResponseController(w).Flush()
					if n == 0 {
						close(begun)
					}
					time.Sleep(time.Millisecond)
				}
			})
			f := newRecorder()
			cfg := Config{Ports: chainPorts(f)}
			cfg.Timeouts.Stall = time.Second
			_, front := proxy(t, cfg, addr)
			c, _ := dialRaw(t, front)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			<-begun
			leave(c)
			<-ended
			log := <-f.ended
			if diff := cmp.Diff(test.log, log[len(log)-1:]); diff != "" || strings.HasPrefix(log[max(0, len(log)-2)], "end") {
				t.Errorf("%q", log)
			}
		})
	}
}

// TestUploadBreaks: what a request gets that broke off is no answer to it.
func TestUploadBreaks(t *testing.T) {
	f := newRecorder()
	_, front := proxy(t, Config{Ports: chainPorts(f)}, app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		_ = nethttp.NewResponseController(w).EnableFullDuplex()
		_, _ = io.WriteString(w, "early")
		_ = nethttp.NewResponseController(w).Flush()
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
	readRawHead(br)
	leave(c)
	if log := <-f.ended; log[len(log)-1] != "aborted" {
		t.Errorf("%q", log)
	}
}

// TestOverdue: a client whose application is late is told so, and recorders get what
// comes later.
func TestOverdue(t *testing.T) {
	const never = time.Hour
	for name, test := range map[string]struct {
		late   time.Duration
		app    string // after the client was answered; empty: never
		forget bool   // the recorder wants no more
		port   bool   // the timeout is the port's
		gone   bool   // the client has gone before
		log    []string
	}{
		"late reply":       {late: never, app: "HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello", log: []string{"overdue", "head 201 *0", "body hello", "end", "replied"}},
		"the port's":       {late: never, port: true, app: "HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello", log: []string{"overdue", "head 201 *0", "body hello", "end", "replied"}},
		"late, chunks":     {late: never, app: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n", log: []string{"overdue", "head 200 *0", "body ok", "end A=b", "replied"}},
		"late, 1xx":        {late: never, app: "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", log: []string{"overdue", "head 204 *0", "end", "replied"}},
		"late, breaks off": {late: never, app: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", log: []string{"overdue", "head 200 *0", "body hel", "aborted"}},
		"late, no HTTP":    {late: never, app: "hello\r\n\r\n", log: []string{"overdue", "sent_no_reply"}},
		"never":            {late: 50 * time.Millisecond, log: []string{"overdue", "sent_no_reply"}},
		"not awaited":      {log: []string{"overdue", "sent_no_reply"}},
		"forgotten":        {late: never, forget: true, log: []string{"overdue", "sent_no_reply"}},
		"nobody is there":  {late: never, gone: true, app: "HTTP/1.1 204 No Content\r\n\r\n", log: []string{"overdue", "head 204 *0", "end", "replied"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overdue, answered, began := make(chan struct{}), make(chan struct{}), make(chan struct{})
			addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
				readRawHead(br)
				close(began)
				<-answered
				if test.app == "" {
					_, _ = br.ReadByte()
				}
				_, _ = io.WriteString(c, test.app)
			})
			f, w := newRecorder(), newWatcher()
			f.late = test.late
			f.overdue = func(x *exchange.Exchange) {
				x.Record = !test.forget
				close(overdue)
			}
			p := chainPorts(f)
			p.port.Observer = w
			if test.port {
				p.timeout(50 * time.Millisecond)
			} else {
				f.timeout = 50 * time.Millisecond
			}
			counted := make(chan int, 10)
			_, front := proxy(t, Config{Ports: p, Metrics: Metrics{Request: func(_ uint16, _ Protocol, status int, _ time.Time) { counted <- status }}}, addr)
			c, br := dialRaw(t, front)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			if test.gone {
				<-began
				leave(c)
				<-overdue
				close(answered)
			} else {
				resp, _ := readResponse(t, br, "GET")
				closes := test.late > 0 && !test.forget
				if resp.StatusCode != 504 || resp.Close != closes {
					t.Errorf("got %d, close %v", resp.StatusCode, resp.Close)
				}
				if closes {
					if _, err := br.ReadByte(); err != io.EOF {
						t.Errorf("the connection goes on: %v", err)
					}
				}
				if status := <-counted; status != 504 {
					t.Errorf("counted as %d", status)
				}
				close(answered)
			}
			if diff := cmp.Diff(test.log, <-f.ended); diff != "" {
				t.Error(diff)
			}
			r := <-w.done
			if r.Status != 504 || r.Aborted != string(UpstreamTimeout) && !test.gone {
				t.Errorf("observed %+v", r)
			}
			if len(counted) > 0 && !test.gone {
				t.Error("counted twice")
			}
		})
	}
}

// TestShutdownOverdue: the end of the proxy does not wait for what is late longer than
// for anything else, and ends it once.
func TestShutdownOverdue(t *testing.T) {
	addr := app(t, func(_ nethttp.ResponseWriter, r *nethttp.Request) { <-r.Context().Done() })
	f := newRecorder()
	f.timeout, f.late = 10*time.Millisecond, time.Hour
	s := New(Config{Ports: chainPorts(f), Logger: slog.New(slog.DiscardHandler)})
	front, far := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.ServeConn(far, Target{Port: testPort, Upstream: addr})
	}()
	go func() { _, _ = io.WriteString(front, "GET / HTTP/1.1\r\nHost: h\r\n\r\n") }()
	if resp, _ := readResponse(t, bufio.NewReader(front), "GET"); resp.StatusCode != 504 {
		t.Errorf("got %d", resp.StatusCode)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err == nil {
		t.Error("Shutdown did not wait")
	}
	<-served
	if diff := cmp.Diff([]string{"overdue", "sent_no_reply"}, <-f.ended); diff != "" || len(f.ended) > 0 {
		t.Errorf("%s and %d more", diff, len(f.ended))
	}
}
