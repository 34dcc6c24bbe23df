// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

// TestMixedPipeline: requests that come at once and are denied, let through, refused
// and denied are answered in their order, with bodies of every framing between them,
// and the application sees only those that were let through.
func TestMixedPipeline(t *testing.T) {
	var seen []string
	addr := app(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, r.URL.Path+" "+string(b))
		time.Sleep(20 * time.Millisecond)
		_, _ = io.WriteString(w, "ok")
	})
	f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
		if strings.HasPrefix(string(x.Path), "/deny") {
			return deny(x)
		}
		return exchange.Continue
	}}
	_, front := proxy(t, Config{Ports: chainPorts(f)}, addr)
	c, br := dialRaw(t, front)
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
	var all strings.Builder
	want := []int{}
	for i, r := range []struct {
		path   string
		status int
	}{{"/deny", 403}, {"/allow", 200}, {"/deny", 403}, {"/%2e", 400}, {"/allow", 200}, {"/deny", 403}, {"/deny", 403}, {"/allow", 200}} {
		want = append(want, r.status)
		switch i % 3 {
		case 0:
			fmt.Fprintf(&all, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", r.path, len(smuggled), smuggled)
		case 1:
			fmt.Fprintf(&all, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", r.path)
		default:
			fmt.Fprintf(&all, "POST %s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", r.path, len(smuggled), smuggled)
		}
		// A path that is refused ends the connection: nothing is read behind it.
		if r.status == 400 {
			break
		}
	}
	_, _ = io.WriteString(c, all.String())
	got := []int{}
	for {
		resp, err := nethttp.ReadResponse(br, nil)
		if err != nil {
			break
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if got = append(got, resp.StatusCode); resp.Close || len(got) == len(want) {
			break
		}
	}
	if !slices.Equal(got, []int{403, 200, 403, 400}) {
		t.Errorf("got %v, want %v", got, want)
	}
	if want := []string{"/allow "}; !slices.Equal(seen, want) {
		t.Errorf("the application saw %q, want %q", seen, want)
	}
}

// endless is how much goes through a proxy that must not keep it. What is allocated
// meanwhile, by client, application and what else the process does, is a few buffers:
// a byte of sixty-four that was kept would be as much.
const (
	endless   = 256 << 20
	endlessly = 4 << 20
)

// allocated runs f and returns how many bytes were allocated meanwhile.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestEndless: bodies without an end, either way, and tunnels take no more memory
// than short ones.
func TestEndless(t *testing.T) {
	chunk := []byte("8000\r\n" + strings.Repeat("x", 32<<10) + "\r\n")
	give := func(w io.Writer, n int) {
		for n > 0 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
			n -= 32 << 10
		}
	}
	take := func(r io.Reader) (n int) {
		buf := make([]byte, 32<<10)
		for {
			k, err := r.Read(buf)
			if n += k; err != nil || n >= endless {
				return n
			}
		}
	}
	for name, test := range map[string]struct {
		request  string
		upload   bool
		response string
	}{
		"upload":          {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", true, ""},
		"length upload":   {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000000\r\n\r\n", true, ""},
		"download":        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
		"length download": {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", false, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"},
		"until the end":   {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", false, "HTTP/1.1 200 OK\r\n\r\n"},
		"to HTTP/1.0":     {"GET / HTTP/1.0\r\nHost: h\r\n\r\n", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
		"tunnel out":      {ask, true, agreed},
		"tunnel in":       {ask, false, agreed},
	} {
		t.Run(name, func(t *testing.T) {
			took := make(chan int, 1)
			addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
				readRawHead(br)
				_, _ = io.WriteString(c, test.response)
				if test.upload {
					took <- take(br)
				} else {
					give(c, endless+1<<20)
					// An end would be one in the middle, which resets.
					_, _ = br.ReadByte()
				}
			})
			_, front := proxy(t, Config{Ports: chainPorts()}, addr)
			c, br := dialRaw(t, front)
			n := 0
			bytes := allocated(func() {
				_, _ = io.WriteString(c, test.request)
				if !test.upload {
					n = take(br)
					return
				}
				give(c, endless+1<<20)
				n = <-took
			})
			_ = c.Close()
			if n < endless || bytes > endlessly {
				t.Errorf("%d bytes went through, %d were allocated", n, bytes)
			}
		})
	}
}

// TestEventsInOrder: each event is at the client before the application thinks of the
// next, however it is framed.
func TestEventsInOrder(t *testing.T) {
	for name, test := range map[string]struct{ head, before, after string }{
		"chunks":     {"Transfer-Encoding: chunked\r\n", "b\r\n", "\r\n"},
		"half chunk": {"Transfer-Encoding: chunked\r\n", "16\r\n", ""},
		"length":     {"Content-Length: 1000\r\n", "", ""},
		"until end":  {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			next := make(chan int)
			addr := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
				readRawHead(br)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"+test.head+"\r\n")
				for i := range next {
					before := test.before
					if name == "half chunk" && i%2 == 1 {
						before = ""
					}
					event := fmt.Sprintf("%sdata: %03d\n\n%s", before, i, test.after)
					if name == "half chunk" && i%2 == 1 {
						event += "\r\n"
					}
					_, _ = io.WriteString(c, event)
				}
			})
			_, front := proxy(t, Config{Ports: chainPorts()}, addr)
			c, br := dialRaw(t, front)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			resp, err := nethttp.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, len("data: 000\n\n"))
			for i := range 6 {
				next <- i
				if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != fmt.Sprintf("data: %03d\n\n", i) {
					t.Fatalf("got %q, %v", buf, err)
				}
			}
			close(next)
		})
	}
}
