// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// held is an application that answers /slow when it is told to.
func held(release chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	}
}

// Drain says GOAWAY, streams under way end, later ones go elsewhere.
func TestDrain(t *testing.T) { both(t, testDrain) }

func testDrain(t *testing.T, protocol exchange.Protocol) {
	release := make(chan struct{})
	f := &testFilter{}
	s, front := proxy(t, wirehttp.Config{Ports: onPort(protocol, f)}, app(t, held(release)))
	busy, idle := dialRaw(t, front), dialRaw(t, front)
	idle.headers(1, true, request("/")...)
	if status, _ := idle.answer(1); status != "200" {
		t.Fatal(status)
	}
	busy.headers(1, true, request("/slow")...)
	for s.Conns() < 2 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	s.Drain()
	for name, r := range map[string]*rawConn{"busy": busy, "idle": idle} {
		if got := r.next(); got != "GOAWAY NO_ERROR" {
			t.Errorf("%s: got %s", name, got)
		}
	}
	// A stream that the GOAWAY does not cover gets nothing, and no filter sees it.
	busy.headers(3, true, request("/")...)
	close(release)
	if status, _ := busy.answer(1); status != "200" {
		t.Errorf("the stream under way got %s", status)
	}
	// A connection that comes now is served once and told to go.
	late := dialRaw(t, front)
	late.headers(1, true, request("/")...)
	var got []string
	for range 3 {
		got = append(got, late.next())
	}
	goaway, answered := false, false
	for _, s := range got {
		goaway = goaway || s == "GOAWAY NO_ERROR"
		answered = answered || s == "1 HEADERS 200 END"
	}
	if !answered || !goaway {
		t.Errorf("a new connection got %q", got)
	}
	for name, r := range map[string]*rawConn{"busy": busy, "idle": idle, "late": late} {
		for r.next() != "end" {
		}
		_ = name
	}
	if n := len(f.told()); n != 3 {
		t.Errorf("filters saw %d requests, want 3", n)
	}
}

// Shutdown waits for streams, and cuts them when its time is over.
func TestShutdown(t *testing.T) { both(t, testShutdown) }

func testShutdown(t *testing.T, protocol exchange.Protocol) {
	for name, patient := range map[string]bool{"waits": true, "cuts": false} {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			f := &testFilter{ended: make(chan struct{}, 9)}
			s, front := proxy(t, wirehttp.Config{Ports: onPort(protocol, f)}, app(t, held(release)))
			r, idle := dialRaw(t, front), dialRaw(t, front)
			r.headers(1, true, request("/slow")...)
			time.Sleep(20 * time.Millisecond)
			wait := 20 * time.Second
			if !patient {
				wait = 50 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			defer cancel()
			shut := make(chan error, 1)
			go func() { shut <- s.Shutdown(ctx) }()
			if got := r.next(); got != "GOAWAY NO_ERROR" {
				t.Errorf("got %s", got)
			}
			if patient {
				close(release)
				if status, _ := r.answer(1); status != "200" {
					t.Errorf("the stream under way got %s", status)
				}
			} else {
				defer close(release)
			}
			if err := <-shut; patient != (err == nil) || !patient && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: %v", err)
			}
			<-f.ended
			want := exchange.Replied
			if !patient {
				want = exchange.SentNoReply
			}
			if got := f.told(); len(got) != 1 || got[0] != want {
				t.Errorf("filters were told %v", got)
			}
			for idle.next() != "end" {
			}
			if n := s.Conns(); n != 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	}
}
