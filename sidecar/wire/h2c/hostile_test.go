// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// echo answers with what it got of a request line and headers.
func echo(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	_, _ = io.WriteString(w, r.Method+" "+r.RequestURI+" "+r.Host+" "+string(b))
}

func TestHostile(t *testing.T) { both(t, testHostile) }

func testHostile(t *testing.T, protocol exchange.Protocol) {
	long := strings.Repeat("x", 20<<10)
	many := func(n int) (h []string) {
		for range n {
			h = append(h, "a", "1")
		}
		return h
	}
	const protocolError = "RST_STREAM PROTOCOL_ERROR"
	for name, test := range map[string]struct {
		head []string
		body string // not empty: sent after the head
		want string // one or, where frames race, another
		in   string // of the answer's body
	}{
		"plain":               {request("/a?b"), "", "200", "GET /a?b h "},
		"with body":           {request("/", "content-length", "3"), "abc", "200", "abc"},
		"Host that agrees":    {request("/", "host", "H"), "", "200", "GET / h"},
		"Host alone":          {[]string{":method", "GET", ":scheme", "http", ":path", "/", "host", "other"}, "", "200", "GET / other"},
		"Host that differs":   {request("/", "host", "other"), "", "400", "malformed-request"},
		"two hosts":           {request("/", "host", "h", "host", "h"), "", "400", "malformed-request"},
		"no host":             {[]string{":method", "GET", ":scheme", "http", ":path", "/"}, "", "400", "malformed-request"},
		"userinfo":            {[]string{":method", "GET", ":scheme", "http", ":authority", "u@h", ":path", "/"}, "", protocolError, ""},
		"authority, path":     {[]string{":method", "GET", ":scheme", "http", ":authority", "h/x", ":path", "/"}, "", "400", "malformed-request"},
		"asterisk":            {[]string{":method", "OPTIONS", ":scheme", "http", ":authority", "h", ":path", "*"}, "", "200", "OPTIONS * h"},
		"asterisk, GET":       {request("*"), "", "400", "malformed-request"},
		"absolute path":       {request("http://other/"), "", "400", "malformed-request"},
		"relative path":       {request("a"), "", protocolError, ""},
		"no path":             {request(""), "", protocolError, ""},
		"two slashes":         {request("//a//b"), "", "200", "GET //a//b h"},
		"broken escape":       {request("/%zz"), "", protocolError, ""},
		"escaped dots":        {request("/a/%2e%2e/b"), "", "400", "%2e"},
		"escaped slash":       {request("/a%2fb"), "", "400", "encoded-slash"},
		"backslash":           {request(`/a\b`), "", "400", "encoded-slash"},
		"hash":                {request("/a#b"), "", "400", "malformed-request"},
		"hash in query":       {request("/a?b#c"), "", "400", "malformed-request"},
		"not UTF-8":           {request("/a\xff"), "", "400", "malformed-request"},
		"space in path":       {request("/a b"), "", "400", "malformed-request"},
		"connection":          {request("/", "connection", "close"), "", "400", ""},
		"keep-alive":          {request("/", "keep-alive", "1"), "", "400", ""},
		"proxy-connection":    {request("/", "proxy-connection", "close"), "", "400", ""},
		"transfer-encoding":   {request("/", "transfer-encoding", "chunked"), "", "400", ""},
		"upgrade":             {request("/", "upgrade", "websocket"), "", "400", ""},
		"te":                  {request("/", "te", "gzip"), "", "400", ""},
		"te trailers":         {request("/", "te", "trailers"), "", "200", ""},
		"upper case":          {request("/", "Abc", "x"), "", protocolError, ""},
		"line feed":           {request("/", "a", "b\nc"), "", protocolError, ""},
		"pseudo after":        {[]string{":method", "GET", ":scheme", "http", "a", "b", ":path", "/"}, "", protocolError, ""},
		"unknown pseudo":      {request("/", ":what", "x"), "", protocolError, ""},
		"response pseudo":     {request("/", ":status", "200"), "", protocolError, ""},
		"two methods":         {request("/", ":method", "GET"), "", protocolError, ""},
		"two paths":           {request("/", ":path", "/b"), "", protocolError, ""},
		"no scheme":           {[]string{":method", "GET", ":authority", "h", ":path", "/"}, "", protocolError, ""},
		"another scheme":      {[]string{":method", "GET", ":scheme", "ftp", ":authority", "h", ":path", "/"}, "", protocolError, ""},
		"length, no body":     {request("/", "content-length", "5"), "", "400", "Content-Length"},
		"two lengths":         {request("/", "content-length", "3", "content-length", "3"), "abc", "400", "Content-Length"},
		"length that is none": {request("/", "content-length", "x"), "abc", "400|" + protocolError, ""},
		"signed length":       {request("/", "content-length", "+3"), "abc", "400|" + protocolError, ""},
		"shorter body":        {request("/", "content-length", "5"), "abc", "400|" + protocolError, ""},
		"longer body":         {request("/", "content-length", "2"), "abc", protocolError, ""},
		"CONNECT":             {[]string{":method", "CONNECT", ":authority", "h:1"}, "", "501", "connect-not-allowed"},
		"extended CONNECT":    {[]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "h", ":path", "/"}, "", protocolError, ""},
		"long head":           {request("/", "a", long), "", "431", "request-head-too-large"},
		"long path":           {request("/" + long), "", "431", "request-head-too-large"},
		"longer head":         {request("/", "a", long, "b", long, "c", long, "d", long), "", "431", ""},
		// :authority counts as Host does.
		"256 fields": {request("/", many(255)...), "", "200", ""},
		"257 fields": {request("/", many(256)...), "", "431", "request-head-too-large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := app(t, echo)
			_, front := proxy(t, wirehttp.Config{Ports: onPort(protocol)}, addr)
			r := dialRaw(t, front)
			block := r.fields(test.head...)
			first := min(len(block), 16<<10)
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: first == len(block), EndStream: test.body == "", BlockFragment: block[:first]})
			for rest := block[first:]; len(rest) > 0; {
				n := min(len(rest), 16<<10)
				_ = r.WriteContinuation(1, n == len(rest), rest[:n])
				rest = rest[n:]
			}
			if test.body != "" {
				_ = r.WriteData(1, true, []byte(test.body))
			}
			status, body := r.answer(1)
			if !slices.Contains(strings.Split(test.want, "|"), status) || !strings.Contains(body, test.in) {
				t.Errorf("got %s %q, want %s %q", status, body, test.want, test.in)
			}
		})
	}
}

