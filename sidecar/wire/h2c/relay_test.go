// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// What a request says comes through, and nothing is added that is not named in
// docs/http.md.
func TestUnchanged(t *testing.T) { both(t, testUnchanged) }

func testUnchanged(t *testing.T, protocol exchange.Protocol) {
	proto := "HTTP/2.0"
	if protocol == exchange.HTTP {
		proto = "HTTP/1.1"
	}
	var mu sync.Mutex
	var got *http.Request
	var gotBody string
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		got, gotBody = r, string(b)
		mu.Unlock()
		h := w.Header()
		h["Date"] = nil
		h.Set("X-Two", "1")
		h.Add("X-Two", "2")
		h["Content-Type"] = nil
		w.WriteHeader(207)
		_, _ = io.WriteString(w, "<html>")
	})
	f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
		x.Add("RateLimit", []byte("a"))
		return exchange.Continue
	}, ended: make(chan struct{}, 1)}
	_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol, f)}, addr)
	req, _ := http.NewRequest("PATCH", "http://"+front+"/a%41//b;c?x=%zz&y", strings.NewReader("body"))
	req.Host = "shop.example:81"
	req.Header = http.Header{"X-A": {"1", "2"}, "Cookie": {"a=b; c=d"}, "Te": {"trailers"}, "X-Forwarded-For": {"1.2.3.4", "5.6.7.8"},
		"User-Agent": nil, "Traceparent": {"00-1"}}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if body := readAll(t, resp); body != "<html>" || resp.StatusCode != 207 {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	if diff := cmp.Diff(http.Header{"X-Two": {"1", "2"}, "Ratelimit": {"a"}, "Content-Length": {"6"}}, resp.Header); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
	mu.Lock()
	defer mu.Unlock()
	if got.Method != "PATCH" || got.RequestURI != "/a%41//b;c?x=%zz&y" || got.Host != "shop.example:81" || got.Proto != proto || gotBody != "body" {
		t.Errorf("the application got %s %s %s %s %q", got.Method, got.RequestURI, got.Host, got.Proto, gotBody)
	}
	want := http.Header{"X-A": {"1", "2"}, "Cookie": {"a=b; c=d"}, "Te": {"trailers"}, "X-Forwarded-For": {"1.2.3.4", "5.6.7.8, 127.0.0.1"},
		"X-Forwarded-Proto": {"http"}, "Content-Length": {"4"}, "Traceparent": {"00-1"}}
	if diff := cmp.Diff(want, got.Header); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	<-f.ended
	if diff := cmp.Diff([]exchange.Outcome{exchange.Replied}, f.told()); diff != "" {
		t.Error(diff)
	}
}

// Bodies go both ways at once, piece by piece, without an end in sight.
func TestDuplex(t *testing.T) { both(t, testDuplex) }

func testDuplex(t *testing.T, protocol exchange.Protocol) {
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				_, _ = w.Write([]byte(strings.ToUpper(string(buf[:n]))))
				_ = http.NewResponseController(w).Flush()
			}
			if err != nil {
				w.Header().Set(http.TrailerPrefix+"X-Sum", "done")
				return
			}
		}
	})
	_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol)}, addr)
	pr, pw := io.Pipe()
	req, _ := http.NewRequest("POST", "http://"+front+"/", pr)
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	for _, s := range []string{"one", "two", "three"} {
		_, _ = io.WriteString(pw, s)
		n, err := io.ReadAtLeast(resp.Body, buf, len(s))
		if err != nil || string(buf[:n]) != strings.ToUpper(s) {
			t.Fatalf("got %q, %v", buf[:n], err)
		}
	}
	_ = pw.Close()
	readAll(t, resp)
	if got := resp.Trailer.Get("X-Sum"); got != "done" {
		t.Errorf("trailer: %q", got)
	}
}

func TestTrailers(t *testing.T) { both(t, testTrailers) }

func testTrailers(t *testing.T, protocol exchange.Protocol) {
	trailers := make(chan http.Header, 1)
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		trailers <- r.Trailer
		w.Header().Set("Trailer", "X-Announced")
		w.WriteHeader(200)
		_, _ = io.WriteString(w, "x")
		w.Header().Set("X-Announced", "1")
		w.Header().Set(http.TrailerPrefix+"X-Sudden", "2")
	})
	p := onPort(protocol)
	p.port.Identity = &exchange.Identity{Headers: []string{"x-user"}}
	_, front := proxy(t, wirehttp.Config{Ports: p}, addr)
	req, _ := http.NewRequest("POST", "http://"+front+"/", io.MultiReader(strings.NewReader("abc")))
	req.Trailer = http.Header{"X-Sum": {"7"}, "X_user": {"root"}, "X-User": {"root"}}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	readAll(t, resp)
	if diff := cmp.Diff(http.Header{"X-Announced": {"1"}, "X-Sudden": {"2"}}, resp.Trailer); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(http.Header{"X-Sum": {"7"}}, <-trailers); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestInterim(t *testing.T) { both(t, testInterim) }

func testInterim(t *testing.T, protocol exchange.Protocol) {
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(103)
		w.Header().Set("Link", "</b>")
		w.WriteHeader(103)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "end")
	})
	_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol)}, addr)
	var links []string
	req, _ := http.NewRequest("GET", "http://"+front+"/", nil)
	req = req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			links = append(links, h.Get("Link"))
			return nil
		},
	}))
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, resp); got != "end" || resp.Header.Get("Link") != "" {
		t.Errorf("got %q, %v", got, resp.Header)
	}
	if diff := cmp.Diff([]string{"</a>", "</b>"}, links); diff != "" {
		t.Error(diff)
	}
}

func TestNoBody(t *testing.T) { both(t, testNoBody) }

