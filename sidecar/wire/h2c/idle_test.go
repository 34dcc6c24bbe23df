// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// A connection without a stream is told to go, and ended.
func TestIdleConnection(t *testing.T) {
	_, front := proxy(t, wirehttp.Config{
		Ports: onPort(exchange.H2C, &testFilter{}), Timeouts: wirehttp.Timeouts{Idle: 50 * time.Millisecond},
	}, app(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hi") }))
	r := dialRaw(t, front)
	r.headers(1, true, request("/")...)
	if status, _ := r.answer(1); status != "200" {
		t.Fatalf("status %s", status)
	}
	var seen []string
	for {
		f, err := r.ReadFrame()
		if err != nil {
			break
		}
		seen = append(seen, f.Header().Type.String())
	}
	if len(seen) == 0 || seen[len(seen)-1] != "GOAWAY" {
		t.Errorf("frames before the end: %v, want a GOAWAY last", seen)
	}
}

// Connections that end with streams under way leave nothing behind.
func TestBrokenConnectionsLeaveNothing(t *testing.T) {
	entered := make(chan struct{})
	_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.H2C, &testFilter{})},
		app(t, func(_ http.ResponseWriter, r *http.Request) {
			entered <- struct{}{}
			<-r.Context().Done()
		}))
	burst := func(n int) uint64 {
		for range n {
			r := dialRaw(t, front)
			r.headers(1, true, request("/")...)
			<-entered
			_ = r.Close()
		}
		var m runtime.MemStats
		for range 50 {
			time.Sleep(20 * time.Millisecond)
			runtime.GC()
			runtime.ReadMemStats(&m)
		}
		return m.HeapAlloc
	}
	before := burst(50)
	// Each that was kept would cost 5 KiB and more.
	if after := burst(400); after > before+1<<20 {
		t.Errorf("400 connections left %d KiB behind", (after-before)>>10)
	}
}
