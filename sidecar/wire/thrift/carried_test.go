// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"bufio"
	"bytes"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// TestNotCarried: what comes over HTTP and is no call is denied in HTTP's words, and no
// filter sees it.
func TestNotCarried(t *testing.T) {
	call := string(binaryCall(message.Call, "echo", 1, "x"))
	for name, test := range map[string]struct {
		method, kind, body string
		status             int
	}{
		"a page":                  {"GET", "", "", 415},
		"a form":                  {"POST", "application/x-www-form-urlencoded", "a=b", 415},
		"two kinds":               {"PUT", "application/x-thrift", call, 415},
		"nothing":                 {"POST", "application/x-thrift", "", 400},
		"half a call":             {"POST", "application/x-thrift", call[:10], 400},
		"a call and half another": {"POST", "application/x-thrift", call + call[:10], 400},
		"two calls":               {"POST", "application/x-thrift", call + call, 400},
		"a frame":                 {"POST", "application/x-thrift", string(framed([]byte(call))), 400},
		"a reply":                 {"POST", "application/x-thrift", string(binaryReply("echo", 1, "x")), 400},
		"a call":                  {"POST", "Application/X-Thrift; charset=x", call, 502},
	} {
		t.Run(name, func(t *testing.T) {
			f := &stub{}
			_, front := proxy(t, Config{Ports: chainPorts(f)}, closedPort(t))
			pool := &nethttp.Transport{}
			t.Cleanup(pool.CloseIdleConnections)
			req, err := nethttp.NewRequestWithContext(t.Context(), test.method, "http://"+front+"/", strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", test.kind)
			resp, err := pool.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != test.status {
				t.Errorf("got %d", resp.StatusCode)
			}
			if _, n := f.last(); (n > 0) != (test.status == 502) {
				t.Errorf("a filter saw it %d times", n)
			}
		})
	}
}

// TestCarriedTooLong: a call that is longer than it may be is denied before it comes.
func TestCarriedTooLong(t *testing.T) {
	_, front := proxy(t, Config{Ports: chainPorts(&stub{})}, closedPort(t))
	c := dialRaw(t, front)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-thrift\r\nContent-Length: 5000000\r\n\r\n")
	resp, err := nethttp.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

// TestNoHTTP: where nobody serves HTTP it is refused like whatever else is no Thrift.
func TestNoHTTP(t *testing.T) {
	why := make(chan Refusal, 1)
	s := New(Config{Ports: chainPorts(&stub{}), Metrics: Metrics{Refused: func(_ uint16, r Refusal) { why <- r }}})
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeConn(near, target("app:1"))
	}()
	go func() { _, _ = io.WriteString(far, "GET / HTTP/1.1\r\nHost: h\r\n\r\n") }()
	if b := ends(t, far); len(b) > 0 {
		t.Errorf("got %q", b)
	}
	if got := <-why; got != RefusedHTTP {
		t.Errorf("refused for %q", got)
	}
	<-done
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// ttCall is a call behind a TTHeader.
func ttCall(t testing.TB, nested bool, value string, infos ...message.Info) []byte {
	t.Helper()
	call := binaryCall(message.Call, "echo", 7, value)
	e := message.Envelope{Transport: message.TTHeader, Seq: 70, Nested: nested, Infos: infos}
	b, ok := message.AppendEnvelope(nil, &e, len(call))
	if !ok {
		t.Fatal("no room")
	}
	return append(b, call...)
}

// ttApp answers calls behind a TTHeader, with an info; what it got goes to seen.
func ttApp(t testing.TB, seen chan<- []string) string {
	return rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		for b := readFrame(br); b != nil; b = readFrame(br) {
			b = framed(b)
			var e message.Envelope
			if err := message.ParseEnvelope(message.TTHeader, b, 0, &e); err != nil {
				t.Error(err)
				return
			}
			var infos []string
			for _, in := range e.Infos {
				infos = append(infos, string(in.Key)+"="+string(in.Value))
			}
			seen <- infos
			reply := echo(b[e.Message:])
			var a message.Envelope
			e.Answer(&a)
			a.Infos = []message.Info{{Key: []byte("secret"), Value: []byte("s")}, {Number: 1, Numbered: true, Value: []byte("n")}}
			head, _ := message.AppendEnvelope(nil, &a, len(reply))
			_, _ = c.Write(append(head, reply...))
		}
	})
}

// TestTTHeader: infos are headers, to both sides; denials have the caller's form.
func TestTTHeader(t *testing.T) {
	for name, nested := range map[string]bool{"plain": false, "framed": true} {
		t.Run(name, func(t *testing.T) {
			f := &stub{}
			f.head = func(x *exchange.Exchange) exchange.Verdict {
				key, n := x.Request.Header("idempotency-key")
				if string(key) != "k" || n != 1 {
					t.Errorf("got %q, %d", key, n)
				}
				x.SetUpstream("weir-idempotency-id", []byte("id"))
				x.SetUpstream("drop", nil)
				x.Add("RateLimit", []byte(`"a";r=0`))
				if v, _ := x.Call.Args.Field([]int16{1}); string(v) == "deny" {
					x.Deny(exchange.Denial{Status: 429, Policy: "ns/p", RetryAfter: 1500000})
					return exchange.Respond
				}
				return exchange.Continue
			}
			f.reply = func(x *exchange.Exchange) {
				if v, n := x.Response.Header("secret"); string(v) != "s" || n != 1 {
					t.Errorf("got %q, %d", v, n)
				}
				x.HideResponse("secret")
			}
			seen := make(chan []string, 1)
			_, front := proxy(t, Config{Ports: chainPorts(f)}, ttApp(t, seen))
			c := dialRaw(t, front)
			br := bufio.NewReader(c)
			infos := []message.Info{{Key: []byte("Idempotency-Key"), Value: []byte("k")}, {Key: []byte("drop"), Value: []byte("x")},
				{Key: []byte("Weir_Idempotency_Id"), Value: []byte("forged")}}
			for _, value := range []string{"hello", strings.Repeat("x", 100<<10), "deny"} {
				_, _ = c.Write(ttCall(t, nested, value, infos...))
				b := framed(readFrame(br))
				var e message.Envelope
				if err := message.ParseEnvelope(message.TTHeader, b, 0, &e); err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, in := range e.Infos {
					got = append(got, string(in.Key)+"="+string(in.Value))
				}
				want := []string{"=n", `ratelimit="a";r=0`}
				if value == "deny" {
					want = []string{`ratelimit="a";r=0`, "retry-after-ms=2", "weir-policy=ns/p"}
				} else if !bytes.Equal(b[e.Message:], binaryReply("echo", 7, value)) {
					t.Errorf("got %.80q", b[e.Message:])
				} else if diff := cmp.Diff([]string{"Idempotency-Key=k", "weir-idempotency-id=id"}, <-seen); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(want, got); diff != "" || e.Nested != nested || e.Seq != 70 {
					t.Errorf("%+v\n%s", e, diff)
				}
				if text := exceptionIn(t, append([]byte{0, 0, 0, 0}, b[e.Message:]...)); value == "deny" &&
					text != "weir: rate limited; policy=ns/p; retry_after_ms=2" {
					t.Errorf("got %q", text)
				}
			}
		})
	}
}
