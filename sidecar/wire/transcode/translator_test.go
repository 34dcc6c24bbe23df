// SPDX-License-Identifier: Apache-2.0

package transcode_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/h2c"
	"weir.dev/weir/sidecar/wire/thrift/message"
	"weir.dev/weir/sidecar/wire/transcode"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// mapping is that of testdata/shop.thrift.
func mapping(t testing.TB) *snapshot.Transcoding {
	t.Helper()
	b, err := os.ReadFile("testdata/shop.txtpb")
	if err != nil {
		t.Fatal(err)
	}
	m := &snapshot.Transcoding{}
	if err := prototext.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	return m
}

func translator(t testing.TB, m *snapshot.Transcoding) *transcode.Translator {
	t.Helper()
	table, err := transcode.Compile(m, transcode.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return transcode.NewTranslator(table, transcode.NewBudget(1<<20))
}

// app is an application of framed binary.
type app struct {
	net.Listener
	// calls are the names of methods that were called, conns how often it was dialled.
	mu    sync.Mutex
	calls []string
	conns atomic.Int32
	// answer gives the fields of a reply; nil: the connection ends.
	answer func(method string) []byte
}

func newApp(t *testing.T, answer func(method string) []byte) *app {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &app{Listener: l, answer: answer}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			a.conns.Add(1)
			wg.Go(func() { a.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return a
}

func (a *app) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	br := bufio.NewReader(c)
	for {
		var size [4]byte
		if _, err := io.ReadFull(br, size[:]); err != nil {
			return
		}
		call := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(br, call); err != nil {
			return
		}
		h, err := message.ParseHead(message.Binary, call)
		if err != nil {
			return
		}
		name := string(h.Name)
		a.mu.Lock()
		a.calls = append(a.calls, name)
		a.mu.Unlock()
		if h.Type == message.Oneway {
			continue
		}
		fields := a.answer(name)
		if fields == nil {
			return
		}
		reply := message.AppendReply(nil, message.Binary, message.Reply, h.Name, h.Seq, fields)
		if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...)); err != nil {
			return
		}
	}
}

func (a *app) called() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.calls, " ")
}

// ports have one.
type ports struct{ one *exchange.Port }

func (p ports) Port(uint16) (*exchange.Port, bool) { return p.one, true }

func (p ports) Ready() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// outcomes is a filter that tells what becomes of exchanges, which may be after the client
// has its response.
type outcomes chan exchange.Outcome

func (outcomes) Head(*exchange.Exchange) exchange.Verdict         { return exchange.Continue }
func (outcomes) MaxBody() int                                     { return 0 }
func (outcomes) Body(*exchange.Exchange) exchange.Verdict         { return exchange.Continue }
func (outcomes) ResponseHead(*exchange.Exchange)                  {}
func (o outcomes) End(_ *exchange.Exchange, out exchange.Outcome) { o <- out }

// sidecar serves a port that transcodes, and returns its URL.
func sidecar(t *testing.T, port *exchange.Port, upstream string) string {
	t.Helper()
	s := wirehttp.New(wirehttp.Config{Ports: ports{port}, HTTP2: h2c.New})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.ServeConn(c, wirehttp.Target{Port: 80, Upstream: upstream})
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
	})
	return "http://" + l.Addr().String()
}

// clients of each version of HTTP.
func clients(t *testing.T) map[string]*http.Client {
	out := map[string]*http.Client{}
	for name, set := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) }, "HTTP/2": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		tr := &http.Transport{Protocols: new(http.Protocols)}
		set(tr.Protocols)
		t.Cleanup(tr.CloseIdleConnections)
		out[name] = &http.Client{Transport: tr}
	}
	return out
}

