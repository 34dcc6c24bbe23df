// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/telemetry/trace/tracetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receive starts a collector; an empty address is a free one.
func receive(t *testing.T, address string, answer tracetest.Answer) *tracetest.Collector {
	t.Helper()
	return tracetest.Start(t, address, answer)
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
