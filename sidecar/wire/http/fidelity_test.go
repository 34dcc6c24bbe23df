// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// echoHead answers with the head it got as the body.
func echoHead(t *testing.T, responseFields string) string {
	return rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		for {
			head := readRawHead(br)
			if head == "" {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 All Right\r\n"+responseFields+"content-LENGTH: "+itoa(len(head))+"\r\n\r\n"+head)
		}
	})
}

func itoa(n int) string { return strconv.Itoa(n) }

// TestRequestFidelity: names, order and values go through as they were, but for
// what doc.go lists.
func TestRequestFidelity(t *testing.T) {
	trusted := &exchange.Identity{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Headers: []string{"x-user"}}
	untrusted := &exchange.Identity{Headers: []string{"x-user"}}
	tests := map[string]struct {
		identity  *exchange.Identity
		sent, got string
	}{
		"spelling and order": {nil,
			"GET /a//b/../%7E?q=%2F&x=../ HTTP/1.1\r\nuser-agent: x\r\nZ-Last:  padded \r\nhOST: h\r\nAccept: */*\r\naccept: b\r\ncookie: a=b; a=c\r\n\r\n",
			"GET /a//b/../%7E?q=%2F&x=../ HTTP/1.1\r\nuser-agent: x\r\nZ-Last: padded\r\nhOST: h\r\nAccept: */*\r\naccept: b\r\ncookie: a=b; a=c\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\r\n"},
		"no defaults are added": {nil,
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nX-Forwarded-Proto: https\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"},
		"forwarded-for is appended to": {trusted,
			"GET / HTTP/1.1\r\nx-forwarded-for: 1.2.3.4\r\nx-forwarded-for: 5.6.7.8\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n",
			"GET / HTTP/1.1\r\nx-forwarded-for: 1.2.3.4\r\nx-forwarded-for: 5.6.7.8, 127.0.0.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n"},
		"hop by hop": {nil,
			"GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Hop, X-Forwarded-Proto, Authorization, idempotency-KEY\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nTE: gzip\r\nX-Hop: 1\r\nAuthorization: secret\r\nIdempotency-Key: k\r\nX-Forwarded-Proto: https\r\nUpgrade: h2c\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: secret\r\nIdempotency-Key: k\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"},
		"TE trailers": {nil,
			"GET / HTTP/1.1\r\nHost: h\r\nte: trailers\r\nX-Forwarded-Proto: https\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nte: trailers\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"},
		"Upgrade to h2c is not taken": {nil,
			"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nX-Forwarded-Proto: https\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"},
		"identity headers of strangers": {untrusted,
			"GET / HTTP/1.1\r\nHost: h\r\nX-User: root\r\nx_user: root\r\nX-Users: a\r\nX-Forwarded-Proto: https\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nX-Users: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"},
		"identity headers of trusted peers": {trusted,
			"GET / HTTP/1.1\r\nHost: h\r\nConnection: x-user\r\nX-User: root\r\nX-Forwarded-Proto: https\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nX-User: root\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"},
		"forwarded-for as an identity header": {&exchange.Identity{Headers: []string{"x-forwarded-for", "x-forwarded-proto"}},
			"GET / HTTP/1.1\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nHost: h\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\r\n"},
		"absolute form": {nil,
			"GET http://H?a=b HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n",
			"GET /?a=b HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"},
		"OPTIONS *": {nil,
			"OPTIONS * HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n",
			"OPTIONS * HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"},
		"multipart is not parsed": {nil,
			"POST / HTTP/1.1\r\nHost: h\r\ncontent-type: multipart/form-data; boundary=x\r\nContent-Length: 0\r\nX-Forwarded-Proto: https\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: h\r\ncontent-type: multipart/form-data; boundary=x\r\nContent-Length: 0\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"},
		"an empty line before": {nil,
			"\r\nGET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"},
	}
	addr := echoHead(t, "")
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := chainPorts()
			p.port.Identity = test.identity
			_, front := proxy(t, Config{Ports: p}, addr)
			c, br := dialRaw(t, front)
			_, _ = io.WriteString(c, test.sent)
			_, body := readResponse(t, br, "GET")
			if diff := cmp.Diff(test.got, body); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestResponseFidelity: nothing but framing, connection and the filters' fields
// changes.
func TestResponseFidelity(t *testing.T) {
	f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
		x.Add("RateLimit", []byte("x"))
		return exchange.Continue
	}}
	addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		readRawHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 All Right\r\nsERVER: me\r\nset-cookie: a=b\r\nSet-Cookie: c=d\r\nKeep-Alive: x\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nratelimit: app\r\ncontent-type:  text/x \r\ncontent-LENGTH: 2\r\n\r\nok")
	})
	_, front := proxy(t, Config{Ports: chainPorts(f)}, addr)
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	got, _ := io.ReadAll(br)
	want := "HTTP/1.1 200 All Right\r\nsERVER: me\r\nset-cookie: a=b\r\nSet-Cookie: c=d\r\nratelimit: app\r\ncontent-type: text/x\r\ncontent-LENGTH: 2\r\nRateLimit: x\r\nConnection: close\r\n\r\nok"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// TestExchange: what filters see.
