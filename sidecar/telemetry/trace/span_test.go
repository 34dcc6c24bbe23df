// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bytes"
	"encoding/hex"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"weir.dev/weir/sidecar/exchange"
)

const (
	clientTrace = "0af7651916cd43dd8448eb211c80319c"
	clientSpan  = "b7ad6b7169203331"
)

func from(client string) headers { return headers{{"traceparent", client}} }

// attributes are a span's or a resource's, as JSON has them.
func attributes(t *testing.T, list []*common.KeyValue) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, kv := range list {
		if out[kv.GetKey()] != "" {
			t.Errorf("attribute %s comes twice", kv.GetKey())
		}
		switch v := kv.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			out[kv.GetKey()] = v.StringValue
		default:
			b, err := protojson.Marshal(kv.GetValue())
			if err != nil {
				t.Fatal(err)
			}
			out[kv.GetKey()] = strings.ReplaceAll(string(b), " ", "")
		}
	}
	return out
}

// common attributes of the requests below, with changes.
func want(changes ...string) map[string]string {
	out := map[string]string{
		"http.request.method": "GET", "url.scheme": "http", "url.path": "/users/42", "server.port": `{"intValue":"8080"}`,
		"http.response.status_code": `{"intValue":"200"}`, "client.address": "192.0.2.1", "network.peer.address": "10.0.0.9",
		"network.protocol.version": "1.1", "weir.decision": "allowed", "weir.outcome": "replied",
		"weir.upstream.duration_ms": `{"doubleValue":15}`,
	}
	for _, c := range changes {
		key, value, set := strings.Cut(c, "=")
		if set {
			out[key] = value
		} else {
			delete(out, key)
		}
	}
	return out
}

