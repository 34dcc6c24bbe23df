// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weir.dev/weir/sidecar/exchange"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// A call to a port that says it is HTTP/1.1 is told what to do; no filter sees it.
func TestGRPCOverHTTP1(t *testing.T) {
	for name, protocol := range map[string]exchange.Protocol{"http": exchange.HTTP, "ws": exchange.WebSocket} {
		t.Run(name, func(t *testing.T) {
			f := &testFilter{}
			_, addr := grpcApp(t)
			_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol, f)}, addr)
			_, err := testpb.NewTestServiceClient(grpcClient(t, front)).EmptyCall(t.Context(), &testpb.Empty{})
			if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "appProtocol: grpc") {
				t.Errorf("got %v", err)
			}
			if told := f.told(); len(told) != 0 {
				t.Errorf("filters saw it: %v", told)
			}
		})
	}
}

// http1App keeps the bytes of each request and answers with response.
func http1App(t *testing.T, response string) (addr string, got func() string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var raw bytes.Buffer
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				br := bufio.NewReader(io.TeeReader(c, writerFunc(func(p []byte) (int, error) {
					mu.Lock()
					defer mu.Unlock()
					return raw.Write(p)
				})))
				for {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					if _, err := io.WriteString(c, response); err != nil || strings.Contains(response, "onnection: close") {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String(), func() string {
		mu.Lock()
		defer mu.Unlock()
		return raw.String()
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// What a request over HTTP/2 looks like in HTTP/1.1.
func TestTranslatedRequest(t *testing.T) {
	const tail = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
	for name, test := range map[string]struct {
		head    []string
		body    string
		trailer []string
		whole   bool // a filter reads the body
		want    string
	}{
		"GET": {request("/a?b", "cookie", "a=b", "accept", "x", "cookie", "c=d"), "", nil, false,
			"GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: x\r\nCookie: a=b; c=d\r\n" + tail + "\r\n"},
		"te": {request("/", "te", "trailers"), "", nil, false, "GET / HTTP/1.1\r\nHost: h\r\nTe: trailers\r\n" + tail + "\r\n"},
		"POST without body": {append([]string{":method", "POST"}, request("/")[2:]...), "", nil, false,
			"POST / HTTP/1.1\r\nHost: h\r\n" + tail + "Content-Length: 0\r\n\r\n"},
		"length": {request("/", "content-length", "3"), "abc", nil, false,
			"GET / HTTP/1.1\r\nHost: h\r\n" + tail + "Content-Length: 3\r\n\r\nabc"},
		"no length": {request("/"), "abc", nil, false,
			"GET / HTTP/1.1\r\nHost: h\r\n" + tail + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		"trailer": {request("/", "trailer", "x-sum, content-length"), "abc", []string{"x-sum", "7"}, false,
			"GET / HTTP/1.1\r\nHost: h\r\n" + tail + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"},
		"trailer that does not come": {request("/", "trailer", "x-sum"), "", nil, false, "GET / HTTP/1.1\r\nHost: h\r\n" + tail + "\r\n"},
		"length and trailer": {request("/", "content-length", "3", "trailer", "x-sum"), "abc", []string{"x-sum", "7"}, false,
			"GET / HTTP/1.1\r\nHost: h\r\n" + tail + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"},
		"whole": {request("/", "content-length", "3"), "abc", nil, true,
			"GET / HTTP/1.1\r\nHost: h\r\n" + tail + "Content-Length: 3\r\n\r\nabc"},
		"whole with trailer": {request("/", "trailer", "x-sum"), "abc", []string{"x-sum", "7"}, true,
			"GET / HTTP/1.1\r\nHost: h\r\n" + tail + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, got := http1App(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			f := &testFilter{maxBody: 100}
			if test.whole {
				f.head = func(*exchange.Exchange) exchange.Verdict { return exchange.NeedBody }
			}
			_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.HTTP, f)}, addr)
			r := dialRaw(t, front)
			r.headers(1, test.body == "", test.head...)
			if test.body != "" {
				_ = r.WriteData(1, test.trailer == nil, []byte(test.body))
			}
			if test.trailer != nil {
				r.headers(1, true, test.trailer...)
			}
			if status, body := r.answer(1); status != "200" || body != "ok" {
				t.Errorf("answer: %s %q", status, body)
			}
			if diff := cmp.Diff(test.want, got()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Of a request that says it has no body, trailers go on when they have come.
func TestTrailersWithoutBody(t *testing.T) { both(t, testTrailersWithoutBody) }

func testTrailersWithoutBody(t *testing.T, protocol exchange.Protocol) {
	for name, test := range map[string]struct {
		length, trailer []string
		want            string
	}{
		"none come":         {nil, nil, ""},
		"none come, length": {[]string{"content-length", "0"}, nil, ""},
		"one, after all":    {[]string{"content-length", "0"}, []string{"x-sum", "7"}, "7"},
		"without a length":  {nil, []string{"x-sum", "7"}, "7"},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan string, 1)
			addr := app(t, func(_ http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				if err != nil || len(b) > 0 {
					t.Errorf("body %q, %v", b, err)
				}
				got <- r.Trailer.Get("X-Sum")
			})
			_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol)}, addr)
			r := dialRaw(t, front)
			r.headers(1, test.trailer == nil, request("/", append(test.length, "trailer", "x-sum")...)...)
			if test.trailer != nil {
				r.headers(1, true, test.trailer...)
			}
			if status, _ := r.answer(1); status != "200" {
				t.Fatal(status)
			}
			if trailer := <-got; trailer != test.want {
				t.Errorf("got %q, want %q", trailer, test.want)
			}
		})
	}
}

// A request that has more of a body than it says is never whole for the application.
func TestMoreThanLength(t *testing.T) { both(t, testMoreThanLength) }

func testMoreThanLength(t *testing.T, protocol exchange.Protocol) {
	for length, sent := range map[string]string{"0": "GET /evil HTTP/1.1\r\n\r\n", "3": "abcdef"} {
		t.Run(length, func(t *testing.T) {
			addr := app(t, func(_ http.ResponseWriter, r *http.Request) {
				if b, err := io.ReadAll(r.Body); err == nil {
					t.Errorf("the application got %q", b)
				}
			})
			f := &testFilter{ended: make(chan struct{}, 1)}
			_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol, f)}, addr)
			r := dialRaw(t, front)
			r.headers(1, false, request("/", "content-length", length)...)
			// In two frames: the first is all that the length says.
			n, _ := strconv.Atoi(length)
			_ = r.WriteData(1, false, []byte(sent[:n]))
			if n > 0 {
				// Until the application has the head, or would have had all.
				time.Sleep(20 * time.Millisecond)
			}
			_ = r.WriteData(1, true, []byte(sent[n:]))
			if status, _ := r.answer(1); status != "RST_STREAM PROTOCOL_ERROR" {
				t.Errorf("got %s", status)
			}
			<-f.ended
		})
	}
}

