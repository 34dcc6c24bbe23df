// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// fieldsOf makes fields of name, value, name, value.
func fieldsOf(pairs ...string) (f []exchange.Field) {
	for i := 0; i < len(pairs); i += 2 {
		f = append(f, exchange.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return f
}

// textOf is a header in one line, without fields that are announced only.
func textOf(h http.Header) string {
	var lines []string
	for name, values := range h {
		if len(values) == 0 {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s=%s", name, strings.Join(values, "|")))
	}
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

// TestAnswer: recorded responses, also of HTTP/1, as clients get them.
func TestAnswer(t *testing.T) {
	full := &exchange.Reply{Status: 201, Body: []byte("hello"), Header: fieldsOf("Location", "/1", "x-odd", "a", "X-Odd", "b",
		"Connection", "close", "Keep-Alive", "x", "Transfer-Encoding", "chunked", "Content-Length", "7", "Upgrade", "x", "Proxy-Connection", "x")}
	for name, test := range map[string]struct {
		reply         *exchange.Reply
		method, body  string
		header, trail string
		want          string
	}{
		"GET":       {full, "GET", "", "Content-Length=5 Idempotent-Replayed=true Location=/1 X-Odd=a|b", "", "hello"},
		"POST":      {full, "POST", "abc", "Content-Length=5 Idempotent-Replayed=true Location=/1 X-Odd=a|b", "", "hello"},
		"HEAD":      {full, "HEAD", "", "Content-Length=7 Idempotent-Replayed=true Location=/1 X-Odd=a|b", "", ""},
		"204":       {&exchange.Reply{Status: 204, Header: fieldsOf("A", "b", "Content-Length", "0")}, "GET", "", "A=b Idempotent-Replayed=true", "", ""},
		"304":       {&exchange.Reply{Status: 304, Body: []byte("x"), Header: fieldsOf("Content-Length", "1")}, "GET", "", "Idempotent-Replayed=true", "", ""},
		"empty":     {&exchange.Reply{Status: 200}, "GET", "", "Content-Length=0 Idempotent-Replayed=true", "", ""},
		"large":     {&exchange.Reply{Status: 200, Body: bytes.Repeat([]byte("x"), 1<<20)}, "GET", "", "Content-Length=1048576 Idempotent-Replayed=true", "", strings.Repeat("x", 1<<20)},
		"trailers":  {&exchange.Reply{Status: 200, Body: []byte("hello"), Trailer: fieldsOf("X-Sum", "1")}, "GET", "", "Idempotent-Replayed=true", "X-Sum=1", "hello"},
		"only them": {&exchange.Reply{Status: 200, Trailer: fieldsOf("X-Sum", "1")}, "GET", "", "Idempotent-Replayed=true", "X-Sum=1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
				x.Add("Idempotent-Replayed", []byte("true"))
				x.Answer(test.reply)
				return exchange.Respond
			}}
			w, ports := newWatcher(), onPort(exchange.H2C, f)
			ports.port.Observer = w
			_, front := proxy(t, wirehttp.Config{Ports: ports}, "127.0.0.1:1")
			req, _ := http.NewRequest(test.method, "http://"+front+"/", strings.NewReader(test.body))
			resp, err := client(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body := readAll(t, resp)
			if resp.StatusCode != test.reply.Status || body != test.want {
				t.Errorf("got %d, %d bytes", resp.StatusCode, len(body))
			}
			if diff := cmp.Diff([]string{test.header, test.trail}, []string{textOf(resp.Header), textOf(resp.Trailer)}); diff != "" {
				t.Error(diff)
			}
			if r := <-w.done; r.Status != test.reply.Status || r.Outcome != exchange.NotSent || r.ResponseBytes != int64(len(test.want)) || r.Aborted != "" {
				t.Errorf("observed %+v", r)
			}
		})
	}
}

// TestAnswerGRPC: the status of a recorded call is its trailer's.
func TestAnswerGRPC(t *testing.T) {
	for name, reply := range map[string]*exchange.Reply{
		"message":       {Status: 200, Header: fieldsOf("Content-Type", "application/grpc"), Body: []byte("\x00\x00\x00\x00\x00"), Trailer: fieldsOf("grpc-status", "5")},
		"trailers only": {Status: 200, Header: fieldsOf("Content-Type", "application/grpc", "grpc-status", "5")},
	} {
		t.Run(name, func(t *testing.T) {
			f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict { x.Answer(reply); return exchange.Respond }}
			w, ports := newWatcher(), onPort(exchange.GRPC, f)
			ports.port.Observer = w
			_, front := proxy(t, wirehttp.Config{Ports: ports}, "127.0.0.1:1")
			req, _ := http.NewRequest("POST", "http://"+front+"/a.B/C", nil)
			req.Header.Set("Content-Type", "application/grpc")
			resp, err := client(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			readAll(t, resp)
			if got := resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status"); got != "5" {
				t.Errorf("got status %q", got)
			}
			if r := <-w.done; r.GRPCStatus != 5 {
				t.Errorf("observed %+v", r)
			}
		})
	}
}

// TestExpectReplay: who waits for 100 Continue gets the recorded response, and no 100.
func TestExpectReplay(t *testing.T) {
	f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
		x.Answer(&exchange.Reply{Status: 201, Body: []byte("hello")})
		return exchange.Respond
	}}
	_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.H2C, f)}, "127.0.0.1:1")
	r := dialRaw(t, front)
	r.headers(1, false, ":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/", "expect", "100-continue", "content-length", "3")
	if status, body := r.answer(1); status != "201" || body != "hello" {
		t.Errorf("got %s, %q", status, body)
	}
}