func TestSpans(t *testing.T) {
	get := func(h headers) *exchange.Exchange { return request("GET", "/users/42", h) }
	call := func(path string, grpcStatus int) (*exchange.Exchange, *exchange.Record) {
		x, r := request("POST", path, nil), answered(200)
		x.Protocol, x.GRPC, r.GRPCStatus = "HTTP/2", true, grpcStatus
		return x, r
	}
	for name, tc := range map[string]struct {
		make       func() (*exchange.Exchange, *exchange.Record)
		wantName   string
		wantError  bool
		attributes map[string]string
	}{
		"allowed": {func() (*exchange.Exchange, *exchange.Record) { return get(nil), answered(200) }, "GET", false, want()},
		"what a client sends beside the path stays out": {func() (*exchange.Exchange, *exchange.Record) {
			return get(headers{{"authorization", "Bearer s3cret"}, {"cookie", "a=s3cret"}, {"user-agent", "curl/8"}, {"x-api-key", "s3cret"}}), answered(200)
		}, "GET", false, want("user_agent.original=curl/8")},
		"denied": {func() (*exchange.Exchange, *exchange.Record) {
			x, r := get(nil), answered(429)
			x.Deny(exchange.Denial{Status: 429, Type: "https://iana.org/assignments/http-problem-types#quota-exceeded", Policy: "shop/payments", Limits: []string{"per-client", "all"}})
			r.Outcome, r.Upstream = exchange.NotSent, 0
			return x, r
		}, "GET", false, want(`http.response.status_code={"intValue":"429"}`, "weir.decision=denied", "weir.policy=shop/payments", "weir.problem=quota-exceeded",
			`weir.limit={"arrayValue":{"values":[{"stringValue":"per-client"},{"stringValue":"all"}]}}`, "weir.outcome=not_sent", "weir.upstream.duration_ms")},
		"the application failed": {func() (*exchange.Exchange, *exchange.Record) { return get(nil), answered(503) },
			"GET", true, want(`http.response.status_code={"intValue":"503"}`, "error.type=503")},
		"the client is to blame": {func() (*exchange.Exchange, *exchange.Record) { return get(nil), answered(404) },
			"GET", false, want(`http.response.status_code={"intValue":"404"}`)},
		"broken": {func() (*exchange.Exchange, *exchange.Record) {
			r := answered(200)
			r.Outcome, r.Aborted = exchange.Aborted, "the response ended early"
			return get(nil), r
		}, "GET", true, want("weir.outcome=aborted", "error.type=aborted", "weir.aborted=the response ended early")},
		"no answer": {func() (*exchange.Exchange, *exchange.Record) {
			r := answered(0)
			r.Outcome, r.Aborted, r.Upstream = exchange.SentNoReply, "the client has gone", 0
			return get(nil), r
		}, "GET", true, want("http.response.status_code", "weir.upstream.duration_ms", "weir.outcome=sent_no_reply", "error.type=sent_no_reply", "weir.aborted=the client has gone")},
		"the application was not reached": {func() (*exchange.Exchange, *exchange.Record) {
			x, r := get(nil), answered(502)
			x.Denial = exchange.Denial{Status: 502, Type: "https://weir.dev/problems/upstream-unreachable"}
			r.Outcome, r.Aborted, r.Upstream = exchange.NotSent, "nobody listens", 0
			return x, r
		}, "GET", true, want("weir.problem=upstream-unreachable", `http.response.status_code={"intValue":"502"}`, "weir.upstream.duration_ms", "weir.decision", "weir.outcome=not_sent", "error.type=502", "weir.aborted=nobody listens")},
		"a method that nobody knows": {func() (*exchange.Exchange, *exchange.Record) {
			return request("PURGE", "/users/42", nil), answered(200)
		},
			"HTTP", false, want("http.request.method=_OTHER", "http.request.method_original=PURGE")},
		"bytes that are no text": {func() (*exchange.Exchange, *exchange.Record) {
			return request("GET", "/\xff\x00é", headers{{"user-agent", "\xc3"}}), answered(200)
		}, "GET", false, want("url.path=/\uFFFD\x00é", "user_agent.original=\uFFFD")},
		"gRPC": {func() (*exchange.Exchange, *exchange.Record) { return call("/shop.v1.Payments/Pay", 0) }, "shop.v1.Payments/Pay", false,
			want("http.request.method=POST", "url.path=/shop.v1.Payments/Pay", "network.protocol.version=2", "rpc.system.name=grpc",
				"rpc.method=shop.v1.Payments/Pay", "rpc.response.status_code=OK")},
		"gRPC, the client is to blame": {func() (*exchange.Exchange, *exchange.Record) { return call("/shop.v1.Payments/Pay", 8) }, "shop.v1.Payments/Pay", false,
			want("http.request.method=POST", "url.path=/shop.v1.Payments/Pay", "network.protocol.version=2", "rpc.system.name=grpc",
				"rpc.method=shop.v1.Payments/Pay", "rpc.response.status_code=RESOURCE_EXHAUSTED")},
		"gRPC, the server is to blame": {func() (*exchange.Exchange, *exchange.Record) { return call("/shop.v1.Payments/Pay", 14) }, "shop.v1.Payments/Pay", true,
			want("http.request.method=POST", "url.path=/shop.v1.Payments/Pay", "network.protocol.version=2", "rpc.system.name=grpc",
				"rpc.method=shop.v1.Payments/Pay", "rpc.response.status_code=UNAVAILABLE", "error.type=UNAVAILABLE")},
		"gRPC, a method that nobody knows": {func() (*exchange.Exchange, *exchange.Record) { return call("/a/b", 12) }, "gRPC", true,
			want("http.request.method=POST", "url.path=/a/b", "network.protocol.version=2", "rpc.system.name=grpc",
				"rpc.method=_OTHER", "rpc.response.status_code=UNIMPLEMENTED", "error.type=UNIMPLEMENTED")},
		"gRPC, a status that nobody knows": {func() (*exchange.Exchange, *exchange.Record) { return call("/a/b/c", 99) }, "gRPC", true,
			want("http.request.method=POST", "url.path=/a/b/c", "network.protocol.version=2", "rpc.system.name=grpc",
				"rpc.method=_OTHER", "rpc.response.status_code=UNKNOWN", "error.type=UNKNOWN")},
	} {
		t.Run(name, func(t *testing.T) {
			r := receive(t, "", nil)
			var dropped atomic.Int64
			e := exporter(t, r.Address, &dropped)
			x, rec := tc.make()
			pass(e, x, rec)
			s := r.Await(t, 1)[0]
			if d := cmp.Diff(tc.attributes, attributes(t, s.GetAttributes())); d != "" {
				t.Errorf("attributes (-want +got):\n%s", d)
			}
			if failed := s.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR; s.GetName() != tc.wantName || failed != tc.wantError {
				t.Errorf("span %q, failed: %v; want %q, %v", s.GetName(), failed, tc.wantName, tc.wantError)
			}
			start := uint64(began().UnixNano())
			if s.GetKind() != otlp.Span_SPAN_KIND_SERVER || s.GetStartTimeUnixNano() != start || s.GetEndTimeUnixNano() != start+uint64(20*time.Millisecond) {
				t.Errorf("kind and times: %v", s)
			}
			if b, err := proto.Marshal(r.Last()); err != nil || bytes.Contains(b, []byte("s3cret")) {
				t.Errorf("a secret is in the request, or error %v", err)
			}
		})
	}
}

