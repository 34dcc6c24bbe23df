// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"weir.dev/weir/sidecar/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is an OTLP collector, of OpenTelemetry's own generated code.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	// answer, which may be nil, is called with the number of the call, from 1.
	answer func(ctx context.Context, call int) (*collector.ExportTraceServiceResponse, error)

	address string
	server  *grpc.Server

	mu    sync.Mutex
	calls []time.Time
	spans []*otlp.Span
	last  *collector.ExportTraceServiceRequest
	got   chan struct{}
}

// receive starts a collector; an empty address is a free one.
func receive(t *testing.T, address string, answer func(context.Context, int) (*collector.ExportTraceServiceResponse, error)) *receiver {
	t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{answer: answer, address: l.Addr().String(), server: grpc.NewServer(), got: make(chan struct{}, 1)}
	collector.RegisterTraceServiceServer(r.server, r)
	go func() { _ = r.server.Serve(l) }()
	t.Cleanup(r.server.Stop)
	return r
}

func (r *receiver) Export(ctx context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	r.calls = append(r.calls, time.Now())
	call := len(r.calls)
	r.mu.Unlock()
	resp := &collector.ExportTraceServiceResponse{}
	if r.answer != nil {
		a, err := r.answer(ctx, call)
		if err != nil {
			return nil, err
		}
		if a != nil {
			resp = a
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = req
	for _, rs := range req.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			r.spans = append(r.spans, ss.GetSpans()...)
		}
	}
	select {
	case r.got <- struct{}{}:
	default:
	}
	return resp, nil
}

// await returns the spans once there are n.
func (r *receiver) await(t *testing.T, n int) []*otlp.Span {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		spans := r.spans
		r.mu.Unlock()
		if len(spans) >= n {
			return spans
		}
		select {
		case <-r.got:
		case <-deadline.C:
			t.Fatalf("%d spans arrived, want %d", len(spans), n)
		}
	}
}

func (r *receiver) called() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

// exporter makes one with short times; dropped counts.
func exporter(t *testing.T, address string, dropped *atomic.Int64) *Exporter {
	t.Helper()
	e := NewExporter(Options{
		Dial: func() (*grpc.ClientConn, error) {
			return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		},
		Resource: func() Resource { return Resource{Service: "payments", Namespace: "shop", Pod: "payments-1"} },
		Version:  "v1.2.3",
		Dropped:  func(n int) { dropped.Add(int64(n)) },
		Log:      slog.New(slog.DiscardHandler),
		times:    times{gather: time.Millisecond, backoff: 2 * time.Millisecond, maxBackoff: 20 * time.Millisecond},
	})
	t.Cleanup(func() { closeNow(e) })
	return e
}

// closeNow does not wait for a collector that is away.
func closeNow(e *Exporter) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	e.Close(ctx)
}

// headers are a request's fields, lower case; a name may come more than once.
type headers [][2]string

func (h headers) Header(name string) (value []byte, count int) {
	for _, f := range h {
		if f[0] == name {
			if count == 0 {
				value = []byte(f[1])
			}
			count++
		}
	}
	return value, count
}

// began is when requests of tests begin.
func began() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) }

func request(method, path string, h headers) *exchange.Exchange {
	return &exchange.Exchange{
		Start: began(), Port: 8080, Protocol: "HTTP/1.1",
		Method: []byte(method), RawPath: []byte(path), Query: []byte("token=s3cret"), Request: h,
		Peer: netip.MustParseAddr("10.0.0.9"), Client: netip.MustParseAddr("192.0.2.1"),
	}
}

func answered(status int) *exchange.Record {
	return &exchange.Record{Status: status, GRPCStatus: -1, Outcome: exchange.Replied, Duration: 20 * time.Millisecond, Upstream: 15 * time.Millisecond}
}

// pass takes a request through a tracer that samples all.
func pass(e *Exporter, x *exchange.Exchange, r *exchange.Record) {
	tr := NewTracer(1_000_000, e)
	tr.Start(x)
	tr.Done(x, r)
}
