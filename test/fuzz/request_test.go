// SPDX-License-Identifier: Apache-2.0

package fuzz

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"weir.dev/weir/sidecar/exchange"
)

// FuzzRequests: bytes of a client, through Weir to an application. What Weir lets
// through, net/http reads from the client's bytes and from Weir's as the same
// requests, as many, and each gets one response.
func FuzzRequests(f *testing.F) {
	for _, s := range requestSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		app := &origin{}
		w := newWeir(exchange.Port{})
		w.dial = app.dial
		requests, out := w.serve(raw)
		w.shutdown()
		app.wg.Wait()
		defer func() {
			if t.Failed() {
				t.Logf("%+v\n%q", requests, out)
			}
		}()
		methods := sameRequests(t, raw, requests, app.seen)
		oneResponseEach(t, out, requests, methods)
	})
}

var requestSeeds = []string{
	"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n",
	"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: h\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: a, b\r\na: 1\r\n\r\n3;x\r\nabc\r\n0\r\n\r\nHEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: h\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET http://h/x?y HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
	"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0, 0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na",
	"GET /?\t HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: h\r\nConnection: X-Forwarded-For, Host\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\nGET /%2e%2e HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
	"GET / HTTP/1.1\nHost: h\n\n",
	"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
}

// reference reads raw as net/http does, and as RFC 9112 §2.2 says ignores an empty
// line before a request.
type reference struct{ br *bufio.Reader }

func (r reference) next() received {
	if b, _ := r.br.Peek(2); string(b) == "\r\n" {
		_, _ = r.br.Discard(2)
	}
	req, err := http.ReadRequest(r.br)
	if err != nil {
		return received{err: err}
	}
	got := received{Request: req}
	got.body, got.err = io.ReadAll(req.Body)
	return got
}

// sameRequests holds what Weir has made of raw, and the application of what Weir
// sent, against net/http; it returns the methods of the requests that were read.
func sameRequests(t *testing.T, raw []byte, requests []served, seen []received) (methods []string) {
	ref := reference{bufio.NewReader(bytes.NewReader(raw))}
	n := 0
	for i, s := range requests {
		want := ref.next()
		if want.Request == nil {
			if s.let {
				t.Errorf("request %d was let through, net/http refuses it: %v", i, want.err)
			}
			break
		}
		methods = append(methods, want.Method)
		if !s.let {
			if want.err != nil {
				break
			}
			continue
		}
		if !s.ended {
			t.Errorf("request %d: its filter was not told the end", i)
		}
		if n == len(seen) {
			if s.outcome == exchange.Replied || s.outcome == exchange.Aborted {
				t.Errorf("request %d is %v, the application has not seen it", i, s.outcome)
			}
			break
		}
		got := seen[n]
		n++
		if got.Request == nil {
			t.Errorf("request %d: the application cannot read it: %v", i, got.err)
			break
		}
		sameHead(t, i, got.Request, want.Request)
		if got.err != nil {
			// Weir has refused the rest of the body, or it did not come.
			if s.outcome == exchange.Replied {
				t.Errorf("request %d has a response, the application got half of it: %v", i, got.err)
			}
			break
		}
		if want.err != nil || !bytes.Equal(got.body, want.body) {
			t.Errorf("request %d: body %q; theirs %q, %v", i, got.body, want.body, want.err)
			break
		}
	}
	if n < len(seen) {
		t.Errorf("the application has seen %d requests, %d were let through", len(seen), n)
	}
	return methods
}

func sameHead(t *testing.T, i int, got, want *http.Request) {
	if got.Method != want.Method || got.RequestURI != originForm(want.RequestURI) {
		t.Errorf("request %d: %s %q; theirs %s %q", i, got.Method, got.RequestURI, want.Method, want.RequestURI)
	}
	host := want.Host
	if _, ok := want.Header["Host"]; !ok && host == "" {
		host = "10.0.0.1:80"
	}
	if !strings.EqualFold(got.Host, host) && want.Host != "" {
		t.Errorf("request %d: host %q, theirs %q", i, got.Host, want.Host)
	}
	for name, values := range got.Header {
		if strings.HasPrefix(name, "X-Forwarded-") || name == "Content-Length" {
			continue
		}
		if !slices.Equal(values, want.Header[name]) {
			t.Errorf("request %d: %s is %q, theirs %q", i, name, values, want.Header[name])
		}
	}
}

// originForm is the path and query of an absolute target.
func originForm(target string) string {
	_, rest, absolute := strings.Cut(target, "://")
	if !absolute || strings.HasPrefix(target, "/") {
		return target
	}
	i := strings.IndexAny(rest, "/?#")
	if i < 0 {
		return "/"
	}
	if rest = rest[i:]; rest[0] != '/' {
		return "/" + rest
	}
	return rest
}

// oneResponseEach holds that a client reads as many responses as there were
// requests, each with the status that Weir says it had.
func oneResponseEach(t *testing.T, out []byte, requests []served, methods []string) {
	br := bufio.NewReader(bytes.NewReader(out))
	for i, s := range requests {
		if s.status == 0 {
			// It got interim responses at most.
			if resp, err := final(br, ""); err == nil {
				t.Errorf("request %d: the client reads %d, Weir says that there is no response", i, resp.StatusCode)
			}
			return
		}
		if i == len(methods) {
			// A head that nobody can read is the connection's last.
			resp, err := final(br, "")
			if err != nil || resp.StatusCode != s.status || !resp.Close {
				t.Errorf("request %d: got %v, %v, want %d", i, resp, err, s.status)
			}
			return
		}
		resp, err := final(br, methods[i])
		if err != nil {
			t.Errorf("request %d: the client cannot read the response: %v", i, err)
			return
		}
		if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != s.status {
			t.Errorf("request %d: the client reads %d, %v, want %d", i, resp.StatusCode, err, s.status)
		}
	}
	if rest, _ := io.ReadAll(br); len(rest) > 0 {
		t.Errorf("the client gets %q that nobody asked for", rest)
	}
}

// final reads responses up to the first that is not interim.
func final(br *bufio.Reader, method string) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil || resp.StatusCode >= 200 {
			return resp, err
		}
	}
}