func TestExchange(t *testing.T) {
	type seen struct {
		Method, RawPath, Path, Query, Client, Header string
		Count                                        int
	}
	var got seen
	f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
		v, n := x.Request.Header("x-client-id")
		got = seen{string(x.Method), string(x.RawPath), string(x.Path), string(x.Query), x.Client.String(), string(v), n}
		return exchange.Continue
	}}
	p := chainPorts(f)
	p.port.Identity = &exchange.Identity{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	_, front := proxy(t, Config{Ports: p}, echoHead(t, ""))
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "PATCH /a/./%7eb//?q=1?2 HTTP/1.1\r\nHost: h\r\nX-CLIENT-id:  me \r\nX-Client-Id: you\r\nX-Forwarded-For: 6.6.6.6, 1.2.3.4\r\nContent-Length: 0\r\n\r\n")
	readResponse(t, br, "PATCH")
	want := seen{"PATCH", "/a/./%7eb//", "/a/~b", "q=1?2", "1.2.3.4", "me", 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestListedFields: filters do not see what Connection takes from the application.
func TestListedFields(t *testing.T) {
	var got []int
	f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
		for _, name := range []string{"x-api-key", "x-user", "x-other", "authorization"} {
			_, n := x.Request.Header(name)
			got = append(got, n)
		}
		return exchange.Continue
	}}
	p := chainPorts(f)
	p.port.Identity = &exchange.Identity{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Headers: []string{"x-user"}}
	_, front := proxy(t, Config{Ports: p}, echoHead(t, ""))
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nX-Api-Key: a\r\nX-User: b\r\nX-Other: c\r\nAuthorization: d\r\nConnection: X-Api-Key, x-user, authorization\r\n\r\n")
	_, body := readResponse(t, br, "GET")
	if diff := cmp.Diff([]int{0, 1, 1, 1}, got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(body, "X-Api-Key") || !strings.Contains(body, "X-User: b") {
		t.Errorf("the application got %q", body)
	}
}

// TestBarePath: filters see where a servlet container would lead a path with
// parameters, and the application gets it as it was sent.
func TestBarePath(t *testing.T) {
	var got []string
	f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
		got = append(got, string(x.BarePath))
		return exchange.Continue
	}}
	_, front := proxy(t, Config{Ports: chainPorts(f)}, echoHead(t, ""))
	c, br := dialRaw(t, front)
	var want []string
	for _, test := range [][2]string{{"/pay", ""}, {"/pay;a=b", "/pay"}, {"/open/..;/pay/;x/1", "/pay/1"}, {"/a;b/%2e%2e;/pay", "/pay"}, {"/;", "/"}, {"/pay%3Ba", ""}} {
		_, _ = io.WriteString(c, "GET "+test[0]+" HTTP/1.1\r\nHost: h\r\n\r\n")
		if _, body := readResponse(t, br, "GET"); !strings.HasPrefix(body, "GET "+test[0]+" ") {
			t.Errorf("the application got %q", body)
		}
		want = append(want, test[1])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestEncodedSlash: refused, unless the port lets them through, and then as sent.
func TestEncodedSlash(t *testing.T) {
	for _, pass := range []bool{false, true} {
		p := chainPorts()
		p.port.PassEncodedSlashes = pass
		_, front := proxy(t, Config{Ports: p}, echoHead(t, ""))
		c, br := dialRaw(t, front)
		for range 2 {
			_, _ = io.WriteString(c, "GET /a%2fb%5C%00 HTTP/1.1\r\nHost: h\r\n\r\n")
			resp, body := readResponse(t, br, "GET")
			if pass && (resp.StatusCode != 200 || !strings.HasPrefix(body, "GET /a%2fb%5C%00 ")) {
				t.Errorf("pass: got %d %q", resp.StatusCode, body)
			}
			if !pass && (resp.StatusCode != 400 || !strings.Contains(body, rules.ProblemEncodedSlash)) {
				t.Errorf("refuse: got %d %q", resp.StatusCode, body)
			}
		}
	}
}
