// SPDX-License-Identifier: Apache-2.0

//go:build linux

package load

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// answer is a handler that frames by Content-Length.
func answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if r.Header.Get("X-Client-Id") == "denied" {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	_, _ = io.WriteString(w, strings.Repeat("y", 100<<10)[:1<<10])
}

func TestOpenLoop(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(answer))
	defer s.Close()
	for name, test := range map[string]struct {
		request   Request
		wantNotOK int64
	}{
		"GET":    {Request{Method: "GET", URL: s.URL + "/", Header: "X-Client-Id: a"}, 0},
		"POST":   {Request{Method: "POST", URL: s.URL + "/", Header: "X-Client-Id: a", Body: 256 << 10}, 0},
		"denied": {Request{Method: "GET", URL: s.URL + "/", Header: "X-Client-Id: denied"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := OpenLoop(t.Context(), test.request, 8, 1000, 200*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if got.Requests != 200 || got.NotOK != test.wantNotOK || got.Errors != 0 || got.P50 == 0 || got.P99 < got.P50 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// A server that stalls is charged for the requests that could not be sent while it
// did.
func TestOpenLoopChargesForWaiting(t *testing.T) {
	var once sync.Once
	var stalled atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() {
			begin := time.Now()
			time.Sleep(100 * time.Millisecond)
			stalled.Store(int64(time.Since(begin)))
		})
		answer(w, r)
	}))
	defer s.Close()
	// One connection: while the first request waits, a hundred become due.
	got, err := OpenLoop(t.Context(), Request{Method: "GET", URL: s.URL + "/", Header: "X-Client-Id: a"}, 1, 1000, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Duration(stalled.Load()); got.Requests != 100 || got.P99 < want/2 || got.P50 < want/4 {
		t.Errorf("got %+v after a stall of %v: most requests were due while it lasted", got, want)
	}
}

func TestOpenLoopOfNothing(t *testing.T) {
	if _, err := OpenLoop(t.Context(), Request{Method: "GET", URL: "http://127.0.0.1:1/", Header: "A: b"}, 1, 10, time.Second); err == nil {
		t.Error("no error where nobody listens")
	}
	if _, err := OpenLoop(t.Context(), Request{Method: "GET", URL: "http://127.0.0.1:1/", Header: "A: b"}, 1, 0, time.Second); err == nil {
		t.Error("no error for a rate of 0")
	}
}

func TestIdle(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(answer))
	defer s.Close()
	idle, err := OpenIdle(t.Context(), Request{Method: "GET", URL: s.URL + "/", Header: "X-Client-Id: a"}, 20)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if len(idle.conns) != 20 {
		t.Errorf("%d connections, want 20", len(idle.conns))
	}
}