// A client that opens streams only to reset them is told to go (CVE-2023-44487).
func TestRapidReset(t *testing.T) {
	release := make(chan struct{})
	f := &testFilter{head: func(*exchange.Exchange) exchange.Verdict { <-release; return exchange.Continue }}
	_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.H2C, f)}, app(t, echo))
	defer close(release)
	r := dialRaw(t, front)
	go func() {
		w := http2.NewFramer(r.Conn, nil)
		for id := uint32(1); id < 20_000; id += 2 {
			if w.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: true, BlockFragment: r.fields(request("/")...)}) != nil ||
				w.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				return
			}
		}
	}()
	for {
		s := r.next()
		if s == "GOAWAY ENHANCE_YOUR_CALM" || s == "end" {
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.outcomes); n > maxStreams {
		t.Errorf("%d requests ended", n)
	}
}

// A head without an end is not kept (CVE-2023-45288).
func TestContinuationFlood(t *testing.T) {
	_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.H2C)}, app(t, echo))
	r := dialRaw(t, front)
	_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.fields(request("/")...)})
	piece := []byte{}
	for range 100 {
		piece = append(piece, r.fields("a", strings.Repeat("x", 100))...)
	}
	sent := 0
	for ; sent < 64<<20; sent += len(piece) {
		if r.WriteContinuation(1, false, piece) != nil {
			break
		}
	}
	if sent >= 64<<20 {
		t.Error("64 MiB of a head were taken")
	}
}

// A client may have so many streams open, and no more.
func TestMaxStreams(t *testing.T) {
	release := make(chan struct{})
	f := &testFilter{head: func(*exchange.Exchange) exchange.Verdict { <-release; return exchange.Continue }}
	_, front := proxy(t, wirehttp.Config{Ports: onPort(exchange.H2C, f)}, app(t, echo))
	r := dialRaw(t, front)
	for i := range uint32(maxStreams + 1) {
		r.headers(2*i+1, true, request("/")...)
	}
	if s, want := r.next(), "501 RST_STREAM REFUSED_STREAM"; s != want {
		t.Errorf("got %s, want %s", s, want)
	}
	close(release)
	for range maxStreams {
		if s := r.next(); !strings.HasSuffix(s, "HEADERS 200") && !strings.Contains(s, " DATA ") {
			t.Fatal(s)
		}
	}
}