// TestUpstreamFields: what filters set takes the place of what clients say, in heads
// and trailers; what they hide stays here.
func TestUpstreamFields(t *testing.T) {
	both(t, func(t *testing.T, p exchange.Protocol) {
		for name, record := range map[string]bool{"relayed": false, "recorded": true} {
			t.Run(name, func(t *testing.T) {
				addr := app(t, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.ReadAll(r.Body)
					for _, name := range []string{"Accept-Encoding", "User-Agent", "Content-Length", "X-Forwarded-For", "X-Forwarded-Proto"} {
						delete(r.Header, name)
					}
					if diff := cmp.Diff([]string{"Idempotency-Key=k Weir-Fence=1  X-Bad: 1", "X-T=1"}, []string{textOf(r.Header), textOf(r.Trailer)}); diff != "" {
						t.Error(diff)
					}
					w.Header().Set("Weir-Outcome", "committed")
					w.Header().Set("X-A", "b")
					w.Header().Set("Trailer", "X-Sum, X-B")
					flush(w)
					_, _ = io.WriteString(w, "ok")
					w.Header().Set("X-Sum", "1")
					w.Header().Set("X-B", "2")
				})
				f := newRecorder()
				f.head = func(x *exchange.Exchange) exchange.Verdict {
					x.Record = record
					x.SetUpstream("idempotency-key", []byte("k"))
					x.SetUpstream("weir-fence", []byte("1\r\nX-Bad: 1"))
					x.SetUpstream("weir-delivery", nil)
					return exchange.Continue
				}
				f.responseHead = func(x *exchange.Exchange) { x.HideResponse("weir-outcome"); x.HideResponse("x-sum") }
				_, front := proxy(t, wirehttp.Config{Ports: onPort(p, f)}, addr)
				req, _ := http.NewRequest("POST", "http://"+front+"/", io.NopCloser(strings.NewReader("abc")))
				req.Header = http.Header{"Idempotency-Key": {"a", "c"}, "Idempotency_key": {"b"}, "Weir-Delivery": {"x"}, "Weir-Fence": {"9"}}
				req.Trailer = http.Header{"Weir-Delivery": {"y"}, "Idempotency-Key": {"z"}, "X-T": {"1"}}
				resp, err := client(t).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				readAll(t, resp)
				delete(resp.Header, "Date")
				delete(resp.Header, "Content-Type")
				if diff := cmp.Diff([]string{"X-A=b", "X-B=2"}, []string{textOf(resp.Header), textOf(resp.Trailer)}); diff != "" {
					t.Error(diff)
				}
				<-f.ended
			})
		}
	})
}

