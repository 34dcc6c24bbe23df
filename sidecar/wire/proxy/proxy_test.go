// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/wire/http"
	"weir.dev/weir/sidecar/wire/listen"
	"weir.dev/weir/sidecar/wire/proxy"
	wirethrift "weir.dev/weir/sidecar/wire/thrift"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a proxy before an application, governed by an engine.
type world struct {
	engine  *engine.Engine
	server  *proxy.Server
	address string

	mu      sync.Mutex
	refused []string
	calls   map[string]int
}

const port = 9090

func start(t *testing.T, upstream string, protocol snapshot.Protocol, p *snapshot.RateLimitPolicy) *world {
	t.Helper()
	w := &world{engine: engine.New(engine.Options{}), calls: map[string]int{}}
	t.Cleanup(w.engine.Close)
	p.Name, p.FailurePolicy, p.Headers = "pay", snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK, snapshot.HeaderStyle_HEADER_STYLE_IETF
	err := w.engine.Apply(&snapshot.Snapshot{
		Workload:          &snapshot.Workload{Cluster: "c", Namespace: "shop", Key: "k"},
		Ports:             []*snapshot.Port{{Number: port, Protocol: protocol, RateLimitPolicy: "pay"}},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{p},
	})
	if err != nil {
		t.Fatal(err)
	}
	refused := func(why string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.refused = append(w.refused, why)
	}
	w.server = proxy.New(proxy.Config{
		Ports: w.engine, Logger: slog.New(slog.DiscardHandler),
		HTTP: http.Metrics{Refused: func(_ uint16, why http.Refusal) { refused("http " + string(why)) }},
		Thrift: wirethrift.Metrics{
			Refused: func(_ uint16, why wirethrift.Refusal) { refused("thrift " + string(why)) },
			Call: func(_ uint16, method string, r wirethrift.Result, _ time.Time) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.calls[method+" "+string(r)]++
			},
		},
	})
	w.listen(t, upstream)
	return w
}

func (w *world) listen(t *testing.T, upstream string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- listen.Serve(ctx, ln, listen.Fixed(port, upstream), w.server, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		grace, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		if err := w.server.Shutdown(grace); err != nil {
			t.Error(err)
		}
	})
	w.address = ln.Addr().String()
}

func (w *world) counted() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.calls)
}

func limit(n uint64, edit func(*snapshot.Limit)) *snapshot.RateLimitPolicy {
	l := &snapshot.Limit{
		Name: "per-user", Limit: n, WindowSeconds: 3600, Algorithm: snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW,
		Scope: snapshot.Scope_SCOPE_POD, OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP,
	}
	edit(l)
	return &snapshot.RateLimitPolicy{Limits: []*snapshot.Limit{l}}
}

// charges counts calls of charge by the user in its arguments.
func charges(n uint64, service string) *snapshot.RateLimitPolicy {
	return limit(n, func(l *snapshot.Limit) {
		l.Match = []*snapshot.Match{{Kind: &snapshot.Match_Thrift{Thrift: &snapshot.ThriftMatch{Service: service, Methods: []string{"charge"}}}}}
		l.Key = []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_ThriftField{ThriftField: "1.3"}}}
	})
}

// call is what a client gets: the result, the exception or its failure.
func call(t *testing.T, c thrift.TClient, method, user string) string {
	t.Helper()
	var r result
	_, err := c.Call(t.Context(), method, &args{user}, &r)
	var e thrift.TApplicationException
	switch {
	case errors.As(err, &e):
		return regexp.MustCompile(`retry_after_ms=[1-9]\d*000$`).ReplaceAllString(e.Error(), "retry_after_ms=N") + " " + strconv.Itoa(int(e.TypeId()))
	case err != nil:
		t.Fatal(err)
	case r.failure != "":
		return "declared"
	}
	return r.success
}

const denied = "weir: rate limited; policy=shop/pay; limit=per-user; retry_after_ms=N 6"

