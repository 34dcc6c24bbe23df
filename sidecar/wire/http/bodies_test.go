// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

// digest answers with length and hash of the body, the framing and a trailer.
func digest(w nethttp.ResponseWriter, r *nethttp.Request) {
	h := sha256.New()
	n, err := io.Copy(h, r.Body)
	if err != nil {
		panic(nethttp.ErrAbortHandler)
	}
	fmt.Fprintf(w, "%d %x cl=%d te=%v trailer=%s", n, h.Sum(nil)[:4], r.ContentLength, r.TransferEncoding, r.Trailer.Get("X-Sum"))
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%d %s", len(b), hex.EncodeToString(sum[:4]))
}

func TestRequestBodies(t *testing.T) {
	addr := app(t, digest)
	chunk := func(parts ...string) string {
		var b strings.Builder
		for _, p := range parts {
			fmt.Fprintf(&b, "%x;ext=1\r\n%s\r\n", len(p), p)
		}
		return b.String()
	}
	big := strings.Repeat("0123456789abcdef", 8<<10)
	tests := map[string]struct {
		head, body string
		content    string
		framing    string
	}{
		"none":              {"", "", "", " cl=0 te=[] trailer="},
		"fixed":             {"Content-Length: 5\r\n", "hello", "hello", " cl=5 te=[] trailer="},
		"fixed, big":        {"Content-Length: " + itoa(len(big)) + "\r\n", big, big, " cl=" + itoa(len(big)) + " te=[] trailer="},
		"chunked":           {"Transfer-Encoding: chunked\r\n", chunk("hel", "lo") + "0\r\n\r\n", "hello", " cl=-1 te=[chunked] trailer="},
		"chunked, empty":    {"Transfer-Encoding: chunked\r\n", "0\r\n\r\n", "", " cl=-1 te=[chunked] trailer="},
		"chunked, big":      {"transfer-encoding: Chunked\r\n", chunk(big, big) + "0\r\n\r\n", big + big, " cl=-1 te=[chunked] trailer="},
		"chunked, trailers": {"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", chunk("hello") + "0\r\nX-Sum: 7\r\n\r\n", "hello", " cl=-1 te=[chunked] trailer=7"},
	}
	for name, test := range tests {
		for _, needBody := range []bool{false, true} {
			for _, slow := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/needBody=%v/slow=%v", name, needBody, slow), func(t *testing.T) {
					var seen []byte
					f := &testFilter{maxBody: 1 << 20}
					if needBody {
						f.head = func(*exchange.Exchange) exchange.Verdict { return exchange.NeedBody }
						f.body = func(x *exchange.Exchange) exchange.Verdict {
							if string(x.Method) == "POST" {
								seen = bytes.Clone(x.Body)
							}
							return exchange.Continue
						}
					}
					_, front := proxy(t, Config{Ports: chainPorts(f)}, addr)
					c, br := dialRaw(t, front)
					go func() {
						_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\n"+test.head+"\r\n")
						body := test.body
						if slow && len(body) > 2 {
							_, _ = io.WriteString(c, body[:2])
							time.Sleep(20 * time.Millisecond)
							body = body[2:]
						}
						_, _ = io.WriteString(c, body+"GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
					}()
					resp, body := readResponse(t, br, "POST")
					framing := test.framing
					if needBody && strings.HasPrefix(name, "chunked") && !strings.HasSuffix(name, "trailers") {
						framing = " cl=" + itoa(len(test.content)) + " te=[] trailer="
					}
					if want := digestOf([]byte(test.content)) + framing; body != want || resp.StatusCode != 200 {
						t.Errorf("got %d %q, want %q", resp.StatusCode, body, want)
					}
					if needBody && string(seen) != test.content {
						t.Errorf("the filter saw %d bytes, want %d", len(seen), len(test.content))
					}
					if resp.Close {
						t.Fatal("the connection ends although the body was read")
					}
					if resp, _ := readResponse(t, br, "GET"); resp.StatusCode != 200 {
						t.Errorf("the next request got %d", resp.StatusCode)
					}
				})
			}
		}
	}
}