// TestOversize: a filter may let a body pass that is longer than it takes, whatever
// way it comes.
func TestOversize(t *testing.T) {
	long := strings.Repeat("0123456789", 20<<10)
	both(t, func(t *testing.T, p exchange.Protocol) {
		for name, test := range map[string]struct {
			body    string
			length  bool
			trailer string
			verdict exchange.Verdict
			status  int
			log     []string
		}{
			"fits":             {"01234", true, "", exchange.Continue, 200, []string{"request 01234", "replied"}},
			"fits, no length":  {"01234", false, "", exchange.Continue, 200, []string{"request 01234", "replied"}},
			"fixed":            {long, true, "", exchange.Continue, 200, []string{"oversize true", "replied"}},
			"one more":         {"012345", false, "", exchange.Continue, 200, []string{"oversize true", "replied"}},
			"no length":        {long, false, "", exchange.Continue, 200, []string{"oversize true", "replied"}},
			"trailers":         {long, false, "1", exchange.Continue, 200, []string{"oversize true", "replied"}},
			"short, trailers":  {"012345", false, "1", exchange.Continue, 200, []string{"oversize true", "replied"}},
			"refused":          {long, true, "", exchange.Respond, 422, []string{"oversize true", "not_sent"}},
			"refused, no size": {"0123456", false, "", exchange.Respond, 422, []string{"oversize true", "not_sent"}},
			"the port's":       {long + long, false, "", exchange.Continue, 413, []string{"oversize true", "sent_no_reply"}},
		} {
			t.Run(name, func(t *testing.T) {
				addr := app(t, func(_ http.ResponseWriter, r *http.Request) {
					if b, err := io.ReadAll(r.Body); err == nil && (string(b) != test.body || r.Trailer.Get("X-T") != test.trailer) {
						t.Errorf("the application got %d bytes, %v", len(b), r.Trailer)
					}
				})
				f := newRecorder()
				f.maxBody = 5
				f.head = func(x *exchange.Exchange) exchange.Verdict { x.Record = false; return exchange.NeedBody }
				f.oversize = func(x *exchange.Exchange) exchange.Verdict {
					x.Deny(exchange.Denial{Status: 422, Type: "urn:x"})
					return test.verdict
				}
				f.responseHead = func(*exchange.Exchange) { f.log = f.log[:len(f.log)-1] }
				ports := onPort(p, f)
				ports.port.MaxBody = 300 << 10
				_, front := proxy(t, wirehttp.Config{Ports: ports}, addr)
				req, _ := http.NewRequest("POST", "http://"+front+"/", strings.NewReader(test.body))
				if !test.length {
					req.ContentLength = -1
				}
				if test.trailer != "" {
					req.Trailer = http.Header{"X-T": {test.trailer}}
				}
				resp, err := client(t).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.ReadAll(resp.Body)
				if resp.StatusCode != test.status {
					t.Errorf("got %d", resp.StatusCode)
				}
				if diff := cmp.Diff(test.log, <-f.ended); diff != "" {
					t.Error(diff)
				}
			})
		}
	})
}

// TestDispatchedOnce: a request with an Idempotency-Key, which net/http's Transport
// would repeat, reaches the application once when that ends a kept connection after
// it has read it.
func TestDispatchedOnce(t *testing.T) {
	both(t, func(t *testing.T, p exchange.Protocol) {
		for name, test := range map[string]struct {
			method, header, body string
			record               bool
		}{
			"GET":                 {"GET", "Idempotency-Key", "", false},
			"POST":                {"POST", "Idempotency-Key", "", false},
			"POST, X-":            {"POST", "X-Idempotency-Key", "", false},
			"POST, body":          {"POST", "Idempotency-Key", "abc", false},
			"POST, record":        {"POST", "Idempotency-Key", "", true},
			"POST, body, record":  {"POST", "Idempotency-Key", "abc", true},
			"POST, large, record": {"POST", "Idempotency-Key", strings.Repeat("x", 100), true},
		} {
			t.Run(name, func(t *testing.T) {
				var seen atomic.Int64
				addr := app(t, func(_ http.ResponseWriter, r *http.Request) {
					_, _ = io.ReadAll(r.Body)
					if seen.Add(1) == 2 {
						conn := r.Context().Value(connOf{}).(net.Conn)
						_ = conn.Close()
					}
				})
				f := newRecorder()
				f.maxBody = 1000
				f.head = func(x *exchange.Exchange) exchange.Verdict {
					if x.Record = test.record; x.Record {
						return exchange.NeedBody
					}
					return exchange.Continue
				}
				_, front := proxy(t, wirehttp.Config{Ports: onPort(p, f)}, addr)
				for _, want := range []int{200, 502} {
					req, _ := http.NewRequest(test.method, "http://"+front+"/", strings.NewReader(test.body))
					if want == 502 {
						req.Header.Set(test.header, "k")
					}
					resp, err := client(t).Do(req)
					if err != nil {
						t.Fatal(err)
					}
					readAll(t, resp)
					if resp.StatusCode != want {
						t.Errorf("got %d, want %d", resp.StatusCode, want)
					}
					<-f.ended
				}
				if n := seen.Load(); n != 2 {
					t.Errorf("the application saw %d requests", n)
				}
			})
		}
	})
}

// TestRecordedInterim: 1xx responses go through while somebody records.
func TestRecordedInterim(t *testing.T) {
	both(t, func(t *testing.T, p exchange.Protocol) {
		_, front := proxy(t, wirehttp.Config{Ports: onPort(p, newRecorder())}, app(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "x")
			w.WriteHeader(103)
		}))
		got := make(chan int, 1)
		req, _ := http.NewRequest("GET", "http://"+front+"/", nil)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { got <- code; return nil },
		}))
		resp, err := client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, resp)
		if code := <-got; code != 103 || resp.StatusCode != 200 {
			t.Errorf("got %d and %d", code, resp.StatusCode)
		}
	})
}
