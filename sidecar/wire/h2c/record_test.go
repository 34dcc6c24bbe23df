// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// recorder is a small filter that records. It keeps what it was told, in order.
type recorder struct {
	head          func(x *exchange.Exchange) exchange.Verdict
	timeout, late time.Duration
	responseHead  func(x *exchange.Exchange)
	piece         func(x *exchange.Exchange, p []byte)
	end           func(x *exchange.Exchange) bool
	overdue       func(x *exchange.Exchange)
	maxBody       int
	oversize      func(x *exchange.Exchange) exchange.Verdict

	mu    sync.Mutex
	log   []string
	ended chan []string
}

func newRecorder() *recorder { return &recorder{ended: make(chan []string, 10)} }

func (r *recorder) say(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.log); n > 0 && strings.HasPrefix(s, "body ") && strings.HasPrefix(r.log[n-1], "body ") {
		r.log[n-1] += s[len("body "):]
		return
	}
	r.log = append(r.log, s)
}

func (r *recorder) Head(x *exchange.Exchange) exchange.Verdict {
	x.Record, x.Timeout, x.Late = true, r.timeout, r.late
	if r.head != nil {
		return r.head(x)
	}
	return exchange.Continue
}
func (r *recorder) MaxBody() int { return r.maxBody }
func (r *recorder) Body(x *exchange.Exchange) exchange.Verdict {
	r.say(fmt.Sprintf("request %s", x.Body))
	return exchange.Continue
}
func (r *recorder) Oversize(x *exchange.Exchange) exchange.Verdict {
	r.say(fmt.Sprintf("oversize %v", x.Body == nil))
	return r.oversize(x)
}
func (r *recorder) ResponseHead(x *exchange.Exchange) {
	v, n := x.Response.Header("x-app")
	r.say(fmt.Sprintf("head %d %s*%d", x.Status, v, n))
	if r.responseHead != nil {
		r.responseHead(x)
	}
}
func (r *recorder) ResponseBody(x *exchange.Exchange, p []byte) {
	r.say("body " + string(p))
	if r.piece != nil {
		r.piece(x, p)
	}
}
func (r *recorder) ResponseEnd(x *exchange.Exchange) bool {
	s := "end"
	x.Response.Trailers(func(name, value []byte) bool { s += fmt.Sprintf(" %s=%s", name, value); return true })
	r.say(s)
	return r.end == nil || r.end(x)
}
func (r *recorder) Overdue(x *exchange.Exchange) {
	r.say("overdue")
	if r.overdue != nil {
		r.overdue(x)
	}
}
func (r *recorder) End(x *exchange.Exchange, o exchange.Outcome) {
	if x.Response != nil {
		// It is there until now.
		x.Response.Each(func(name, value []byte) bool { return len(name)+len(value) > 0 })
	}
	r.say(o.String())
	r.mu.Lock()
	log := r.log
	r.log = nil
	r.mu.Unlock()
	r.ended <- log
}

// flush sends what an application has written.
func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// TestRecord: what recorders are told of responses, and what clients get of them.
func TestRecord(t *testing.T) {
	both(t, func(t *testing.T, p exchange.Protocol) {
		for name, test := range map[string]struct {
			method string
			app    func(w http.ResponseWriter)
			want   string // status, body, trailer
			log    []string
		}{
			"fixed": {"GET", func(w http.ResponseWriter) {
				w.Header().Set("X-App", "a")
				w.Header().Set("Content-Length", "5")
				_, _ = io.WriteString(w, "hello")
			}, "200 5 hello", []string{"head 200 a*1", "body hello", "end", "replied"}},
			"pieces": {"GET", func(w http.ResponseWriter) {
				w.Header().Set("Content-Length", "5")
				for range 5 {
					_, _ = io.WriteString(w, "x")
					flush(w)
				}
			}, "200 5 xxxxx", []string{"head 200 *0", "body xxxxx", "end", "replied"}},
			"no length": {"GET", func(w http.ResponseWriter) { flush(w); _, _ = io.WriteString(w, "hello") },
				"200 -1 hello", []string{"head 200 *0", "body hello", "end", "replied"}},
			"empty":           {"GET", func(w http.ResponseWriter) { w.WriteHeader(201) }, "201 0 ", []string{"head 201 *0", "end", "replied"}},
			"empty, late end": {"GET", func(w http.ResponseWriter) { w.WriteHeader(201); flush(w) }, "201 -1 ", []string{"head 201 *0", "end", "replied"}},
			"204":             {"GET", func(w http.ResponseWriter) { w.WriteHeader(204) }, "204 0 ", []string{"head 204 *0", "end", "replied"}},
			"HEAD":            {"HEAD", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "7") }, "200 7 ", []string{"head 200 *0", "end", "replied"}},
			"trailers": {"GET", func(w http.ResponseWriter) {
				w.Header().Set("Trailer", "X-Sum")
				flush(w)
				_, _ = io.WriteString(w, "ok")
				w.Header().Set("X-Sum", "1")
			}, "200 -1 ok 1", []string{"head 200 *0", "body ok", "end X-Sum=1", "replied"}},
			"1xx": {"GET", func(w http.ResponseWriter) {
				w.WriteHeader(103)
				w.Header().Set("Content-Length", "2")
				_, _ = io.WriteString(w, "ok")
			}, "200 2 ok", []string{"head 200 *0", "body ok", "end", "replied"}},
			"large": {"GET", func(w http.ResponseWriter) {
				w.Header().Set("Content-Length", fmt.Sprint(1<<20))
				_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
			}, "200 1048576 " + strings.Repeat("x", 1<<20), []string{"head 200 *0", "body " + strings.Repeat("x", 1<<20), "end", "replied"}},
			"short": {"GET", func(w http.ResponseWriter) {
				w.Header().Set("Content-Length", "5")
				_, _ = io.WriteString(w, "hel")
				flush(w)
				panic(http.ErrAbortHandler)
			}, "200 5 hel broken", []string{"head 200 *0", "body hel", "aborted"}},
			"breaks off": {"GET", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "hel"); flush(w); panic(http.ErrAbortHandler) },
				"200 -1 hel broken", []string{"head 200 *0", "body hel", "aborted"}},
			"no response": {"GET", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "502", []string{"sent_no_reply"}},
		} {
			t.Run(name, func(t *testing.T) {
				f := newRecorder()
				_, front := proxy(t, wirehttp.Config{Ports: onPort(p, f)}, app(t, func(w http.ResponseWriter, _ *http.Request) { test.app(w) }))
				req, _ := http.NewRequest(test.method, "http://"+front+"/", nil)
				resp, err := client(t).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(resp.Body)
				got := fmt.Sprintf("%d %d %s", resp.StatusCode, resp.ContentLength, b)
				if v := resp.Trailer.Get("X-Sum"); v != "" {
					got += " " + v
				}
				if err != nil {
					got += " broken"
				}
				if test.want == "502" {
					got = got[:3]
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(test.log, <-f.ended); diff != "" {
					t.Error(diff)
				}
			})
		}
	})
}