// TestIdentityTrailers: a stranger cannot say in a trailer what it may not say in
// the head.
func TestIdentityTrailers(t *testing.T) {
	for _, needBody := range []bool{false, true} {
		f := &testFilter{maxBody: 100}
		if needBody {
			f.head = verdict(exchange.NeedBody)
		}
		p := chainPorts(f)
		p.port.Identity = &exchange.Identity{Headers: []string{"x-user"}}
		_, front := proxy(t, Config{Ports: p}, app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, len(r.Trailer["X-User"]), len(r.Trailer["X_user"]), r.Trailer.Get("X-Sum"))
		}))
		c, br := dialRaw(t, front)
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nTrailer: X-User, X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-User: root\r\nX_User: root\r\nX-Sum: 7\r\n\r\n")
		if _, body := readResponse(t, br, "POST"); body != "0 07" {
			t.Errorf("needBody %v: got %q", needBody, body)
		}
	}
}

func TestResponseBodies(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 8<<10)
	tests := map[string]struct {
		method, version, response string
		want                      string // after the status line and fields
		body                      string
		keep                      bool
	}{
		"fixed":                      {"GET", "1.1", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "", "hello", true},
		"empty":                      {"GET", "1.1", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", "", true},
		"big":                        {"GET", "1.1", "HTTP/1.1 200 OK\r\nContent-Length: " + itoa(len(big)) + "\r\n\r\n" + big, "", big, true},
		"chunked":                    {"GET", "1.1", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x\r\nlo\r\n0\r\nX-T: 1\r\n\r\n", "", "hello", true},
		"until close":                {"GET", "1.1", "HTTP/1.1 200 OK\r\n\r\nhello", "", "hello", true},
		"until close, big":           {"GET", "1.1", "HTTP/1.1 200 OK\r\n\r\n" + big, "", big, true},
		"HTTP/1.0 application":       {"GET", "1.1", "HTTP/1.0 200 OK\r\n\r\nhello", "", "hello", true},
		"HEAD":                       {"HEAD", "1.1", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "Content-Length: 5", "", true},
		"HEAD chunked":               {"HEAD", "1.1", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding: chunked", "", true},
		"204":                        {"GET", "1.1", "HTTP/1.1 204 No Content\r\n\r\n", "", "", true},
		"204 with length":            {"GET", "1.1", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "", "", true},
		"304":                        {"GET", "1.1", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "Content-Length: 5", "", true},
		"HTTP/1.0 client":            {"GET", "1.0", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "", "hello", false},
		"HTTP/1.0 client chunked":    {"GET", "1.0", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "", "hello", false},
		"HTTP/1.0 client no framing": {"GET", "1.0", "HTTP/1.1 200 OK\r\n\r\nhello", "", "hello", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
				head := readRawHead(br)
				if !strings.Contains(head, " HTTP/1.1\r\n") {
					t.Errorf("the application was asked with %q", head)
				}
				_, _ = io.WriteString(c, test.response)
				if strings.Contains(test.response, "ength: ") || strings.Contains(test.response, "204") {
					_, _ = br.ReadByte()
				}
			})
			f := &testFilter{}
			_, front := proxy(t, Config{Ports: chainPorts(f)}, addr)
			c, br := dialRaw(t, front)
			_, _ = io.WriteString(c, test.method+" / HTTP/"+test.version+"\r\nHost: h\r\n\r\n")
			resp, body := readResponse(t, br, test.method)
			if body != test.body {
				t.Errorf("got %d bytes, want %d", len(body), len(test.body))
			}
			if resp.Close == test.keep {
				t.Errorf("got close %v", resp.Close)
			}
			if test.version == "1.0" && len(resp.TransferEncoding) > 0 {
				t.Error("chunked to an HTTP/1.0 client")
			}
			if test.want == "Content-Length: 5" && resp.ContentLength != 5 && resp.Header.Get("Content-Length") != "5" {
				t.Errorf("got length %d", resp.ContentLength)
			}
			if name == "chunked" && resp.Trailer.Get("X-T") != "1" {
				t.Errorf("got trailers %v", resp.Trailer)
			}
			if !test.keep {
				if rest, err := io.ReadAll(br); len(rest) > 0 || err != nil {
					t.Errorf("got %q, %v after the response", rest, err)
				}
			}
		})
	}
}

