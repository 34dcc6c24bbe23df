// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/telemetry/trace"
	"weir.dev/weir/sidecar/telemetry/trace/tracetest"
	"weir.dev/weir/sidecar/wire/h2c"
	"weir.dev/weir/sidecar/wire/listen"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

const (
	clientTrace = "0af7651916cd43dd8448eb211c80319c"
	clientSpan  = "b7ad6b7169203331"
	sampled     = "00-" + clientTrace + "-" + clientSpan + "-01"
	unsampled   = "00-" + clientTrace + "-" + clientSpan + "-00"
)

// one limits a port of one protocol to so many requests.
func one(protocol snapshot.Protocol, limit uint64, tel *snapshot.Telemetry) *snapshot.Snapshot {
	return &snapshot.Snapshot{
		Workload:  &snapshot.Workload{Cluster: "local", Namespace: "shop", Key: "w"},
		Telemetry: tel,
		Ports:     []*snapshot.Port{{Number: 8080, Protocol: protocol, RateLimitPolicy: "payments"}},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{
			Name: "payments", Generation: 1,
			FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK, Headers: snapshot.HeaderStyle_HEADER_STYLE_IETF,
			Limits: []*snapshot.Limit{{
				Name: "all", Algorithm: snapshot.Algorithm_ALGORITHM_FIXED_WINDOW, Limit: limit, WindowSeconds: 3600,
				OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP, Scope: snapshot.Scope_SCOPE_POD,
			}},
		}},
	}
}

// origin keeps the heads that it gets.
type origin struct {
	mu    sync.Mutex
	heads []http.Header
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	o.mu.Lock()
	o.heads = append(o.heads, r.Header.Clone())
	o.mu.Unlock()
	_, _ = io.WriteString(w, "paid")
}

func (o *origin) last(t *testing.T) http.Header {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.heads) == 0 {
		t.Fatal("the application got no request")
	}
	return o.heads[len(o.heads)-1]
}

// plane is an engine and a server, as the sidecar has them, before an origin.
type plane struct {
	engine *engine.Engine
	origin *origin
	url    string
	client *http.Client
}

func serve(t *testing.T, observer engine.Options, http2 bool) *plane {
	t.Helper()
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	p := &plane{origin: &origin{}, engine: engine.New(observer)}
	app := httptest.NewUnstartedServer(p.origin)
	app.Config.Protocols = &protocols
	app.Start()
	t.Cleanup(app.Close)
	t.Cleanup(p.engine.Close)
	log := slog.New(slog.DiscardHandler)
	server := wirehttp.New(wirehttp.Config{Ports: p.engine, Logger: log, HTTP2: h2c.New})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := listen.Serve(ctx, l, listen.Fixed(8080, app.Listener.Addr().String()), server, log); err != nil {
			t.Error(err)
		}
	})
	transport := &http.Transport{Protocols: &protocols}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		wg.Wait()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			t.Error(err)
		}
	})
	p.url, p.client = "http://"+l.Addr().String(), &http.Client{Transport: transport}
	return p
}

// do sends a request and returns its status.
func (p *plane) do(t *testing.T, h http.Header) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/v1/payments?token=s3cret", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = h.Clone()
	req.Header.Set("Authorization", "Bearer s3cret")
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

var wires = map[string]struct {
	http2    bool
	protocol snapshot.Protocol
	version  string
}{
	"HTTP/1.1": {false, snapshot.Protocol_PROTOCOL_HTTP, "1.1"},
	"HTTP/2":   {true, snapshot.Protocol_PROTOCOL_H2C, "2"},
}