func testNoBody(t *testing.T, protocol exchange.Protocol) {
	for name, test := range map[string]struct {
		method string
		status int
		header string
	}{
		"HEAD": {"HEAD", 200, "7"}, "204": {"GET", 204, ""}, "304": {"GET", 304, ""}, "empty": {"GET", 200, "0"}, "post": {"POST", 201, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := app(t, func(w http.ResponseWriter, r *http.Request) {
				if r.ContentLength != 0 {
					t.Errorf("a body of %d bytes", r.ContentLength)
				}
				if test.header != "" {
					w.Header().Set("Content-Length", test.header)
				}
				w.WriteHeader(test.status)
			})
			_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol)}, addr)
			req, _ := http.NewRequest(test.method, "http://"+front+"/", nil)
			resp, err := client(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, resp); got != "" || resp.StatusCode != test.status || resp.Header.Get("Content-Length") != test.header {
				t.Errorf("got %d %q %v", resp.StatusCode, got, resp.Header)
			}
		})
	}
}

func TestDenial(t *testing.T) { both(t, testDenial) }

func testDenial(t *testing.T, protocol exchange.Protocol) {
	f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
		x.Add("RateLimit", []byte(`"a";r=0;t=2`))
		x.Deny(exchange.Denial{Status: 429, Type: "urn:x", Title: "No", Detail: "say \"when\"", Limits: []string{"a"}, RetryAfter: 1500 * time.Millisecond})
		return exchange.Respond
	}, ended: make(chan struct{}, 9)}
	_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol, f)}, "127.0.0.1:1")
	c := client(t)
	for _, method := range []string{"POST", "HEAD"} {
		req, _ := http.NewRequest(method, "http://"+front+"/", nil)
		if method == "POST" {
			req, _ = http.NewRequest(method, "http://"+front+"/", strings.NewReader(strings.Repeat("x", 1<<20)))
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		want := `{"type":"urn:x","title":"No","status":429,"detail":"say \"when\"","violated-policies":["a"]}` + "\n"
		if body := readAll(t, resp); method == "POST" && body != want {
			t.Errorf("got body %s, want %s", body, want)
		}
		wantHeader := http.Header{"Content-Type": {"application/problem+json"}, "Cache-Control": {"no-store"}, "Content-Length": {"93"},
			"Retry-After": {"2"}, "Ratelimit": {`"a";r=0;t=2`}}
		if diff := cmp.Diff(wantHeader, resp.Header); diff != "" || resp.StatusCode != 429 {
			t.Errorf("%s: got %d (-want +got):\n%s", method, resp.StatusCode, diff)
		}
		<-f.ended
	}
	if diff := cmp.Diff([]exchange.Outcome{exchange.NotSent, exchange.NotSent}, f.told()); diff != "" {
		t.Error(diff)
	}
}

// An application that ends its response too early ends it for the client too.
func TestBrokenOff(t *testing.T) { both(t, testBrokenOff) }

func testBrokenOff(t *testing.T, protocol exchange.Protocol) {
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "part")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	f := &testFilter{ended: make(chan struct{}, 9)}
	var reasons []wirehttp.UpstreamError
	_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol, f), Metrics: wirehttp.Metrics{
		UpstreamError: func(_ uint16, r wirehttp.UpstreamError) { reasons = append(reasons, r) },
	}}, addr)
	resp, err := client(t).Get("http://" + front + "/")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err == nil || string(b) != "part" {
		t.Errorf("the client took %q for the whole: %v", b, err)
	}
	<-f.ended
	if diff := cmp.Diff([]exchange.Outcome{exchange.Aborted}, f.told()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]wirehttp.UpstreamError{wirehttp.UpstreamAborted}, reasons); diff != "" {
		t.Error(diff)
	}
}

// A client that goes ends its request to the application.
func TestClientGoes(t *testing.T) { both(t, testClientGoes) }

func testClientGoes(t *testing.T, protocol exchange.Protocol) {
	begun, gone := make(chan struct{}), make(chan struct{})
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		// Over HTTP/1 net/http notices by the body, where there is one.
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			<-r.Context().Done()
		}
		close(gone)
	})
	f := &testFilter{ended: make(chan struct{}, 9)}
	_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol, f)}, addr)
	pr, pw := io.Pipe()
	req, _ := http.NewRequest("POST", "http://"+front+"/", pr)
	go func() {
		<-begun
		_ = pw.CloseWithError(errors.New("enough"))
	}()
	if _, err := client(t).Do(req); err == nil {
		t.Error("there was an answer")
	}
	<-gone
	<-f.ended
	if diff := cmp.Diff([]exchange.Outcome{exchange.SentNoReply}, f.told()); diff != "" {
		t.Error(diff)
	}
}

// A panic in a filter ends its stream and no other, and the filters before it hear
// of the end.
func TestPanic(t *testing.T) { both(t, testPanic) }

func testPanic(t *testing.T, protocol exchange.Protocol) {
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {})
	first := &testFilter{ended: make(chan struct{}, 9)}
	second := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
		if string(x.Path) == "/panic" {
			panic("a defect")
		}
		return exchange.Continue
	}}
	_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol, first, second)}, addr)
	c := client(t)
	if _, err := c.Get("http://" + front + "/panic"); err == nil {
		t.Error("there was an answer")
	}
	<-first.ended
	var reused bool
	req, _ := http.NewRequest("GET", "http://"+front+"/", nil)
	req = req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}))
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	readAll(t, resp)
	<-first.ended
	if !reused {
		t.Error("the connection ended with the stream")
	}
	if diff := cmp.Diff([]exchange.Outcome{exchange.NotSent, exchange.Replied}, first.told()); diff != "" {
		t.Error(diff)
	}
}
