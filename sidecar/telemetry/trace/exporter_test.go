// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"

	"weir.dev/weir/sidecar/exchange"
)

func refusal(t *testing.T, c codes.Code, after time.Duration) error {
	t.Helper()
	st := status.New(c, "not now")
	if after > 0 {
		var err error
		if st, err = st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)}); err != nil {
			t.Fatal(err)
		}
	}
	return st.Err()
}

// What a collector answers at first decides whether it is asked again.
func TestRetry(t *testing.T) {
	const after = 60 * time.Millisecond
	for name, tc := range map[string]struct {
		code  codes.Code
		after time.Duration
		again bool
	}{
		"unavailable":                     {codes.Unavailable, 0, true},
		"unavailable, with RetryInfo":     {codes.Unavailable, after, true},
		"canceled":                        {codes.Canceled, 0, true},
		"deadline exceeded":               {codes.DeadlineExceeded, 0, true},
		"aborted":                         {codes.Aborted, 0, true},
		"out of range":                    {codes.OutOfRange, 0, true},
		"data loss":                       {codes.DataLoss, 0, true},
		"resource exhausted":              {codes.ResourceExhausted, 0, false},
		"resource exhausted, RetryInfo":   {codes.ResourceExhausted, after, true},
		"invalid argument":                {codes.InvalidArgument, 0, false},
		"invalid argument with RetryInfo": {codes.InvalidArgument, after, false},
		"unauthenticated":                 {codes.Unauthenticated, 0, false},
		"unimplemented":                   {codes.Unimplemented, 0, false},
		"internal":                        {codes.Internal, 0, false},
		"unknown":                         {codes.Unknown, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := refusal(t, tc.code, tc.after)
			r := receive(t, "", func(_ context.Context, call int) (*collector.ExportTraceServiceResponse, error) {
				if call <= 2 {
					return nil, err
				}
				return nil, nil
			})
			var dropped atomic.Int64
			e := exporter(t, r.Address, &dropped)
			pass(e, request("GET", "/", nil), answered(200))
			e.Close(t.Context())
			if !tc.again {
				if n := len(r.Calls()); n != 1 || dropped.Load() != 1 {
					t.Errorf("%d calls and %d spans dropped, want 1 and 1", n, dropped.Load())
				}
				return
			}
			calls := r.Calls()
			if len(calls) != 3 || len(r.Await(t, 1)) != 1 || dropped.Load() != 0 {
				t.Fatalf("%d calls, %d spans, %d dropped; want 3, 1 and 0", len(calls), len(r.Spans()), dropped.Load())
			}
			for i := range 2 {
				if pause := calls[i+1].Sub(calls[i]); pause < tc.after {
					t.Errorf("call %d came %s after the one before, which asked for %s", i+2, pause, tc.after)
				}
			}
		})
	}
}

func TestGivesUp(t *testing.T) {
	r := receive(t, "", func(context.Context, int) (*collector.ExportTraceServiceResponse, error) {
		return nil, refusal(t, codes.Unavailable, 0)
	})
	var dropped atomic.Int64
	e := exporter(t, r.Address, &dropped)
	e.opts.times.giveUp = 50 * time.Millisecond
	pass(e, request("GET", "/", nil), answered(200))
	e.Close(t.Context())
	if n := len(r.Calls()); n < 2 || dropped.Load() != 1 {
		t.Errorf("%d calls and %d spans dropped, want several and 1", n, dropped.Load())
	}
}