// A client's trace goes on through Weir to the application; a request that a
// policy denies has a span that says so, and a line.
func TestThroughTheServer(t *testing.T) {
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			c := tracetest.Start(t, "", nil)
			tel, out, l := start(t)
			p := serve(t, engine.Options{Observer: tel.Observer}, wire.http2)
			cfg := tracing(c.Address, 0)
			cfg.AccessLog = &snapshot.AccessLog{Mode: snapshot.AccessLog_MODE_ALL}
			if err := p.engine.Apply(one(wire.protocol, 3, cfg)); err != nil {
				t.Fatal(err)
			}
			others := http.Header{"Tracestate": {"a=1"}, "Baggage": {"user=7"}, "B3": {"0"}}
			with := func(parent string) http.Header {
				h := others.Clone()
				h.Set("Traceparent", parent)
				return h
			}
			// Sampled: Weir's span is between the client's and the application's.
			if status := p.do(t, with(sampled)); status != 200 {
				t.Fatalf("status %d", status)
			}
			got := p.origin.last(t)
			parent, ok := trace.Parse([]byte(got.Get("Traceparent")))
			if !ok || hex.EncodeToString(parent.TraceID[:]) != clientTrace || !parent.Sampled() || hex.EncodeToString(parent.SpanID[:]) == clientSpan {
				t.Errorf("the application gets traceparent %q", got["Traceparent"])
			}
			if n := len(got["Traceparent"]); n != 1 {
				t.Errorf("the application gets %d traceparents", n)
			}
			got.Del("Traceparent")
			if d := gocmp.Diff(others, traces(got)); d != "" {
				t.Errorf("what passes (-want +got):\n%s", d)
			}
			// Not sampled, and none: all as it was sent.
			for _, h := range []http.Header{with(unsampled), others} {
				if status := p.do(t, h); status != 200 {
					t.Fatalf("status %d", status)
				}
				if d := gocmp.Diff(h, traces(p.origin.last(t))); d != "" {
					t.Errorf("what passes unsampled (-want +got):\n%s", d)
				}
			}
			// The fourth is denied.
			if status := p.do(t, with(sampled)); status != 429 {
				t.Fatalf("status %d, want 429", status)
			}
			spans := c.Await(t, 2)
			if len(spans) != 2 {
				t.Fatalf("%d spans, want 2", len(spans))
			}
			checkSpans(t, spans, parent, wire.version)
			out.await(t, 4)
			tel.Close(t.Context())
			checkLines(t, out.buf.Bytes(), name)
			if l.spans.Load()+l.lines.Load() != 0 {
				t.Errorf("%d spans and %d lines dropped", l.spans.Load(), l.lines.Load())
			}
		})
	}
}

// traces are the fields of a head that have to do with traces.
func traces(h http.Header) http.Header {
	out := http.Header{}
	for _, name := range []string{"Traceparent", "Tracestate", "Baggage", "B3"} {
		if v := h[name]; v != nil {
			out[name] = v
		}
	}
	return out
}

func text(s *otlp.Span, key string) string {
	for _, kv := range s.GetAttributes() {
		if kv.GetKey() == key {
			if list := kv.GetValue().GetArrayValue(); list != nil {
				return list.GetValues()[0].GetStringValue()
			}
			return kv.GetValue().GetStringValue()
		}
	}
	return ""
}

func checkSpans(t *testing.T, spans []*otlp.Span, app trace.Parent, version string) {
	t.Helper()
	for _, s := range spans {
		if hex.EncodeToString(s.GetTraceId()) != clientTrace || hex.EncodeToString(s.GetParentSpanId()) != clientSpan || s.GetTraceState() != "a=1" {
			t.Errorf("span %v is no child of the client's", s)
		}
		if s.GetName() != "POST" || text(s, "url.path") != "/v1/payments" || text(s, "network.protocol.version") != version {
			t.Errorf("span %v", s)
		}
		if s.GetEndTimeUnixNano() < s.GetStartTimeUnixNano() {
			t.Errorf("the span ends before it begins: %v", s)
		}
		if strings.Contains(s.String(), "s3cret") {
			t.Errorf("a secret is in the span %v", s)
		}
	}
	slices.SortFunc(spans, func(a, b *otlp.Span) int { return cmp.Compare(a.GetStartTimeUnixNano(), b.GetStartTimeUnixNano()) })
	passed, denied := spans[0], spans[1]
	if !bytes.Equal(passed.GetSpanId(), app.SpanID[:]) || text(passed, "weir.decision") != "allowed" || text(passed, "weir.outcome") != "replied" {
		t.Errorf("the span of the request that passed: %v", passed)
	}
	if text(denied, "weir.decision") != "denied" || text(denied, "weir.policy") != "shop/payments" || text(denied, "weir.limit") != "all" ||
		text(denied, "weir.outcome") != "not_sent" || text(denied, "error.type") != "" {
		t.Errorf("the span of the request that was denied: %v", denied)
	}
}

