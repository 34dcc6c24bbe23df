// SPDX-License-Identifier: Apache-2.0

// Package tracetest is a trace collector for tests: OTLP's TraceService, of
// OpenTelemetry's own generated code, on a real listener.
//
// In: a test, and how the collector answers. Out: the spans that arrive. It is no
// part of what ships.
package tracetest

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
)

// Answer is called with the number of the call, from 1. Without an error the
// spans are taken; the response may be nil.
type Answer func(ctx context.Context, call int) (*collector.ExportTraceServiceResponse, error)

// Collector is one that listens.
type Collector struct {
	collector.UnimplementedTraceServiceServer
	// Address is host:port.
	Address string

	answer Answer
	server *grpc.Server
	got    chan struct{}

	mu    sync.Mutex
	calls []time.Time
	spans []*otlp.Span
	last  *collector.ExportTraceServiceRequest
}

// Start listens at address, or at a free one when it is empty, until the test
// ends. answer may be nil.
func Start(t *testing.T, address string, answer Answer, opts ...grpc.ServerOption) *Collector {
	t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &Collector{Address: l.Addr().String(), answer: answer, server: grpc.NewServer(opts...), got: make(chan struct{}, 1)}
	collector.RegisterTraceServiceServer(c.server, c)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = c.server.Serve(l)
	}()
	t.Cleanup(func() {
		c.Stop()
		<-served
	})
	return c
}

// Stop ends it, with its connections.
func (c *Collector) Stop() { c.server.Stop() }

// Export implements TraceService.
func (c *Collector) Export(ctx context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	c.calls = append(c.calls, time.Now())
	call := len(c.calls)
	c.mu.Unlock()
	resp := &collector.ExportTraceServiceResponse{}
	if c.answer != nil {
		a, err := c.answer(ctx, call)
		if err != nil {
			return nil, err
		}
		if a != nil {
			resp = a
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = req
	for _, rs := range req.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			c.spans = append(c.spans, ss.GetSpans()...)
		}
	}
	select {
	case c.got <- struct{}{}:
	default:
	}
	return resp, nil
}

// Await returns all spans once there are n of them at least.
func (c *Collector) Await(t *testing.T, n int) []*otlp.Span {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for {
		if spans := c.Spans(); len(spans) >= n {
			return spans
		}
		select {
		case <-c.got:
		case <-deadline.C:
			t.Fatalf("%d spans arrived, want %d", len(c.Spans()), n)
		}
	}
}

// Spans are those that have arrived.
func (c *Collector) Spans() []*otlp.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Calls are when the collector was called, with success or not.
func (c *Collector) Calls() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// Last is the last request that was taken.
func (c *Collector) Last() *collector.ExportTraceServiceRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}
