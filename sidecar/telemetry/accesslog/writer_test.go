// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"weir.dev/weir/sidecar/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// out is what a Writer writes to.
type out struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	writes int
	// gate, which may be nil, holds each write up.
	gate chan struct{}
	err  error
}

func (o *out) Write(b []byte) (int, error) {
	if o.gate != nil {
		<-o.gate
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writes++
	if o.err != nil {
		return 0, o.err
	}
	return o.buf.Write(b)
}

func (o *out) lines() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Count(o.buf.Bytes(), []byte("\n"))
}

func writer(o io.Writer) (*Writer, *atomic.Int64, *out) {
	var dropped atomic.Int64
	log := &out{}
	return NewWriter(Options{
		Out: o, Dropped: func(n int) { dropped.Add(int64(n)) }, Log: slog.New(slog.NewTextHandler(log, nil)),
	}), &dropped, log
}

// Lines of one moment go in one call, after it.
func TestLinesAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &out{}
		w, dropped, _ := writer(o)
		for range 3 {
			for range 10 {
				w.write(request(nil), answered(200))
			}
			time.Sleep(gather + time.Millisecond)
		}
		if o.lines() != 30 || o.writes != 3 {
			t.Errorf("%d lines in %d writes, want 30 in 3", o.lines(), o.writes)
		}
		for range 5 {
			w.write(request(nil), answered(200))
		}
		w.Close(t.Context())
		w.write(request(nil), answered(200))
		if o.lines() != 35 || dropped.Load() != 1 {
			t.Errorf("%d lines after Close and %d dropped, want 35 and 1", o.lines(), dropped.Load())
		}
	})
}

// A batch is written when it is there, and not when time has passed, also one that
// has come while the one before was being written.
func TestBatchesDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &out{gate: make(chan struct{}, 2)}
		w, _, _ := writer(o)
		begin := time.Now()
		n := batch/len(appendEntry(nil, request(nil), answered(200))) + 1
		for range n {
			w.write(request(nil), answered(200))
		}
		synctest.Wait()
		for range n {
			w.write(request(nil), answered(200))
		}
		o.gate <- struct{}{}
		o.gate <- struct{}{}
		synctest.Wait()
		if o.lines() != 2*n || o.writes != 2 || time.Since(begin) != 0 {
			t.Errorf("%d of %d lines in %d writes after %s, want 2 writes at once", o.lines(), 2*n, o.writes, time.Since(begin))
		}
		close(o.gate)
		w.Close(t.Context())
	})
}

// A reader that stands still costs lines, not requests: each is counted, and the
// log says so once.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &out{gate: make(chan struct{})}
		w, dropped, log := writer(o)
		line := len(appendEntry(nil, request(nil), answered(200)))
		n := 3*maxBuffer/line + 10
		for range n {
			w.write(request(nil), answered(200))
			synctest.Wait()
		}
		// One buffer is being written, one waits.
		if d := int(dropped.Load()); d < n-2*maxBuffer/line-1 || d > n-maxBuffer/line {
			t.Errorf("%d of %d lines dropped", d, n)
		}
		close(o.gate)
		w.Close(t.Context())
		if o.lines()+int(dropped.Load()) != n {
			t.Errorf("%d lines written and %d dropped of %d", o.lines(), dropped.Load(), n)
		}
		if log.lines() != 1 {
			t.Errorf("the log has %d lines, want one: %s", log.lines(), log.buf.String())
		}
	})
}

// Close does not wait for a reader for ever.
func TestCloseGivesUp(t *testing.T) {
	o := &out{gate: make(chan struct{})}
	w, _, _ := writer(o)
	w.write(request(nil), answered(200))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.Close(ctx)
	close(o.gate)
	<-w.done
}

func TestFailingWriter(t *testing.T) {
	o := &out{err: errors.New("no space left")}
	w, dropped, _ := writer(o)
	for range 3 {
		w.write(request(nil), answered(200))
	}
	w.Close(t.Context())
	if dropped.Load() != 3 {
		t.Errorf("%d lines dropped, want 3", dropped.Load())
	}
}

// Lines of many requests at once stay whole.
func TestLinesStayWhole(t *testing.T) {
	o := &out{}
	w, dropped, _ := writer(o)
	want := string(appendEntry(nil, request(nil), answered(200)))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				w.write(request(nil), answered(200))
			}
		})
	}
	wg.Wait()
	w.Close(t.Context())
	n := 0
	for l := range bytes.Lines(o.buf.Bytes()) {
		n++
		if string(l) != want {
			t.Fatalf("line %q", l)
		}
	}
	if n != 800 || dropped.Load() != 0 {
		t.Errorf("%d lines, %d dropped", n, dropped.Load())
	}
}