func checkLines(t *testing.T, log []byte, protocol string) {
	t.Helper()
	if bytes.Contains(log, []byte("s3cret")) {
		t.Errorf("a secret is in the log:\n%s", log)
	}
	type line struct {
		Method, Path, Protocol, Outcome string
		Status                          int
		RequestBytes                    int `json:"request_bytes"`
		ResponseBytes                   int `json:"response_bytes"`
		Problem                         string
		DeniedBy                        string   `json:"denied_by"`
		TraceID                         string   `json:"trace_id"`
		Limits                          []string `json:"limits"`
	}
	passed := line{Method: "POST", Path: "/v1/payments", Protocol: protocol, Outcome: "replied", Status: 200, RequestBytes: 5, ResponseBytes: 4, TraceID: clientTrace}
	untraced, denied := passed, passed
	untraced.TraceID = ""
	denied.Status, denied.Outcome, denied.Problem, denied.DeniedBy, denied.Limits = 429, "not_sent", "quota-exceeded", "shop/payments", []string{"all"}
	var got []line
	for l := range bytes.Lines(log) {
		var one line
		if err := json.Unmarshal(l, &one); err != nil {
			t.Fatalf("%v in %s", err, l)
		}
		if one.Status == 429 { // how much of it was read depends on the wire
			one.RequestBytes, one.ResponseBytes = 5, 4
		}
		got = append(got, one)
	}
	// An exchange ends after the client has its answer, so the order is open.
	slices.SortFunc(got, func(a, b line) int {
		return cmp.Or(a.Status-b.Status, cmp.Compare(b.TraceID, a.TraceID))
	})
	if d := gocmp.Diff([]line{passed, passed, untraced, denied}, got); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
}

// A trace that begins at Weir leaves the state of none behind.
func TestTraceBeginsAtWeir(t *testing.T) {
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			c := tracetest.Start(t, "", nil)
			tel, _, _ := start(t)
			p := serve(t, engine.Options{Observer: tel.Observer}, wire.http2)
			if err := p.engine.Apply(one(wire.protocol, 100, tracing(c.Address, snapshot.PerMillion))); err != nil {
				t.Fatal(err)
			}
			requests := []http.Header{
				{}, {"Tracestate": {"a=1"}}, {"Traceparent": {sampled + "-"}, "Tracestate": {"a=1", "b=2"}}, {"Traceparent": {sampled, sampled}},
			}
			parents := map[string]http.Header{} // what the application got, by its parent
			for _, h := range requests {
				p.do(t, h)
				got := p.origin.last(t)
				parent, ok := trace.Parse([]byte(got.Get("Traceparent")))
				if !ok || len(got["Traceparent"]) != 1 || hex.EncodeToString(parent.TraceID[:]) == clientTrace || len(got["Tracestate"]) > 0 {
					t.Errorf("%v: the application gets traceparent %q, tracestate %q", h, got["Traceparent"], got["Tracestate"])
				}
				parents[hex.EncodeToString(parent.TraceID[:])+"-"+hex.EncodeToString(parent.SpanID[:])] = got
			}
			for _, s := range c.Await(t, len(requests)) {
				if parents[hex.EncodeToString(s.GetTraceId())+"-"+hex.EncodeToString(s.GetSpanId())] == nil || len(s.GetParentSpanId()) > 0 {
					t.Errorf("span %v is the parent of nothing, or has one", s)
				}
			}
		})
	}
}

// Without settings the application gets what the client has sent.
func TestUntouched(t *testing.T) {
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			tel, out, _ := start(t)
			p := serve(t, engine.Options{Observer: tel.Observer}, wire.http2)
			if err := p.engine.Apply(one(wire.protocol, 100, nil)); err != nil {
				t.Fatal(err)
			}
			for _, parent := range []string{sampled, unsampled, "nonsense", ""} {
				h := http.Header{"Traceparent": {parent}, "Tracestate": {"a=1", "b=2"}, "Baggage": {"user=7"}, "B3": {"0"}, "X-B3-Traceid": {clientTrace}}
				p.do(t, h)
				got := p.origin.last(t)
				for name := range h {
					if d := gocmp.Diff(h[name], got[name]); d != "" {
						t.Errorf("%s (-want +got):\n%s", name, d)
					}
				}
			}
			if out.lines() != 0 {
				t.Errorf("the log has %d lines", out.lines())
			}
		})
	}
}

// What Weir refuses by itself is an error, and named as docs/problems.md has it.
func TestRefusals(t *testing.T) {
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			tel, out, _ := start(t)
			p := serve(t, engine.Options{Observer: tel.Observer}, wire.http2)
			if err := p.engine.Apply(one(wire.protocol, 100, logging(snapshot.AccessLog_MODE_ERRORS))); err != nil {
				t.Fatal(err)
			}
			for path, want := range map[string]int{"/ok": 200, "/a%2Fb": 400} {
				resp, err := p.client.Get(p.url + path)
				if err != nil {
					t.Fatal(err)
				}
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != want {
					t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
				}
			}
			out.await(t, 1)
			tel.Close(t.Context())
			if got := out.buf.String(); out.lines() != 1 || !strings.Contains(got, `"host":"127.0.0.1:`) || !strings.Contains(got, `"outcome":"not_sent","problem":"encoded-slash"`) || strings.Contains(got, "denied_by") {
				t.Errorf("the log is\n%s", got)
			}
		})
	}
}
