// SPDX-License-Identifier: Apache-2.0

package http

import (
	"io"
	nethttp "net/http"
	"testing"

	"weir.dev/weir/sidecar/exchange"
)

func TestExpectContinue(t *testing.T) {
	addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(417)
			return
		}
		digest(w, r)
	})
	tests := map[string]struct {
		path   string
		filter *testFilter
		cont   bool
		status int
		close  bool
	}{
		"the application continues":     {"/", &testFilter{}, true, 200, false},
		"the application refuses":       {"/no", &testFilter{}, false, 417, true},
		"a filter needs the body":       {"/", &testFilter{maxBody: 10, head: verdict(exchange.NeedBody)}, true, 200, false},
		"a filter denies":               {"/", &testFilter{head: deny}, false, 403, true},
		"a filter denies with the body": {"/", &testFilter{maxBody: 10, head: verdict(exchange.NeedBody), body: deny}, true, 403, false},
		"too long for a filter":         {"/", &testFilter{maxBody: 2, head: verdict(exchange.NeedBody)}, false, 413, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, front := proxy(t, Config{Ports: chainPorts(test.filter)}, addr)
			c, br := dialRaw(t, front)
			_, _ = io.WriteString(c, "POST "+test.path+" HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
			if test.cont {
				if got := readRawHead(br); got != "HTTP/1.1 100 Continue\r\n\r\n" {
					t.Fatalf("got %q", got)
				}
				_, _ = io.WriteString(c, "hello")
			}
			resp, _ := readResponse(t, br, "POST")
			if resp.StatusCode != test.status || resp.Close != test.close {
				t.Errorf("got %d, close %v", resp.StatusCode, resp.Close)
			}
		})
	}
}

// TestDenialBeforeBody: a denial does not wait for the body, and a body that comes
// late is not taken for the next request.
func TestDenialBeforeBody(t *testing.T) {
	f := &testFilter{head: deny}
	_, front := proxy(t, Config{Ports: chainPorts(f)}, "127.0.0.1:1")
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 28\r\n\r\n")
	if resp, _ := readResponse(t, br, "POST"); resp.StatusCode != 403 || resp.Close {
		t.Errorf("got %d, close %v", resp.StatusCode, resp.Close)
	}
	_, _ = io.WriteString(c, "GET /x HTTP/1.1\r\nHost: h\r\n\r\nHEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
	readResponse(t, br, "HEAD")

	// How long a chunked body will be is not known: the connection ends.
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
	if resp, _ := readResponse(t, br, "POST"); resp.StatusCode != 403 || !resp.Close {
		t.Errorf("got %d, close %v", resp.StatusCode, resp.Close)
	}
	_, _ = io.WriteString(c, "1c\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n\r\n0\r\n\r\n")
	_ = c.CloseWrite()
	if rest, _ := io.ReadAll(br); len(rest) > 0 {
		t.Errorf("more: %q", rest)
	}
	if n := len(f.told()); n != 3 {
		t.Errorf("the filter saw %d requests, want 3", n)
	}
}

// TestDeniedUpload: a client that sends a large body reads the denial.
func TestDeniedUpload(t *testing.T) {
	_, front := proxy(t, Config{Ports: chainPorts(&testFilter{head: deny})}, "127.0.0.1:1")
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n")
	_, _ = c.Write(make([]byte, 100<<10))
	if resp, _ := readResponse(t, br, "POST"); resp.StatusCode != 403 || !resp.Close {
		t.Errorf("got %d, close %v", resp.StatusCode, resp.Close)
	}
}

func verdict(v exchange.Verdict) func(*exchange.Exchange) exchange.Verdict {
	return func(*exchange.Exchange) exchange.Verdict { return v }
}

func deny(x *exchange.Exchange) exchange.Verdict {
	x.Deny(exchange.Denial{Status: 403, Title: "No"})
	return exchange.Respond
}

func TestBodyLimits(t *testing.T) {
	tests := map[string]struct {
		limit  int
		total  int64
		head   string
		body   string
		status int
	}{
		"fits":               {5, 100, "Content-Length: 5\r\n", "hello", 200},
		"fixed, too long":    {4, 100, "Content-Length: 5\r\n", "hello", 413},
		"chunked, too long":  {4, 100, "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", 413},
		"chunked, fits":      {5, 100, "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", 200},
		"all together full":  {100, 4, "Content-Length: 5\r\n", "hello", 503},
		"broken off":         {100, 1 << 20, "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\nx\r\n", 400},
		"empty with a limit": {0, 100, "Content-Length: 0\r\n", "", 200},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := &testFilter{maxBody: test.limit, head: verdict(exchange.NeedBody)}
			s, front := proxy(t, Config{Ports: chainPorts(f), BufferedBytes: test.total}, app(t, digest))
			c, br := dialRaw(t, front)
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\n"+test.head+"\r\n"+test.body)
			resp, body := readResponse(t, br, "POST")
			if resp.StatusCode != test.status {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			_, _ = io.Copy(io.Discard, br)
			if got := s.buffered.Load(); got != 0 {
				t.Errorf("%d bytes are still reserved", got)
			}
		})
	}
}