// TestLastByte: all but the end of a response goes on at once, and the end only when
// recorders have ended; not at all when they say so.
func TestLastByte(t *testing.T) {
	both(t, func(t *testing.T, p exchange.Protocol) {
		for name, test := range map[string]struct {
			app           func(w http.ResponseWriter)
			before, after []string
		}{
			"fixed": {func(w http.ResponseWriter) { w.Header().Set("Content-Length", "5"); _, _ = io.WriteString(w, "hello") },
				[]string{"1 HEADERS 200", "1 DATA hell"}, []string{"1 DATA o END"}},
			"no length": {func(w http.ResponseWriter) { flush(w); _, _ = io.WriteString(w, "hello") },
				[]string{"1 HEADERS 200", "1 DATA hello"}, []string{"1 DATA  END"}},
			"empty": {func(w http.ResponseWriter) { w.Header().Set("Content-Length", "0") }, nil, []string{"1 HEADERS 200 END"}},
			"204":   {func(w http.ResponseWriter) { w.WriteHeader(204) }, nil, []string{"1 HEADERS 204 END"}},
			"trailers": {func(w http.ResponseWriter) {
				w.Header().Set("Trailer", "X-Sum")
				flush(w)
				_, _ = io.WriteString(w, "hello")
				w.Header().Set("X-Sum", "1")
			}, []string{"1 HEADERS 200", "1 DATA hello"}, []string{"1 HEADERS END"}},
		} {
			for _, whole := range []bool{true, false} {
				t.Run(fmt.Sprint(name, whole), func(t *testing.T) {
					t.Parallel()
					f := newRecorder()
					reached, release := make(chan struct{}), make(chan struct{})
					f.end = func(*exchange.Exchange) bool { close(reached); <-release; return whole }
					_, front := proxy(t, wirehttp.Config{Ports: onPort(p, f)}, app(t, func(w http.ResponseWriter, _ *http.Request) { test.app(w) }))
					r := dialRaw(t, front)
					r.headers(1, true, request("/")...)
					var got []string
					for range test.before {
						got = append(got, r.next())
					}
					if diff := cmp.Diff(test.before, got); diff != "" {
						t.Errorf("before the end: %s", diff)
					}
					<-reached
					more := make(chan string, 10)
					go func() {
						for s := ""; !strings.HasSuffix(s, "END") && !strings.Contains(s, "RST") && s != "end"; more <- s {
							s = r.next()
						}
						close(more)
					}()
					select {
					case s := <-more:
						t.Errorf("got %q before recorders had ended", s)
					case <-time.After(50 * time.Millisecond):
					}
					close(release)
					got = nil
					for s := range more {
						if s != "1 DATA " { // of flushing nothing
							got = append(got, s)
						}
					}
					want, outcome := test.after, "replied"
					if !whole {
						want, outcome = []string{"1 RST_STREAM INTERNAL_ERROR"}, "aborted"
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Error(diff)
					}
					if log := <-f.ended; log[len(log)-1] != outcome {
						t.Errorf("%q", log)
					}
				})
			}
		}
	})
}

// watcher is an Observer that keeps what became of requests.
type watcher struct{ done chan exchange.Record }

func newWatcher() watcher { return watcher{make(chan exchange.Record, 10)} }

func (watcher) Start(*exchange.Exchange)                        {}
func (w watcher) Done(_ *exchange.Exchange, r *exchange.Record) { w.done <- *r }
