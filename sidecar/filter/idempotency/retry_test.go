// SPDX-License-Identifier: Apache-2.0

package idempotency_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// wires lie between a client and Weir, and can be cut.
type wires struct {
	mu   sync.Mutex
	open []*net.TCPConn
}

// to relays connections to address and returns its own.
func (w *wires) to(t *testing.T, address string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		w.cut()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", address)
			if err != nil {
				_ = c.Close()
				continue
			}
			w.mu.Lock()
			w.open = append(w.open, c.(*net.TCPConn), far.(*net.TCPConn))
			w.mu.Unlock()
			for _, pair := range [][2]net.Conn{{c, far}, {far, c}} {
				wg.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
				})
			}
		}
	})
	return ln.Addr().String()
}

// cut breaks all connections.
func (w *wires) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.open {
		_ = c.Close()
	}
	w.open = nil
}

// TestGoRetriesByItself: net/http sends a request that carries the key again, by itself,
// when a connection that it has used before breaks (net/http, Request.isReplayable):
// proxies made of it dispatch a request twice so, and their client sees one response.
func TestGoRetriesByItself(t *testing.T) {
	w := newWorld(t, policy())
	var cable wires
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	target := &url.URL{Scheme: "http", Host: cable.to(t, w.address)}
	front := &httputil.ReverseProxy{Transport: tr, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	pay := func(key string) *http.Response {
		r := httptest.NewRequest("POST", "/pay", http.NoBody)
		r.Header.Set("Idempotency-Key", key)
		r.Header.Set("X-Client-Id", "acme")
		rec := httptest.NewRecorder()
		front.ServeHTTP(rec, r)
		return rec.Result()
	}
	if r := pay("one"); r.StatusCode != http.StatusCreated {
		t.Fatalf("%d: %v", r.StatusCode, r.Header)
	}
	w.answer(func(rw http.ResponseWriter, _ *http.Request) {
		if w.executed.Load() == 2 {
			cable.cut()
		}
		rw.WriteHeader(http.StatusCreated)
	})
	r := pay("two")
	if r.StatusCode != http.StatusCreated || r.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%d: %v", r.StatusCode, r.Header)
	}
	w.wantExecuted(2)
}