// A limit per user of one method, for clients of all kinds: by an argument, which is
// read without an IDL.
func TestLimits(t *testing.T) {
	for _, s := range []stack{
		{"framed", "binary", ""}, {"framed", "compact", ""}, {"framed", "json", ""}, {"unframed", "binary", ""}, {"unframed", "compact", ""},
		{"header", "binary", ""}, {"header", "compact", ""}, {"http", "binary", ""}, {"http", "json", ""},
		{"framed", "binary", "Payments"}, {"unframed", "compact", "Payments"},
	} {
		for _, protocol := range []snapshot.Protocol{snapshot.Protocol_PROTOCOL_THRIFT, snapshot.Protocol_PROTOCOL_AUTO} {
			if protocol == snapshot.Protocol_PROTOCOL_AUTO && s.transport == "http" {
				continue // there it is HTTP.
			}
			t.Run(s.String()+" "+protocol.String(), func(t *testing.T) {
				t.Parallel()
				a := &app{}
				w := start(t, s.serve(t, a), protocol, charges(2, "Payments"))
				c := s.dial(t, w.address)
				var got []string
				for _, ask := range [][2]string{{"charge", "a"}, {"charge", "a"}, {"charge", "a"}, {"charge", "b"}, {"ping", "a"}} {
					got = append(got, call(t, c, ask[0], ask[1]))
				}
				if d := cmp.Diff([]string{"charge a", "charge a", denied, "charge b", "ping a"}, got); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
				if d := cmp.Diff([]string{"charge a", "charge a", "charge b", "ping a"}, a.reached()); d != "" {
					t.Errorf("the application has seen (-want +got):\n%s", d)
				}
				if s.transport == "http" {
					return
				}
				label := "charge"
				if s.service != "" {
					label = "Payments.charge"
				}
				want := map[string]int{label + " success": 3, label + " denied": 1, "other success": 1}
				// A call is counted once its answer is on its way.
				d := "never"
				for end := time.Now().Add(time.Minute); d != "" && time.Now().Before(end); time.Sleep(time.Millisecond) {
					d = cmp.Diff(want, w.counted())
				}
				if d != "" {
					t.Errorf("calls (-want +got):\n%s", d)
				}
			})
		}
	}
}

// Another service is not covered, and a limit without a match covers every call.
func TestWhatIsCovered(t *testing.T) {
	s := stack{"framed", "binary", "Refunds"}
	w := start(t, s.serve(t, &app{}), snapshot.Protocol_PROTOCOL_THRIFT, charges(1, "Payments"))
	c := s.dial(t, w.address)
	for range 3 {
		if got := call(t, c, "charge", "a"); got != "charge a" {
			t.Errorf("another service: %s", got)
		}
	}
	w = start(t, s.serve(t, &app{}), snapshot.Protocol_PROTOCOL_THRIFT, limit(2, func(*snapshot.Limit) {}))
	c = s.dial(t, w.address)
	got := []string{call(t, c, "charge", "a"), call(t, c, "ping", "b"), call(t, c, "pong", "c")}
	if d := cmp.Diff([]string{"charge a", "ping b", denied}, got); d != "" {
		t.Errorf("no match (-want +got):\n%s", d)
	}
}

// Typed clients catch what the method declares; others see the code that the policy says.
func TestAnswers(t *testing.T) {
	s := stack{"framed", "compact", ""}
	for name, test := range map[string]struct {
		answers *snapshot.ThriftAnswers
		want    string
	}{
		"a declared exception": {&snapshot.ThriftAnswers{ExceptionField: 2}, "declared"},
		"another code":         {&snapshot.ThriftAnswers{ExceptionCode: 8}, denied[:len(denied)-1] + "8"},
	} {
		t.Run(name, func(t *testing.T) {
			p := charges(1, "")
			p.Thrift = test.answers
			w := start(t, s.serve(t, &app{}), snapshot.Protocol_PROTOCOL_THRIFT, p)
			c := s.dial(t, w.address)
			if got := []string{call(t, c, "charge", "a"), call(t, c, "charge", "a")}; !slices.Equal(got, []string{"charge a", test.want}) {
				t.Errorf("got %q", got)
			}
		})
	}
}

