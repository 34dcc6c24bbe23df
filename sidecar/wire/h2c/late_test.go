// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// TestOverdue: a client whose application is late is told so, and recorders get what
// comes later; the connection goes on meanwhile.
func TestOverdue(t *testing.T) {
	const never = time.Hour
	both(t, func(t *testing.T, p exchange.Protocol) {
		for name, test := range map[string]struct {
			late   time.Duration
			app    func(w http.ResponseWriter) // after the client was answered; nil: never
			forget bool                        // the recorder wants no more
			port   bool                        // the timeout is the port's
			gone   bool                        // the client has gone before
			log    []string
		}{
			"late reply":       {late: never, app: func(w http.ResponseWriter) { w.WriteHeader(201); _, _ = io.WriteString(w, "hello") }, log: []string{"overdue", "head 201 *0", "body hello", "end", "replied"}},
			"the port's":       {late: never, port: true, app: func(w http.ResponseWriter) { w.WriteHeader(201) }, log: []string{"overdue", "head 201 *0", "end", "replied"}},
			"pieces, trailers": {late: never, app: latePieces, log: []string{"overdue", "head 200 *0", "body ok", "end X-Sum=1", "replied"}},
			"late, 1xx":        {late: never, app: func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(204) }, log: []string{"overdue", "head 204 *0", "end", "replied"}},
			"late, breaks off": {late: never, app: func(w http.ResponseWriter) {
				_, _ = io.WriteString(w, "hel")
				flush(w)
				panic(http.ErrAbortHandler)
			}, log: []string{"overdue", "head 200 *0", "body hel", "aborted"}},
			"late, no response": {late: never, app: func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, log: []string{"overdue", "sent_no_reply"}},
			"never":             {late: 50 * time.Millisecond, log: []string{"overdue", "sent_no_reply"}},
			"not awaited":       {log: []string{"overdue", "sent_no_reply"}},
			"forgotten":         {late: never, forget: true, log: []string{"overdue", "sent_no_reply"}},
			"nobody is there":   {late: never, gone: true, app: func(w http.ResponseWriter) { w.WriteHeader(204) }, log: []string{"overdue", "head 204 *0", "end", "replied"}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				overdue, answered, began := make(chan struct{}), make(chan struct{}), make(chan struct{})
				addr := app(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/next" {
						return
					}
					close(began)
					_, _ = io.ReadAll(r.Body)
					<-answered
					if test.app == nil {
						<-r.Context().Done()
						return
					}
					test.app(w)
				})
				f, w := newRecorder(), newWatcher()
				f.late = test.late
				f.head = func(x *exchange.Exchange) exchange.Verdict {
					if x.Record = string(x.Path) != "/next"; !x.Record {
						x.Timeout = 0
					}
					return exchange.Continue
				}
				f.overdue = func(x *exchange.Exchange) { x.Record = !test.forget; close(overdue) }
				ports := onPort(p, f)
				ports.port.Observer = w
				if test.port {
					ports.port.Timeouts = []exchange.RouteTimeout{{Prefix: "/late", Response: 50 * time.Millisecond}}
				} else {
					f.timeout = 50 * time.Millisecond
				}
				counted := make(chan int, 10)
				_, front := proxy(t, wirehttp.Config{Ports: ports, Metrics: wirehttp.Metrics{
					Request: func(_ uint16, _ wirehttp.Protocol, status int, _ time.Time) { counted <- status },
				}}, addr)
				r := dialRaw(t, front)
				r.headers(1, false, request("/late")...)
				// The time begins with the end of the request.
				<-began
				_ = r.WriteData(1, true, []byte("abc"))
				if test.gone {
					_ = r.WriteRSTStream(1, http2.ErrCodeCancel)
					<-overdue
					close(answered)
				} else {
					if status, _ := r.answer(1); status != "504" {
						t.Errorf("got %s", status)
					}
					if status := <-counted; status != 504 {
						t.Errorf("counted as %d", status)
					}
					close(answered)
				}
				if diff := cmp.Diff(test.log, <-f.ended); diff != "" {
					t.Error(diff)
				}
				if r := <-w.done; r.Status != 504 && !test.gone || r.Aborted != string(wirehttp.UpstreamTimeout) && !test.gone {
					t.Errorf("observed %+v", r)
				}
				r.headers(3, true, request("/next")...)
				if status, _ := r.answer(3); status != "200" {
					t.Errorf("the next got %s", status)
				}
				<-f.ended
			})
		}
	})
}

func latePieces(w http.ResponseWriter) {
	w.Header().Set("Trailer", "X-Sum")
	_, _ = io.WriteString(w, "o")
	flush(w)
	_, _ = io.WriteString(w, "k")
	w.Header().Set("X-Sum", "1")
}

// TestLateBound: a connection has as many late requests as it may have streams, and
// then clients are answered and nothing more is awaited.
func TestLateBound(t *testing.T) {
	c := &conn{ended: make(chan struct{})}
	for range maxStreams {
		if !c.enterLate() {
			t.Fatal("refused")
		}
	}
	if c.enterLate() {
		t.Error("one too many")
	}
	c.leaveLate()
	if !c.enterLate() {
		t.Error("refused although one has ended")
	}
}

// TestShutdownOverdue: the end of the proxy does not wait for what is late longer than
// for anything else, and ends it once.
func TestShutdownOverdue(t *testing.T) {
	both(t, func(t *testing.T, p exchange.Protocol) {
		began := make(chan struct{})
		addr := app(t, func(_ http.ResponseWriter, r *http.Request) { close(began); <-r.Context().Done() })
		f := newRecorder()
		f.timeout, f.late = 10*time.Millisecond, time.Hour
		s, front := proxy(t, wirehttp.Config{Ports: onPort(p, f)}, addr)
		r := dialRaw(t, front)
		r.headers(1, true, request("/")...)
		if status, _ := r.answer(1); status != "504" {
			t.Errorf("got %s", status)
		}
		<-began
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if err := s.Shutdown(ctx); err == nil {
			t.Error("Shutdown did not wait")
		}
		if diff := cmp.Diff([]string{"overdue", "sent_no_reply"}, <-f.ended); diff != "" || len(f.ended) > 0 {
			t.Errorf("%s and %d more", diff, len(f.ended))
		}
	})
}

// TestPanicLater: a recorder that panics when nobody is there any more ends its
// exchange, and nothing else.
func TestPanicLater(t *testing.T) {
	both(t, func(t *testing.T, p exchange.Protocol) {
		answered := make(chan struct{})
		addr := app(t, func(http.ResponseWriter, *http.Request) { <-answered })
		f := newRecorder()
		f.timeout, f.late = 10*time.Millisecond, time.Hour
		f.end = func(*exchange.Exchange) bool { panic("x") }
		_, front := proxy(t, wirehttp.Config{Ports: onPort(p, f)}, addr)
		r := dialRaw(t, front)
		r.headers(1, true, request("/")...)
		if status, _ := r.answer(1); status != "504" {
			t.Errorf("got %s", status)
		}
		close(answered)
		if log := <-f.ended; log[len(log)-1] != "sent_no_reply" {
			t.Errorf("%q", log)
		}
	})
}
