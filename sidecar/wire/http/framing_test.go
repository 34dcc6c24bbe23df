// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"testing"
	"time"
)

// refused requests must never reach the application, and nothing after them on
// the connection may be taken for a request.
var refused = map[string]struct {
	raw    string
	status int
}{
	"CL and TE":                 {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	"TE and CL":                 {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
	"two equal CL":              {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
	"two different CL":          {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 0\r\n\r\nabc", 400},
	"CL list":                   {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc", 400},
	"CL with plus":              {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", 400},
	"CL negative":               {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -3\r\n\r\nabc", 400},
	"CL hexadecimal":            {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x3\r\n\r\nabc", 400},
	"CL with underscore":        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1_0\r\n\r\nabc", 400},
	"CL empty":                  {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \r\n\r\nabc", 400},
	"CL overflow":               {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\nabc", 400},
	"CL with a space inside":    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1 0\r\n\r\nabc", 400},
	"TE twice":                  {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	"TE identity":               {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", 400},
	"TE gzip, chunked":          {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400},
	"TE chunked, identity":      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400},
	"TE xchunked":               {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400},
	"TE with vertical tab":      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400},
	"TE quoted":                 {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400},
	"TE on HTTP/1.0":            {"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	"TE empty":                  {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", 400},
	"obs-fold":                  {"GET / HTTP/1.1\r\nHost: h\r\nX-A: b\r\n c\r\n\r\n", 400},
	"folded TE":                 {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400},
	"fold before first field":   {"GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400},
	"space before colon":        {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400},
	"space in name":             {"GET / HTTP/1.1\r\nHost: h\r\nContent Length: 3\r\n\r\n", 400},
	"no name":                   {"GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", 400},
	"no colon":                  {"GET / HTTP/1.1\r\nHost: h\r\nnonsense\r\n\r\n", 400},
	"NUL in value":              {"GET / HTTP/1.1\r\nHost: h\r\nX-A: a\x00b\r\n\r\n", 400},
	"NUL in name":               {"GET / HTTP/1.1\r\nHost: h\r\nX\x00A: b\r\n\r\n", 400},
	"bare CR in value":          {"GET / HTTP/1.1\r\nHost: h\r\nX-A: a\rb\r\n\r\n", 400},
	"bare LF between fields":    {"GET / HTTP/1.1\r\nHost: h\nX-A: b\r\n\r\n", 400},
	"bare LF after the line":    {"GET / HTTP/1.1\nHost: h\r\n\r\n", 400},
	"bare LF at the end":        {"GET / HTTP/1.1\r\nHost: h\r\n\n", 400},
	"no Host":                   {"GET / HTTP/1.1\r\nX-A: b\r\n\r\n", 400},
	"two Hosts":                 {"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400},
	"Host with a user":          {"GET / HTTP/1.1\r\nHost: a@h\r\n\r\n", 400},
	"Host with a space":         {"GET / HTTP/1.1\r\nHost: h evil\r\n\r\n", 400},
	"Host with a path":          {"GET / HTTP/1.1\r\nHost: h/a\r\n\r\n", 400},
	"Host differs from URL":     {"GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"URL of another scheme":     {"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"space in target":           {"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"two spaces":                {"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"tab for space":             {"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"target without slash":      {"GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"star with GET":             {"GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"control in target":         {"GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"method with a bracket":     {"G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"HTTP/0.9":                  {"GET /\r\n\r\n", 400},
	"HTTP/1.2":                  {"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505},
	"HTTP/2.0":                  {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 400},
	"http/1.1":                  {"GET / http/1.1\r\nHost: h\r\n\r\n", 400},
	"HTTP/1.10":                 {"GET / HTTP/1.10\r\nHost: h\r\n\r\n", 400},
	"h2c preface":               {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	"CONNECT":                   {"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", 501},
	"redis":                     {"*1\r\n$4\r\nPING\r\n", 400},
	"smtp":                      {"EHLO example.org\r\n", 400},
	"empty lines and no method": {"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"head too long":             {"GET /" + strings.Repeat("a", 17<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n", 431},
	"field too long":            {"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + strings.Repeat("a", 17<<10) + "\r\n\r\n", 431},
	"too many fields":           {"GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("a: b\r\n", 300) + "\r\n", 400},
	"fragment":                  {"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"escaped dot segment":       {"GET /a/%2e%2E/b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	"broken escape":             {"GET /a%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400},
}

const nextRequest = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

func TestRefusedFraming(t *testing.T) {
	addr := app(t, func(_ nethttp.ResponseWriter, r *nethttp.Request) {
		t.Errorf("the application saw %s %s", r.Method, r.URL)
	})
	_, front := proxy(t, Config{Ports: chainPorts()}, addr)
	for name, test := range refused {
		t.Run(name, func(t *testing.T) {
			c, br := dialRaw(t, front)
			go func() { _, _ = io.WriteString(c, test.raw+nextRequest) }()
			resp, body := readResponse(t, br, "GET")
			if resp.StatusCode != test.status {
				t.Errorf("got status %d, want %d: %s", resp.StatusCode, test.status, body)
			}
			if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("got content type %q", got)
			}
			if !resp.Close {
				t.Error("the connection is not announced to close")
			}
			if rest, _ := io.ReadAll(br); len(rest) > 0 {
				t.Errorf("more after the refusal: %q", rest)
			}
		})
	}
}

// Bodies whose chunks are broken are cut off: the application must never see an
// end of the body, nor what follows as a request.
var brokenChunks = map[string]string{
	"size not hexadecimal":    "zz\r\nabc\r\n0\r\n\r\n",
	"size empty":              "\r\nabc\r\n0\r\n\r\n",
	"size with 0x":            "0x3\r\nabc\r\n0\r\n\r\n",
	"size negative":           "-3\r\nabc\r\n0\r\n\r\n",
	"size overflow":           "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
	"bare LF after size":      "3\nabc\r\n0\r\n\r\n",
	"bare LF in an extension": "3;a\nabc\r\n0\r\n\r\n",
	"data longer than size":   "3\r\nabcd\r\n0\r\n\r\n",
	"data with bare LF":       "3\r\nabc\n0\r\n\r\n",
	"data with bare CR":       "3\r\nabc\rX0\r\n\r\n",
	"forbidden trailer":       "3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
	"folded trailer":          "3\r\nabc\r\n0\r\n x: y\r\n\r\n",
	"folded second line":      "3\r\nabc\r\n0\r\na: b\r\n x: y\r\n\r\n",
	"bare LF after a trailer": "3\r\nabc\r\n0\r\na: b\n\r\n",
	"bare LF at the end":      "3\r\nabc\r\n0\r\n\n",
	"bare CR in a trailer":    "3\r\nabc\r\n0\r\na: b\rc: d\r\n\r\n",
	"NUL in a trailer":        "3\r\nabc\r\n0\r\na: b\x00\r\n\r\n",
	"space in trailer's name": "3\r\nabc\r\n0\r\na b: c\r\n\r\n",
	"space before the colon":  "3\r\nabc\r\n0\r\na : c\r\n\r\n",
	"trailer without colon":   "3\r\nabc\r\n0\r\nabc\r\n\r\n",
	"long extension":          "3;" + strings.Repeat("a", 5000) + "\r\nabc\r\n0\r\n\r\n",
	"long trailers":           "3\r\nabc\r\n0\r\na: " + strings.Repeat("a", 20000) + "\r\n\r\n",
}

func TestBrokenChunks(t *testing.T) {
	addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.URL.Path != "/chunks" {
			t.Errorf("the application saw %s", r.URL)
		}
		if b, err := io.ReadAll(r.Body); err == nil {
			t.Errorf("the application saw a whole body: %q", b)
		}
		w.WriteHeader(204)
	})
	_, front := proxy(t, Config{Ports: chainPorts()}, addr)
	for name, chunks := range brokenChunks {
		t.Run(name, func(t *testing.T) {
			c, br := dialRaw(t, front)
			_, _ = io.WriteString(c, "POST /chunks HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"+chunks+nextRequest)
			resp, _ := readResponse(t, br, "POST")
			if resp.StatusCode != 400 || !resp.Close {
				t.Errorf("got status %d, close %v", resp.StatusCode, resp.Close)
			}
		})
	}
}

// TestEncrypted: a ClientHello is closed without a byte, and counted.
func TestEncrypted(t *testing.T) {
	encrypted := make(chan uint16, 1)
	_, front := proxy(t, Config{Ports: chainPorts(), Metrics: Metrics{Encrypted: func(p uint16) { encrypted <- p }}}, "127.0.0.1:1")
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	if b, err := io.ReadAll(br); len(b) > 0 || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	if got := <-encrypted; got != testPort {
		t.Errorf("counted for port %d", got)
	}
}

// rawApp serves each connection with serve.
func rawApp(t testing.TB, serve func(c *net.TCPConn, br *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				serve(c.(*net.TCPConn), bufio.NewReader(c))
			}()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String()
}

// readRawHead reads up to the empty line.
func readRawHead(br *bufio.Reader) string {
	var b strings.Builder
	for !strings.HasSuffix(b.String(), "\r\n\r\n") {
		line, err := br.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			return b.String()
		}
	}
	return b.String()
}