// Nothing answers a method that is oneway, whatever the type of its message says: an
// answer would be taken for that of the next call.
func TestOneway(t *testing.T) {
	s := stack{"framed", "binary", ""}
	a := &app{}
	p := limit(1, func(l *snapshot.Limit) {
		l.Match = []*snapshot.Match{{Kind: &snapshot.Match_Thrift{Thrift: &snapshot.ThriftMatch{Methods: []string{"note"}}}}}
	})
	p.Thrift = &snapshot.ThriftAnswers{OnewayMethods: []string{"note"}}
	w := start(t, s.serve(t, a), snapshot.Protocol_PROTOCOL_THRIFT, p)
	c := s.dial(t, w.address)
	for range 3 {
		if _, err := c.Call(t.Context(), "note", &args{"a"}, nil); err != nil {
			t.Fatal(err)
		}
		if got := call(t, c, "ping", "b"); got != "ping b" {
			t.Errorf("after a note: %s", got)
		}
	}
	if d := cmp.Diff([]string{"note a", "ping b", "ping b", "ping b"}, a.reached()); d != "" {
		t.Errorf("the application has seen (-want +got):\n%s", d)
	}
}

// Infos of a THeader are keys.
func TestHeaders(t *testing.T) {
	s := stack{"header", "compact", ""}
	w := start(t, s.serve(t, &app{}), snapshot.Protocol_PROTOCOL_THRIFT, limit(1, func(l *snapshot.Limit) {
		l.Key = []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_ThriftHeader{ThriftHeader: "x-tenant"}}}
	}))
	c := s.dial(t, w.address)
	for i, tenant := range []string{"a", "b", "a"} {
		ctx := thrift.SetWriteHeaderList(thrift.SetHeader(t.Context(), "X-Tenant", tenant), []string{"X-Tenant"})
		var r result
		meta, err := c.Call(ctx, "ping", &args{"u"}, &r)
		if i < 2 {
			if err != nil {
				t.Errorf("tenant %s: %v", tenant, err)
			}
			continue
		}
		var e thrift.TApplicationException
		if !errors.As(err, &e) || meta.Headers["weir-policy"] != "shop/pay" || meta.Headers["retry-after-ms"] == "" {
			t.Errorf("tenant a again: %v with %v", err, meta.Headers)
		}
	}
}

// What is no Thrift is closed and counted where the port says that it is; where the port
// says nothing, limits without a match hold for both protocols together.
func TestOtherProtocols(t *testing.T) {
	s := stack{"framed", "binary", ""}
	w := start(t, s.serve(t, &app{}), snapshot.Protocol_PROTOCOL_THRIFT, limit(1, func(*snapshot.Limit) {}))
	for name, first := range map[string]string{"thrift unknown": "\xff\xff\xff\xff\xff\xff\xff\xff", "thrift tls": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"} {
		if got := raw(t, w.address, first); got != "" {
			t.Errorf("%s: got %q", name, got)
		}
		w.mu.Lock()
		if !slices.Contains(w.refused, name) {
			t.Errorf("%s is not counted: %q", name, w.refused)
		}
		w.mu.Unlock()
	}
	if got := raw(t, w.address, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); !regexp.MustCompile("^HTTP/1.1 415 ").MatchString(got) {
		t.Errorf("a GET gets %q", got)
	}

	web := httptest.NewServer(nethttp.HandlerFunc(func(nethttp.ResponseWriter, *nethttp.Request) {}))
	defer web.Close()
	w = start(t, web.Listener.Addr().String(), snapshot.Protocol_PROTOCOL_AUTO, limit(1, func(*snapshot.Limit) {}))
	if got := raw(t, w.address, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); !regexp.MustCompile("^HTTP/1.1 200 ").MatchString(got) {
		t.Errorf("a GET gets %q", got)
	}
	if got := call(t, s.dial(t, w.address), "ping", "a"); got != denied {
		t.Errorf("a call after it: %s", got)
	}
}

func raw(t *testing.T, address, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(c)
	return string(got)
}

// Connections are counted wherever they are served, and Drain and Shutdown reach all.
func TestEnds(t *testing.T) {
	s := stack{"framed", "binary", ""}
	w := start(t, s.serve(t, &app{}), snapshot.Protocol_PROTOCOL_THRIFT, limit(9, func(*snapshot.Limit) {}))
	c := s.dial(t, w.address)
	if got := call(t, c, "ping", "a"); got != "ping a" {
		t.Error(got)
	}
	if n := w.server.Conns(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	w.server.Drain()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	var r result
	if _, err := c.Call(t.Context(), "ping", &args{"a"}, &r); err == nil {
		t.Error("a call after the end was answered")
	}
}
