// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// request is what a server reads, whole.
type request struct {
	Method, Target, Body string
}

func (r request) String() string {
	return fmt.Sprintf("%q %q with %d bytes", r.Method, r.Target, len(r.Body))
}

// reading is what a server makes of the bytes of one connection.
type reading struct {
	// requests that it read with the whole of their bodies.
	requests []request
	// refused is the first status of 400 and above that it answered, 0 for none.
	refused int
	// answers is how many final responses it sent.
	answers int
}

// reader is a server that the same bytes are given to.
type reader struct {
	name, addr string
	seen       *collector
	// conns is how many connections were made.
	conns atomic.Uint32
}

// from is the address of the next connection: each comes from one of its own, by
// which the collector knows it. Ports would be used again.
func (r *reader) from() net.IP {
	n := r.conns.Add(1)
	return net.IPv4(127, byte(1+n>>16), byte(n>>8), byte(n))
}

const (
	// quiet is how long a reader that may wait for more is given to answer more,
	// when nobody knows whether it will.
	quiet = 300 * time.Millisecond
	// slow is how long one is given that must answer.
	slow = 5 * time.Second
)

// read sends pieces on a connection of its own, each when the ones before have been
// answered, half-closes it when want answers have come, and waits until the server
// has ended it. It does not half-close at once because HAProxy drops requests that
// have arrived together with the end. wait bounds the waits for answers.
func (r *reader) read(pieces [][]byte, want int, wait time.Duration) (reading, error) {
	from := r.from()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	c, err := d.Dial("tcp", r.addr)
	if err != nil {
		return reading{}, fmt.Errorf("%s: %w", r.name, err)
	}
	defer c.Close()
	var out reading
	var got []byte
	ended := false
	for i, p := range pieces {
		written := make(chan struct{})
		go func() {
			defer close(written)
			_, _ = c.Write(p)
		}()
		enough := i + 1
		if i == len(pieces)-1 {
			enough = want
		}
		for !ended && out.answers < enough {
			if got, ended, err = receive(c, got, wait); err != nil {
				break
			}
			out.answers, out.refused = statuses(got)
		}
		if ended {
			break
		}
		<-written
	}
	_ = c.(*net.TCPConn).CloseWrite()
	for !ended {
		if got, ended, err = receive(c, got, patience); err != nil {
			return out, fmt.Errorf("%s does not end the connection; it answered %q", r.name, got)
		}
	}
	out.answers, out.refused = statuses(got)
	out.requests = r.seen.take(from.String())
	return out, nil
}

// receive reads once more. It errs when nothing comes.
func receive(c net.Conn, got []byte, wait time.Duration) (all []byte, ended bool, err error) {
	_ = c.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	got = append(got, buf[:n]...)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return got, false, err
	}
	return got, err != nil, nil
}

// statuses counts the final responses in b and finds the first refusal.
func statuses(b []byte) (answers, refused int) {
	for _, m := range statusLine.FindAllSubmatch(b, -1) {
		status, _ := strconv.Atoi(string(m[1]))
		if status >= 200 {
			answers++
		}
		if status >= 400 && refused == 0 {
			refused = status
		}
	}
	return answers, refused
}

var statusLine = regexp.MustCompile(`(?m)^HTTP/1\.[01] (\d{3})\b`)

// collector keeps the requests that readers report, by the address that
// the connection comes from.
type collector struct {
	mu   sync.Mutex
	seen map[string][]numbered
}

// numbered is a request and its place on its connection.
type numbered struct {
	n int
	request
}

func (c *collector) add(from string, r numbered) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.n < 0 {
		r.n = len(c.seen[from])
	}
	c.seen[from] = append(c.seen[from], r)
}

func (c *collector) take(from string) []request {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.seen[from]
	delete(c.seen, from)
	slices.SortStableFunc(all, func(a, b numbered) int { return cmp.Compare(a.n, b.n) })
	var out []request
	for _, r := range all {
		out = append(out, r.request)
	}
	return out
}

// Fields in which a proxy tells the collector what it has read: the address of
// the client, the place on the connection when the proxy does not keep the order, and
// "METHOD target".
const (
	fieldFrom    = "X-Reader-From"
	fieldNumber  = "X-Reader-Number"
	fieldRequest = "X-Reader-Request"
)

// ServeHTTP takes a report of a proxy.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var trailer textproto.ProtocolError
	if err != nil && !errors.As(err, &trailer) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	// The body is whole; only trailers that the proxy has let through are not
	// what net/http takes.
	n := numbered{n: -1, request: request{Body: string(body)}}
	if at := r.Header.Get(fieldNumber); at != "" {
		n.n, _ = strconv.Atoi(at)
	}
	n.Method, n.Target, _ = strings.Cut(r.Header.Get(fieldRequest), " ")
	if r.Header.Get("X-Reader-Escaped") != "" {
		n.Target, _ = url.PathUnescape(n.Target)
	}
	c.add(r.Header.Get(fieldFrom), n)
	w.WriteHeader(http.StatusNoContent)
}

// serve runs h with net/http and returns its address.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, DisableGeneralOptionsHandler: true, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return ln.Addr().String()
}

// netHTTP reads with Go's server.
func netHTTP(t testing.TB) *reader {
	seen := &collector{seen: map[string][]numbered{}}
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		seen.add(from, numbered{n: -1, request: request{Method: r.Method, Target: r.RequestURI, Body: string(body)}})
		w.WriteHeader(http.StatusNoContent)
	}))
	return &reader{name: "net/http", addr: addr, seen: seen}
}

// readers are net/http and those of the others that are installed.
func readers(t testing.TB) []*reader {
	t.Helper()
	out := []*reader{netHTTP(t)}
	for _, start := range []func(testing.TB, string) *reader{nginx, haproxy, node} {
		seen := &collector{seen: map[string][]numbered{}}
		if r := start(t, serve(t, seen)); r != nil {
			r.seen = seen
			out = append(out, r)
		}
	}
	return out
}