func TestResource(t *testing.T) {
	r := receive(t, "", nil)
	var dropped atomic.Int64
	e := exporter(t, r.Address, &dropped)
	pass(e, request("GET", "/", nil), answered(200))
	r.Await(t, 1)
	got := r.Last().GetResourceSpans()[0]
	want := map[string]string{
		"service.name": "payments", "service.namespace": "shop", "k8s.namespace.name": "shop", "k8s.pod.name": "payments-1",
		"telemetry.sdk.name": "weir", "telemetry.sdk.language": "go", "telemetry.sdk.version": "v1.2.3",
	}
	if d := cmp.Diff(want, attributes(t, got.GetResource().GetAttributes())); d != "" {
		t.Errorf("resource (-want +got):\n%s", d)
	}
	if scope := got.GetScopeSpans()[0].GetScope(); scope.GetName() != "weir.dev/weir/sidecar" || scope.GetVersion() != "v1.2.3" {
		t.Errorf("scope %v", scope)
	}
}

// Who decides whether there is a span, and what the application is told.
func TestParents(t *testing.T) {
	const sampled, unsampled = "00-" + clientTrace + "-" + clientSpan + "-01", "00-" + clientTrace + "-" + clientSpan + "-00"
	for name, tc := range map[string]struct {
		headers    headers
		perMillion uint32
		recorded   bool
		// child: the span belongs to the client's trace.
		child bool
	}{
		"the client samples":                       {from(sampled), 0, true, true},
		"the client does not":                      {from(unsampled), 1_000_000, false, true},
		"a later version":                          {from("cc" + sampled[2:] + "-more"), 0, true, true},
		"no parent, all are taken":                 {nil, 1_000_000, true, false},
		"no parent, none is taken":                 {nil, 0, false, false},
		"an invalid parent, all are taken":         {from(sampled + "-"), 1_000_000, true, false},
		"an invalid parent, none is taken":         {from(sampled + "-"), 0, false, false},
		"two parents, all are taken":               {append(from(sampled), from(unsampled)...), 1_000_000, true, false},
		"the same parent twice, none is taken":     {append(from(sampled), from(sampled)...), 0, false, false},
		"B3 is not read":                           {headers{{"b3", clientTrace + "-" + clientSpan + "-1"}}, 0, false, false},
		"a state without parent, all are taken":    {headers{{"tracestate", "a=1"}}, 1_000_000, true, false},
		"a state with its parent":                  {append(from(sampled), [2]string{"tracestate", "a=1"}), 0, true, true},
		"a state that is no text, with its parent": {append(from(sampled), [2]string{"tracestate", "a=\xff"}), 0, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := NewExporter(Options{Dropped: func(int) {}})
			e.running = true // no goroutine
			x := request("GET", "/", tc.headers)
			tr := NewTracer(tc.perMillion, e)
			tr.Start(x)
			tr.Done(x, answered(200))
			if x.Trace.Recorded != tc.recorded || len(e.queue) > 0 != tc.recorded || len(x.Trace.Parent) > 0 != tc.recorded {
				t.Fatalf("recorded: %v, %d spans, parent %q; want recorded: %v", x.Trace.Recorded, len(e.queue), x.Trace.Parent, tc.recorded)
			}
			if child := hex.EncodeToString(x.Trace.TraceID[:]) == clientTrace; child != tc.child {
				t.Errorf("trace %x", x.Trace.TraceID)
			}
			if !tc.recorded {
				return
			}
			span := export(t, e)
			sent, ok := Parse(x.Trace.Parent)
			if !ok || !sent.Sampled() || !bytes.Equal(sent.TraceID[:], span.GetTraceId()) || !bytes.Equal(sent.SpanID[:], span.GetSpanId()) {
				t.Errorf("the application gets %q, the span is %v", x.Trace.Parent, span)
			}
			wantParent, wantFlags, wantState := "", uint32(1), ""
			if tc.child {
				wantParent, wantFlags = clientSpan, 0x301
				wantState, _, _ = strings.Cut(string(first(tc.headers.Header("tracestate"))), "a=\xff")
			}
			if hex.EncodeToString(span.GetParentSpanId()) != wantParent || span.GetFlags() != wantFlags || span.GetTraceState() != wantState {
				t.Errorf("the span's parent is %x, its flags %x, its state %q", span.GetParentSpanId(), span.GetFlags(), span.GetTraceState())
			}
		})
	}
}

