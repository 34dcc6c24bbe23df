// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// still waits until n has not changed for a while.
func still(n *atomic.Int64) int64 {
	last, since := n.Load(), time.Now()
	for time.Since(since) < 150*time.Millisecond {
		time.Sleep(5 * time.Millisecond)
		if now := n.Load(); now != last {
			last, since = now, time.Now()
		}
	}
	return last
}

// A client that does not read stops the application, and no other stream.
func TestSlowReader(t *testing.T) { both(t, testSlowReader) }

func testSlowReader(t *testing.T, protocol exchange.Protocol) {
	var written atomic.Int64
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/quick" {
			return
		}
		piece := make([]byte, 16<<10)
		for {
			n, err := w.Write(piece)
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	f := &testFilter{ended: make(chan struct{}, 9)}
	_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol, f)}, addr)
	r := dialRaw(t, front)
	r.headers(1, true, request("/endless")...)
	most := int64(originWindow + 64<<10 + 2*bulk + 256<<10)
	if protocol == exchange.HTTP {
		// What the kernel holds of a connection.
		most += 8 << 20
	}
	if got := still(&written); got > most {
		t.Errorf("the application has written %d bytes that nobody reads, want at most %d", got, most)
	}
	// One that reads, over the same connections.
	r.headers(3, true, request("/quick")...)
	if status, _ := r.answer(3); status != "200" {
		t.Errorf("the other stream: %s", status)
	}
	<-f.ended
	before := written.Load()
	_ = r.WriteWindowUpdate(1, 64<<20)
	for written.Load() < before+512<<10 {
		if s := r.next(); !strings.HasPrefix(s, "1 ") {
			t.Fatalf("it did not go on: %.40s", s)
		}
	}
	_ = r.WriteRSTStream(1, http2.ErrCodeCancel)
	<-f.ended
}

// An application that does not read stops the client.
func TestSlowApplication(t *testing.T) { both(t, testSlowApplication) }

func testSlowApplication(t *testing.T, protocol exchange.Protocol) {
	release := make(chan struct{})
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol)}, addr)
	var written atomic.Int64
	req, _ := http.NewRequest("POST", "http://"+front+"/", readerFunc(func(p []byte) (int, error) {
		written.Add(int64(len(p)))
		return len(p), nil
	}))
	done := make(chan struct{})
	c := client(t)
	c.Timeout = time.Second
	go func() {
		defer close(done)
		if resp, err := c.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	if got := still(&written); got == 0 || got > 12<<20 {
		t.Errorf("the client has written %d bytes that nobody reads", got)
	}
	<-done
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// However long a body is, what Weir holds of it is not.
func TestLongBodies(t *testing.T) { both(t, testLongBodies) }

func testLongBodies(t *testing.T, protocol exchange.Protocol) {
	const size = 24 << 20
	addr := app(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol)}, addr)
	req, _ := http.NewRequest("POST", "http://"+front+"/", io.LimitReader(readerFunc(func(p []byte) (int, error) { return len(p), nil }), size))
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if n, err := io.CopyN(io.Discard, resp.Body, size/2); err != nil {
		t.Fatal(n, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&during)
	if grown := int64(during.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("in the middle of %d bytes the heap has grown by %d", size, grown)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != size/2 {
		t.Errorf("the rest: %d, %v", n, err)
	}
}

// A client that keeps a body or a response waiting is waited for that long.
func TestStall(t *testing.T) {
	t.Run("response", func(t *testing.T) {
		addr := app(t, func(w http.ResponseWriter, r *http.Request) {
			for err := error(nil); err == nil; {
				_, err = w.Write(make([]byte, 16<<10))
			}
		})
		f := &testFilter{ended: make(chan struct{}, 9)}
		_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.H2C, f), Timeouts: wirehttp.Timeouts{Stall: 50 * time.Millisecond}}, addr)
		r := dialRaw(t, front)
		r.headers(1, true, request("/")...)
		<-f.ended
		if diff := cmp.Diff([]exchange.Outcome{exchange.Aborted}, f.told()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("body", func(t *testing.T) {
		addr := app(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
		f := &testFilter{ended: make(chan struct{}, 9)}
		_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.H2C, f), Timeouts: wirehttp.Timeouts{Stall: 50 * time.Millisecond}}, addr)
		r := dialRaw(t, front)
		r.headers(1, false, request("/")...)
		if status, body := r.answer(1); status != "408" || !strings.Contains(body, "request-timeout") {
			t.Errorf("got %s %s", status, body)
		}
		<-f.ended
		if diff := cmp.Diff([]exchange.Outcome{exchange.SentNoReply}, f.told()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("the messages of a call", func(t *testing.T) {
		addr := app(t, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = io.Copy(w, r.Body)
		})
		_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.GRPC), Timeouts: wirehttp.Timeouts{Stall: 20 * time.Millisecond}}, addr)
		r := dialRaw(t, front)
		r.headers(1, false, request("/", "content-type", "application/grpc")...)
		time.Sleep(60 * time.Millisecond)
		_ = r.WriteData(1, true, []byte("late"))
		if status, body := r.answer(1); status != "200" || body != "late" {
			t.Errorf("got %s %s", status, body)
		}
	})
}

// The application may answer before it has read the request.
func TestEarlyResponse(t *testing.T) { both(t, testEarlyResponse) }

func testEarlyResponse(t *testing.T, protocol exchange.Protocol) {
	for name, status := range map[string]int{"200": 200, "413": 413} {
		t.Run(name, func(t *testing.T) {
			addr := app(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				_, _ = io.WriteString(w, "early")
			})
			f := &testFilter{ended: make(chan struct{}, 9)}
			_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol, f)}, addr)
			pr, pw := io.Pipe()
			defer pw.Close()
			req, _ := http.NewRequest("POST", "http://"+front+"/", pr)
			go func() { _, _ = io.WriteString(pw, "some") }()
			resp, err := client(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if b := readAll(t, resp); b != "early" || resp.StatusCode != status {
				t.Errorf("got %d %q", resp.StatusCode, b)
			}
			<-f.ended
			if diff := cmp.Diff([]exchange.Outcome{exchange.Replied}, f.told()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Settings that change hold for connections that come then, and for requests.
func TestSettings(t *testing.T) {
	s, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.H2C)}, app(t, echo))
	old := dialRaw(t, front)
	ask := func(r *rawConn, id uint32, want string) {
		t.Helper()
		r.headers(id, true, request("/", "a", strings.Repeat("x", 8<<10))...)
		if status, _ := r.answer(id); status != want {
			t.Errorf("got %s, want %s", status, want)
		}
	}
	ask(old, 1, "200")
	s.Configure(wirehttp.Settings{HeadBytes: 4 << 10})
	ask(old, 3, "431")
	ask(dialRaw(t, front), 1, "431")
	s.Configure(wirehttp.Settings{HeadBytes: 128 << 10})
	large := dialRaw(t, front)
	ask(large, 1, "200")
	ask(old, 5, "200")
	s.Drain()
	for name, r := range map[string]*rawConn{"old": old, "large": large} {
		if got := r.next(); got != "GOAWAY NO_ERROR" {
			t.Errorf("%s: %s", name, got)
		}
	}
}