func TestModes(t *testing.T) {
	ok := func() (*exchange.Exchange, *exchange.Record) { return request(nil), answered(200) }
	grpc := func(status int) func() (*exchange.Exchange, *exchange.Record) {
		return func() (*exchange.Exchange, *exchange.Record) {
			x, r := ok()
			x.GRPC, r.GRPCStatus = true, status
			return x, r
		}
	}
	with := func(change func(*exchange.Exchange, *exchange.Record)) func() (*exchange.Exchange, *exchange.Record) {
		return func() (*exchange.Exchange, *exchange.Record) {
			x, r := ok()
			change(x, r)
			return x, r
		}
	}
	for name, tc := range map[string]struct {
		make  func() (*exchange.Exchange, *exchange.Record)
		error bool
	}{
		"200":                  {ok, false},
		"404":                  {with(func(_ *exchange.Exchange, r *exchange.Record) { r.Status = 404 }), false},
		"429 of the app's own": {with(func(_ *exchange.Exchange, r *exchange.Record) { r.Status = 429 }), false},
		"500":                  {with(func(_ *exchange.Exchange, r *exchange.Record) { r.Status = 500 }), true},
		"none":                 {with(func(_ *exchange.Exchange, r *exchange.Record) { r.Status = 0 }), true},
		"denied":               {with(func(x *exchange.Exchange, r *exchange.Record) { x.Deny(exchange.Denial{Status: 429}); r.Status = 429 }), true},
		"aborted":              {with(func(_ *exchange.Exchange, r *exchange.Record) { r.Outcome = exchange.Aborted }), true},
		"no reply":             {with(func(_ *exchange.Exchange, r *exchange.Record) { r.Outcome = exchange.SentNoReply }), true},
		"broken":               {with(func(_ *exchange.Exchange, r *exchange.Record) { r.Aborted = "the client has gone" }), true},
		"gRPC OK":              {grpc(0), false},
		"gRPC NOT_FOUND":       {grpc(5), false},
		"gRPC UNAVAILABLE":     {grpc(14), true},
		"gRPC without status":  {grpc(-1), false},
	} {
		t.Run(name, func(t *testing.T) {
			for mode, want := range map[Mode]bool{Errors: tc.error, Sampled: tc.error, All: true} {
				o := &out{}
				w, _, _ := writer(o)
				x, r := tc.make()
				NewLogger(mode, 0, w).Done(x, r)
				w.Close(t.Context())
				if got := o.lines() == 1; got != want {
					t.Errorf("mode %d has a line: %v, want %v", mode, got, want)
				}
			}
		})
	}
}

// The traces that a sample takes are the same ones for log and spans, and on
// every pod; what has no trace is taken by chance.
func TestSampled(t *testing.T) {
	const low, high = "00-0af7651916cd43dd8400000000000001-b7ad6b7169203331-01", "00-0af7651916cd43dd84ffffffffffffff-b7ad6b7169203331-01"
	count := func(h headers, perMillion uint32) int {
		o := &out{}
		w, _, _ := writer(o)
		l := NewLogger(Sampled, perMillion, w)
		for range 1000 {
			l.Done(request(h), answered(200))
		}
		w.Close(t.Context())
		return o.lines()
	}
	if n := count(headers{{"traceparent", low}}, 1000); n != 1000 {
		t.Errorf("%d lines of a trace that is taken", n)
	}
	if n := count(headers{{"traceparent", high}}, 999_000); n != 0 {
		t.Errorf("%d lines of a trace that is not", n)
	}
	if n := count(nil, 500_000); n < 350 || n > 650 { // nine standard deviations
		t.Errorf("%d of 1000 lines at one half", n)
	}
}

// fixed is a client's head.
type fixed struct{}

func (fixed) Header(name string) ([]byte, int) {
	switch name {
	case "host":
		return host, 1
	case "user-agent":
		return agent, 1
	}
	return nil, 0
}

var host, agent = []byte("payments.shop.svc"), []byte("Go-http-client/1.1")

// steady has a writer whose goroutine is left out.
func steady(mode Mode) (*Logger, *Writer, *exchange.Exchange, *exchange.Record) {
	w := NewWriter(Options{Out: io.Discard, Dropped: func(int) {}, Log: slog.New(slog.DiscardHandler)})
	w.started = true
	x := request(nil)
	x.Request, x.Client = fixed{}, netip.MustParseAddr("192.0.2.1")
	return NewLogger(mode, 0, w), w, x, answered(200)
}

func TestAllocations(t *testing.T) {
	for mode, name := range map[Mode]string{Errors: "not logged", All: "logged"} {
		l, w, x, r := steady(mode)
		l.Done(x, r)
		got := testing.AllocsPerRun(1000, func() {
			l.Done(x, r)
			w.buf = w.buf[:0]
		})
		// The pool may be emptied by a collection.
		if got >= 1 || mode == Errors && got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

func BenchmarkDone(b *testing.B) {
	for mode, name := range map[Mode]string{Errors: "not logged", All: "logged"} {
		b.Run(name, func(b *testing.B) {
			l, w, x, r := steady(mode)
			b.ReportAllocs()
			for b.Loop() {
				l.Done(x, r)
				w.buf = w.buf[:0]
			}
		})
	}
}