func first(b []byte, _ int) []byte { return b }

// export encodes what is in the queue and reads the one span.
func export(t *testing.T, e *Exporter) *otlp.Span {
	t.Helper()
	var req collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(encode(nil, Resource{}, "", e.queue), &req); err != nil {
		t.Fatal(err)
	}
	if b, err := (proto.MarshalOptions{}).Marshal(&req); err != nil || len(b) == 0 {
		t.Fatalf("what was encoded is not valid: %v", err)
	}
	spans := req.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()
	if len(spans) != 1 {
		t.Fatalf("%d spans", len(spans))
	}
	return spans[0]
}

// A sample takes its share of random traces, and of each trace always the same.
func TestSample(t *testing.T) {
	for _, perMillion := range []uint32{0, 1000, 250_000, 999_999, 1_000_000, 2_000_000} {
		s, taken := NewSample(perMillion), 0
		const n = 200_000
		for range n {
			id := newTraceID()
			if s.Takes(&id) {
				taken++
				if !s.Takes(&id) || !NewSample(perMillion+1).Takes(&id) {
					t.Fatal("a trace that a sample takes is left out by the same, or by a larger one")
				}
			}
		}
		share := float64(min(perMillion, 1_000_000)) / 1_000_000
		// Six standard deviations.
		if off := float64(taken) - n*share; off*off > 36*n*share*(1-share)+1e-9 {
			t.Errorf("%d per million took %d of %d", perMillion, taken, n)
		}
	}
}

// FuzzSpan: whatever a client sends, a collector can read the batch.
func FuzzSpan(f *testing.F) {
	f.Add("GET", "/a", "curl", "a=1", "aborted", 200, -1, false)
	f.Add("\xff", "/\x80/\x00", "\xc3\x28", "\x7f", "\xff", -1, 99, true)
	f.Fuzz(func(t *testing.T, method, path, agent, state, aborted string, status, grpcStatus int, isGRPC bool) {
		e := NewExporter(Options{Dropped: func(int) {}})
		e.running = true
		x := request(method, path, headers{
			{"traceparent", "00-" + clientTrace + "-" + clientSpan + "-01"}, {"user-agent", agent}, {"tracestate", state},
		})
		x.GRPC = isGRPC
		r := answered(status)
		r.GRPCStatus = grpcStatus
		r.Aborted = aborted
		pass(e, x, r)
		s := export(t, e)
		if len(s.GetName()) > maxPath {
			t.Errorf("the name has %d bytes", len(s.GetName()))
		}
	})
}