func TestHTTP10KeepAlive(t *testing.T) {
	_, front := proxy(t, Config{Ports: chainPorts()}, app(t, digest))
	c, br := dialRaw(t, front)
	for range 2 {
		_, _ = io.WriteString(c, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
		resp, _ := readResponse(t, br, "GET")
		if resp.StatusCode != 200 || resp.Close || resp.Header.Get("Connection") != "keep-alive" {
			t.Errorf("got %d, close %v, %v", resp.StatusCode, resp.Close, resp.Header)
		}
	}
}

func TestPipelining(t *testing.T) {
	addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.URL.Path+string(b))
	})
	_, front := proxy(t, Config{Ports: chainPorts()}, addr)
	c, br := dialRaw(t, front)
	const n = 200
	go func() {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", i)
		}
		_, _ = io.WriteString(c, b.String())
	}()
	for i := range n {
		if _, body := readResponse(t, br, "POST"); body != fmt.Sprintf("/%dabc", i) {
			t.Fatalf("response %d: got %q", i, body)
		}
	}
}

// TestBodiesStream: more goes through, both ways, than all buffers may hold.
func TestBodiesStream(t *testing.T) {
	addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		w.Header().Set("Content-Length", r.Header.Get("X-Length"))
		_ = nethttp.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	})
	_, front := proxy(t, Config{Ports: chainPorts(), BufferedBytes: 1}, addr)
	const size = 64 << 20
	for _, length := range []int64{size, -1} {
		req, _ := nethttp.NewRequest("POST", "http://"+front+"/", io.LimitReader(zeros{}, size))
		req.ContentLength = length
		if length > 0 {
			req.Header.Set("X-Length", itoa(size))
		}
		resp, err := client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if n != size || err != nil {
			t.Errorf("length %d: got %d bytes, %v", length, n, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestEarlyResponse: the application answers and stops reading while the client
// still sends; the client gets the answer.
func TestEarlyResponse(t *testing.T) {
	for _, framing := range []string{"Content-Length: 1000000000\r\n", "Transfer-Encoding: chunked\r\n"} {
		addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
			readRawHead(br)
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
			_ = c.CloseWrite()
			_, _ = io.CopyN(io.Discard, br, 1000)
		})
		f := &testFilter{ended: make(chan struct{}, 1)}
		_, front := proxy(t, Config{Ports: chainPorts(f)}, addr)
		c, br := dialRaw(t, front)
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\n"+framing+"\r\n3e8\r\n"+strings.Repeat("x", 100))
		resp, body := readResponse(t, br, "POST")
		if resp.StatusCode != 413 || body != "no" || !resp.Close {
			t.Errorf("got %d %q, close %v", resp.StatusCode, body, resp.Close)
		}
		<-f.ended
		if f.told()[0] != exchange.Replied {
			t.Errorf("got outcome %v", f.told()[0])
		}
	}
}

// TestEvents: each piece of a response of unknown length goes on at once.
func TestEvents(t *testing.T) {
	next := make(chan struct{})
	addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(nethttp.Flusher).Flush()
		for i := 0; ; i++ {
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(nethttp.Flusher).Flush()
		}
	})
	f := &testFilter{ended: make(chan struct{}, 1)}
	_, front := proxy(t, Config{Ports: chainPorts(f)}, addr)
	resp, err := client(t).Get("http://" + front + "/")
	if err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(resp.Body)
	for i := range 3 {
		next <- struct{}{}
		line, err := br.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); line != want || err != nil {
			t.Fatalf("got %q, %v", line, err)
		}
		_, _ = br.ReadString('\n')
	}
	// The client goes; the application learns of it although it says nothing.
	_ = resp.Body.Close()
	<-f.ended
	if f.told()[0] != exchange.Aborted {
		t.Errorf("got outcome %v", f.told()[0])
	}
}

func TestInterimResponses(t *testing.T) {
	addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		for readRawHead(br) != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\nConnection: x-a\r\nX-A: 1\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	_, front := proxy(t, Config{Ports: chainPorts()}, addr)
	c, br := dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if got := readRawHead(br); got != "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" {
		t.Errorf("got %q", got)
	}
	if got := readRawHead(br); got != "HTTP/1.1 102 Processing\r\n\r\n" {
		t.Errorf("got %q", got)
	}
	if resp, _ := readResponse(t, br, "GET"); resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
	c, br = dialRaw(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.0\r\nHost: h\r\n\r\n")
	if resp, _ := readResponse(t, br, "GET"); resp.StatusCode != 200 {
		t.Errorf("HTTP/1.0: got %d", resp.StatusCode)
	}
}