// The application's part ends with the client's stream, at once.
func TestInterrupted(t *testing.T) {
	for name, path := range map[string]string{"before the head": "/", "in the body": "/events"} {
		t.Run(name, func(t *testing.T) {
			asked, gone := make(chan struct{}), make(chan struct{})
			addr := app(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/events" {
					_ = http.NewResponseController(w).Flush()
				}
				close(asked)
				<-r.Context().Done()
				close(gone)
			})
			_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.HTTP)}, addr)
			r := dialRaw(t, front)
			r.headers(1, true, request(path)...)
			<-asked
			if path == "/events" {
				if s := r.next(); s != "1 HEADERS 200" {
					t.Error(s)
				}
			}
			_ = r.WriteRSTStream(1, http2.ErrCodeCancel)
			<-gone
		})
	}
}

// Nothing in a request over HTTP/2 can end a line, or the request, in HTTP/1.1.
func TestNoInjection(t *testing.T) {
	for name, head := range map[string][]string{
		"path":            request("/ HTTP/1.1\r\nHost: evil\r\n\r\n"),
		"space in query":  request("/?a HTTP/1.1"),
		"space in path":   request("/a HTTP/1.1"),
		"method":          append([]string{":method", "GET /x HTTP/1.1\r\nA: b"}, request("/")[2:]...),
		"spaced method":   append([]string{":method", "GET /x"}, request("/")[2:]...),
		"authority":       {":method", "GET", ":scheme", "http", ":authority", "h\r\nA: b", ":path", "/"},
		"spaced host":     {":method", "GET", ":scheme", "http", ":authority", "h x", ":path", "/"},
		"value":           request("/", "a", "b\r\nc: d"),
		"name":            request("/", "a: b\r\nc", "d"),
		"spaced name":     request("/", "a b", "d"),
		"announced":       request("/", "trailer", "a\r\nb"),
		"NUL in value":    request("/", "a", "b\x00"),
		"coding":          request("/", "transfer-encoding", "chunked"),
		"underscore host": request("/", "host", "evil"),
	} {
		t.Run(name, func(t *testing.T) {
			addr, got := http1App(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.HTTP)}, addr)
			r := dialRaw(t, front)
			r.headers(1, true, head...)
			if status, _ := r.answer(1); status != "400" && !strings.HasPrefix(status, "RST_STREAM") && !strings.HasPrefix(status, "GOAWAY") || got() != "" {
				t.Errorf("got %s, and the application %q", status, got())
			}
		})
	}
}

// What the application says in HTTP/1.1 is said in HTTP/2, without what is only of
// its connection.
func TestTranslatedResponse(t *testing.T) {
	for name, test := range map[string]struct {
		response string
		status   string
		body     string
		outcome  exchange.Outcome
	}{
		"length":       {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-a, keep-alive\r\nX-A: 1\r\nKeep-Alive: 5\r\n\r\nok", "200", "ok", exchange.Replied},
		"chunks":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", "200", "ok", exchange.Replied},
		"until closed": {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", "200", "ok", exchange.Replied},
		"HTTP/1.0":     {"HTTP/1.0 200 OK\r\nX: connection: close\r\n\r\nok", "200", "ok", exchange.Replied},
		"interim":      {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "103", "ok", exchange.Replied},
		"unchanged":    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "304", "", exchange.Replied},
		"empty":        {"HTTP/1.1 204 No Content\r\n\r\n", "204", "", exchange.Replied},
		"too short":    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX: connection: close\r\n\r\nok", "200", "ok", exchange.Aborted},
		"no response":  {"connection: close", "502", "", exchange.SentNoReply},
		"two codings":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n0\r\n\r\n", "502", "", exchange.SentNoReply},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := http1App(t, test.response)
			f := &testFilter{ended: make(chan struct{}, 1)}
			_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.HTTP, f)}, addr)
			r := dialRaw(t, front)
			r.headers(1, true, request("/")...)
			status, body := r.answer(1)
			if status != test.status || test.body != "" && body != test.body {
				t.Errorf("got %s %q", status, body)
			}
			<-f.ended
			if diff := cmp.Diff([]exchange.Outcome{test.outcome}, f.told()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
