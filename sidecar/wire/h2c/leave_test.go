// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// TestClientLeaves: whenever a client goes after its request, recorders get the
// response to its end.
func TestClientLeaves(t *testing.T) {
	big := strings.Repeat("x", 3*bulk)
	// How long Weir has to go wrong: over HTTP/1.1 it looks once a second whether
	// anyone is there.
	wrong := map[exchange.Protocol]time.Duration{exchange.H2C: 200 * time.Millisecond, exchange.HTTP: 1500 * time.Millisecond}
	both(t, func(t *testing.T, p exchange.Protocol) {
		for name, test := range map[string]struct {
			reset  bool // the stream ends, else the connection
			head   bool // the client has got the head and a piece
			length bool
		}{
			"reset before the head":              {reset: true},
			"connection before the head, length": {length: true},
			"reset in the body, length":          {reset: true, head: true, length: true},
			"connection in the body":             {head: true},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				got, left := make(chan struct{}), make(chan struct{})
				addr := app(t, func(w http.ResponseWriter, r *http.Request) {
					if test.length {
						w.Header().Set("Content-Length", fmt.Sprint(len(big)+1))
					}
					if test.head {
						_, _ = io.WriteString(w, "a")
						flush(w)
					}
					close(got)
					<-left
					select {
					case <-r.Context().Done():
						t.Error("the application's part was ended")
					case <-time.After(wrong[p]):
					}
					if !test.head {
						_, _ = io.WriteString(w, "a")
					}
					_, _ = io.WriteString(w, big)
				})
				f := newRecorder()
				w := newWatcher()
				ports := onPort(p, f)
				ports.port.Observer = w
				_, front := proxy(t, wirehttp.Config{Ports: ports}, addr)
				r := dialRaw(t, front)
				r.headers(1, true, request("/")...)
				<-got
				if test.head {
					for s := ""; !strings.HasPrefix(s, "1 DATA a"); s = r.next() {
					}
				}
				if test.reset {
					_ = r.WriteRSTStream(1, http2.ErrCodeCancel)
				} else {
					_ = r.Close()
				}
				close(left)
				if diff := cmp.Diff([]string{"head 200 *0", "body a" + big, "end", "replied"}, <-f.ended); diff != "" {
					t.Error(diff)
				}
				if r := <-w.done; r.Outcome != exchange.Replied || r.Aborted != abortedClientGone || test.head && r.Status != 200 {
					t.Errorf("observed %+v", r)
				}
			})
		}
	})
}

// TestClientLeavesUnwanted: a client that goes ends the request, where recorders have
// what they want.
func TestClientLeavesUnwanted(t *testing.T) {
	both(t, func(t *testing.T, p exchange.Protocol) {
		for name, test := range map[string]struct {
			unwant func(f *recorder)
			quiet  bool
		}{
			"from the head":       {func(f *recorder) { f.responseHead = func(x *exchange.Exchange) { x.Record = false } }, false},
			"from the head, idle": {func(f *recorder) { f.responseHead = func(x *exchange.Exchange) { x.Record = false } }, true},
			"from a piece":        {func(f *recorder) { f.piece = func(x *exchange.Exchange, _ []byte) { x.Record = false } }, false},
			"from a piece, idle":  {func(f *recorder) { f.piece = func(x *exchange.Exchange, _ []byte) { x.Record = false } }, true},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ended := make(chan struct{})
				addr := app(t, func(w http.ResponseWriter, r *http.Request) {
					defer close(ended)
					_, _ = io.WriteString(w, "data: x\n\n")
					flush(w)
					for !test.quiet && r.Context().Err() == nil {
						_, _ = io.WriteString(w, "data: x\n\n")
						flush(w)
					}
					<-r.Context().Done()
				})
				f := newRecorder()
				test.unwant(f)
				_, front := proxy(t, wirehttp.Config{Ports: onPort(p, f)}, addr)
				r := dialRaw(t, front)
				r.headers(1, true, request("/")...)
				for s := ""; !strings.HasPrefix(s, "1 DATA data"); s = r.next() {
				}
				_ = r.WriteRSTStream(1, http2.ErrCodeCancel)
				go func() { _, _ = io.Copy(io.Discard, r) }()
				<-ended
				if log := <-f.ended; log[len(log)-1] != "aborted" || log[len(log)-2] == "end" {
					t.Errorf("%q", log)
				}
			})
		}
	})
}

// TestAbandoned: what only recorders wait for is not awaited for ever.
func TestAbandoned(t *testing.T) {
	both(t, func(t *testing.T, p exchange.Protocol) {
		for name, test := range map[string]struct {
			trickles bool
			log      string
		}{"no head": {false, "sent_no_reply"}, "no end": {true, "aborted"}} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				begun, ended := make(chan struct{}), make(chan struct{})
				addr := app(t, func(w http.ResponseWriter, r *http.Request) {
					defer close(ended)
					if !test.trickles {
						close(begun)
						<-r.Context().Done()
						return
					}
					for n := 0; r.Context().Err() == nil; n++ {
						_, _ = io.WriteString(w, "x")
						flush(w)
						if n == 0 {
							close(begun)
						}
						time.Sleep(time.Millisecond)
					}
				})
				f := newRecorder()
				cfg := wirehttp.Config{Ports: onPort(p, f)}
				cfg.Timeouts.Stall = time.Second
				_, front := proxy(t, cfg, addr)
				r := dialRaw(t, front)
				r.headers(1, true, request("/")...)
				<-begun
				_ = r.Close()
				<-ended
				log := <-f.ended
				if log[len(log)-1] != test.log || strings.HasPrefix(log[max(0, len(log)-2)], "end") {
					t.Errorf("%q", log)
				}
			})
		}
	})
}