func do(t *testing.T, c *http.Client, method, url string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Weir-Idempotency-Id", "x") // a port without filters lets it through
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestTranslator(t *testing.T) {
	yes := []byte("\x02\x00\x00\x01\x00") // true
	a := newApp(t, func(method string) []byte {
		switch method {
		case "check":
			return yes
		case "clear":
			return []byte{0}
		}
		return nil
	})
	seen := make(outcomes, 1)
	port := &exchange.Port{Number: 80, Protocol: exchange.HTTP, Chain: exchange.Chain{seen}, Transcoder: translator(t, mapping(t))}
	url := sidecar(t, port, a.Addr().String())
	long := strings.Repeat(" ", 100<<10)
	for version, c := range clients(t) {
		for name, test := range map[string]struct {
			method, path, body string
			unknown            bool
			status             int
			want, allow        string
			outcome            exchange.Outcome
			executed           bool
		}{
			"a result":         {method: "POST", path: "/check", body: `{"number":1}`, status: 200, want: "true", outcome: exchange.Replied, executed: true},
			"chunks":           {method: "POST", path: "/check", body: `{"number":1}` + long, unknown: true, status: 200, want: "true", outcome: exchange.Replied, executed: true},
			"a long body":      {method: "POST", path: "/check", body: long + `{"number":1}`, status: 200, want: "true", outcome: exchange.Replied, executed: true},
			"void":             {method: "DELETE", path: "/all", status: 204, outcome: exchange.Replied, executed: true},
			"oneway":           {method: "DELETE", path: "/users/7", status: 202, outcome: exchange.Replied, executed: true},
			"no route":         {method: "GET", path: "/nowhere", status: 404, want: "No Thrift method is mapped to this path.", outcome: exchange.Replied},
			"another method":   {method: "PATCH", path: "/check", status: 405, want: "This path has no Thrift method", allow: "POST", outcome: exchange.Replied},
			"a bad request":    {method: "POST", path: "/check", body: "x", status: 400, want: "is not well formed", outcome: exchange.Replied},
			"more than fits":   {method: "POST", path: "/check", body: strings.Repeat(" ", 2<<20), status: 503, want: "Too Many Bodies", outcome: exchange.Replied},
			"no answer at all": {method: "GET", path: "/users/latest/charges", status: 502, outcome: exchange.SentNoReply, executed: true},
		} {
			t.Run(version+" "+name, func(t *testing.T) {
				var body io.Reader = strings.NewReader(test.body)
				if test.unknown {
					body = io.MultiReader(body)
				}
				resp, got := do(t, c, test.method, url+test.path, body)
				if resp.StatusCode != test.status || !strings.Contains(got, test.want) || resp.Header.Get("Allow") != test.allow {
					t.Errorf("%d %q, Allow %q", resp.StatusCode, got, resp.Header.Get("Allow"))
				}
				if executed := resp.Header.Get("Weir-Idempotency-Outcome") == ""; executed != test.executed {
					t.Errorf("executed: %v", executed)
				}
				if got := <-seen; got != test.outcome {
					t.Errorf("outcome %v, want %v", got, test.outcome)
				}
			})
		}
	}
}

func TestTranslatorKeepsConnections(t *testing.T) {
	a := newApp(t, func(string) []byte { return []byte("\x02\x00\x00\x01\x00") })
	port := &exchange.Port{Number: 80, Protocol: exchange.HTTP, Transcoder: translator(t, mapping(t))}
	url := sidecar(t, port, a.Addr().String())
	c := clients(t)["HTTP/1.1"]
	for range 5 {
		if resp, got := do(t, c, "POST", url+"/check", strings.NewReader(`{"number":1}`)); resp.StatusCode != 200 {
			t.Fatal(resp.Status, got)
		}
	}
	if n := a.conns.Load(); n != 1 || a.called() != "check check check check check" {
		t.Errorf("%d connections for %s", n, a.called())
	}
}

func TestTranslatorWithoutApplication(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	seen := make(outcomes, 1)
	port := &exchange.Port{Number: 80, Protocol: exchange.HTTP, Chain: exchange.Chain{seen}, Transcoder: translator(t, mapping(t))}
	resp, _ := do(t, clients(t)["HTTP/1.1"], "DELETE", sidecar(t, port, l.Addr().String())+"/all", nil)
	if got := <-seen; resp.StatusCode != 502 || got != exchange.NotSent {
		t.Errorf("%s, outcome %v", resp.Status, got)
	}
}

func TestTranslatorWithoutMapping(t *testing.T) {
	a := newApp(t, func(string) []byte { return nil })
	port := &exchange.Port{Number: 80, Protocol: exchange.HTTP, Transcoder: translator(t, &snapshot.Transcoding{})}
	resp, got := do(t, clients(t)["HTTP/1.1"], "DELETE", sidecar(t, port, a.Addr().String())+"/all", nil)
	if resp.StatusCode != 503 || !strings.Contains(got, "thrift-no-mapping") || a.called() != "" {
		t.Errorf("%s %s, calls %q", resp.Status, got, a.called())
	}
}

func TestTranslatorTimeout(t *testing.T) {
	hold := make(chan struct{})
	a := newApp(t, func(string) []byte { <-hold; return nil })
	t.Cleanup(func() { close(hold) })
	seen := make(outcomes, 1)
	port := &exchange.Port{Number: 80, Protocol: exchange.HTTP, Chain: exchange.Chain{seen}, Transcoder: translator(t, mapping(t)),
		Timeouts: []exchange.RouteTimeout{{Prefix: "/", Response: 50 * time.Millisecond}}}
	resp, _ := do(t, clients(t)["HTTP/1.1"], "DELETE", sidecar(t, port, a.Addr().String())+"/all", nil)
	if got := <-seen; resp.StatusCode != 504 || got != exchange.SentNoReply {
		t.Errorf("%s, outcome %v", resp.Status, got)
	}
}

// However a request is cut into writes, the call is the same.
func FuzzTranslatorWrites(f *testing.F) {
	f.Add([]byte("POST /check HTTP/1.1\r\nContent-Length: 12\r\n\r\n{\"number\":1}"), uint16(7))
	f.Add([]byte("POST /check HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"num\r\n7\r\nber\":1}\r\n0\r\nA: b\r\n\r\n"), uint16(3))
	f.Add([]byte("POST http://h/check HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx"), uint16(1))
	f.Fuzz(func(t *testing.T, request []byte, step uint16) {
		whole, ok := calls(t, request, len(request))
		cut, okCut := calls(t, request, int(step)+1)
		if ok && okCut && !bytes.Equal(whole, cut) {
			t.Errorf("%q and %q", whole, cut)
		}
	})
}

// calls writes a request in steps and returns what the application gets of it.
func calls(t *testing.T, request []byte, step int) ([]byte, bool) {
	var got written
	c := translator(t, mapping(t)).Attach(&got)
	for len(request) > 0 {
		n := min(step, len(request))
		if _, err := c.Write(request[:n]); err != nil {
			return nil, false
		}
		request = request[n:]
	}
	return got.Bytes(), true
}

// written is a connection that only takes.
type written struct {
	net.Conn
	bytes.Buffer
}

func (w *written) Write(p []byte) (int, error)     { return w.Buffer.Write(p) }
func (w *written) Read([]byte) (int, error)        { return 0, errors.New("there is nothing") }
func (w *written) Close() error                    { return nil }
func (w *written) SetReadDeadline(time.Time) error { return nil }