func TestPartialSuccess(t *testing.T) {
	r := receive(t, "", func(context.Context, int) (*collector.ExportTraceServiceResponse, error) {
		return &collector.ExportTraceServiceResponse{PartialSuccess: &collector.ExportTracePartialSuccess{
			ErrorMessage: "no room", RejectedSpans: 2,
		}}, nil
	})
	var dropped atomic.Int64
	e := exporter(t, r.Address, &dropped)
	e.opts.times.gather = time.Hour
	for range 3 {
		pass(e, request("GET", "/", nil), answered(200))
	}
	e.Close(t.Context())
	if n := len(r.Calls()); n != 1 || dropped.Load() != 2 {
		t.Errorf("%d calls and %d spans dropped, want 1 and the 2 that were refused", n, dropped.Load())
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// A collector that is away at first, then comes, goes and comes again loses
// nothing that fits the queue.
func TestCollectorComesAndGoes(t *testing.T) {
	address := freeAddress(t)
	var dropped atomic.Int64
	e := exporter(t, address, &dropped)
	pass(e, request("GET", "/1", nil), answered(200))
	time.Sleep(20 * time.Millisecond) // a few attempts
	first := receive(t, address, nil)
	first.Await(t, 1)
	first.Stop()
	pass(e, request("GET", "/2", nil), answered(200))
	second := receive(t, address, nil)
	second.Await(t, 1)
	pass(e, request("GET", "/3", nil), answered(200))
	second.Await(t, 2)
	if dropped.Load() != 0 {
		t.Errorf("%d spans dropped", dropped.Load())
	}
}

// A collector that does not answer in time is asked again, and requests that come
// meanwhile neither wait nor fill the memory.
func TestSlowCollector(t *testing.T) {
	release := make(chan struct{})
	r := receive(t, "", func(ctx context.Context, call int) (*collector.ExportTraceServiceResponse, error) {
		if call > 1 {
			<-release
			return nil, nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	var dropped atomic.Int64
	e := exporter(t, r.Address, &dropped)
	e.opts.times.call = 200 * time.Millisecond
	const sent = maxBatch + maxQueue + 1000
	for range sent {
		pass(e, request("GET", "/", nil), answered(200))
	}
	// At least what is neither in the queue nor in the batch under way.
	if d := dropped.Load(); d < 1000 || d > 1000+maxBatch {
		t.Errorf("%d of %d spans dropped", d, sent)
	}
	close(release)
	e.Close(t.Context())
	if got := int64(len(r.Await(t, 1))) + dropped.Load(); got != sent {
		t.Errorf("%d spans delivered or counted as dropped, want %d", got, sent)
	}
}

// Close ends in time although nobody listens; all is accounted for.
func TestCloseWithoutCollector(t *testing.T) {
	var dropped atomic.Int64
	e := exporter(t, freeAddress(t), &dropped)
	for range 1000 {
		pass(e, request("GET", "/", nil), answered(200))
	}
	closeNow(e)
	pass(e, request("GET", "/", nil), answered(200))
	if dropped.Load() != 1001 {
		t.Errorf("%d spans dropped, want 1001", dropped.Load())
	}
}

// Without spans there is no goroutine and no connection; the next span brings them
// back.
func TestIdle(t *testing.T) {
	r := receive(t, "", nil)
	var dropped atomic.Int64
	e := exporter(t, r.Address, &dropped)
	e.opts.times.idle = time.Millisecond
	for n := range 3 {
		pass(e, request("GET", "/", nil), answered(200))
		r.Await(t, n+1)
		e.wg.Wait()
		if !e.Idle() {
			t.Fatal("the goroutine has ended, but is said to run")
		}
	}
}

// BenchmarkRecord is what a sampled request pays.
func BenchmarkRecord(b *testing.B) {
	e, x, r := steady()
	tr := NewTracer(1_000_000, e)
	b.ReportAllocs()
	for b.Loop() {
		x.Trace.TraceID = [16]byte{}
		tr.Start(x)
		tr.Done(x, r)
		e.empty()
	}
}

// steady is an exporter whose goroutine is left out.
func steady() (*Exporter, *exchange.Exchange, *exchange.Record) {
	e := NewExporter(Options{Dropped: func(int) {}})
	e.running = true
	x := request("GET", "/users/42/payments", nil)
	x.Request = fixed{}
	return e, x, answered(200)
}

// fixed is a client's head with a traceparent.
type fixed struct{}

func (fixed) Header(name string) ([]byte, int) {
	switch name {
	case "traceparent":
		return traceparent, 1
	case "user-agent":
		return userAgent, 1
	}
	return nil, 0
}

var (
	traceparent = []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	userAgent   = []byte("curl/8.5.0")
)

// empty does what the goroutine would have done.
func (e *Exporter) empty() {
	for _, s := range e.queue {
		e.spans.put(s)
	}
	e.queue = e.queue[:0]
}

func TestSampledRequestDoesNotAllocate(t *testing.T) {
	e, x, r := steady()
	tr := NewTracer(1_000_000, e)
	got := testing.AllocsPerRun(1000, func() {
		x.Trace.TraceID = [16]byte{}
		tr.Start(x)
		tr.Done(x, r)
		e.empty()
	})
	// The pool may be emptied by a collection.
	if got >= 1 {
		t.Errorf("%v allocations for a sampled request", got)
	}
}

// BenchmarkEncode is what the goroutine pays for a span, in a batch of 512.
func BenchmarkEncode(b *testing.B) {
	e, x, r := steady()
	for range maxBatch {
		pass(e, x, r)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = encode(buf[:0], Resource{Service: "payments"}, "v1.2.3", e.queue)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/maxBatch, "ns/span")
	b.ReportMetric(float64(len(buf))/maxBatch, "B/span")
}
