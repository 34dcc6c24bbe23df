// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// observer keeps what it is told.
type observer struct {
	mu      sync.Mutex
	started int
	records []exchange.Record
	timed   bool
	done    chan struct{}
}

func (o *observer) Start(x *exchange.Exchange) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.started++
	x.Trace.TraceID, x.Trace.SpanID = [16]byte{1}, [8]byte{2}
	x.Trace.SetParent(1)
}

func (o *observer) Done(_ *exchange.Exchange, r *exchange.Record) {
	o.mu.Lock()
	o.records = append(o.records, *r)
	o.timed = r.Duration > 0 && r.Upstream <= r.Duration && (r.Upstream > 0) == (r.Outcome == exchange.Replied || r.Outcome == exchange.Aborted)
	o.mu.Unlock()
	o.done <- struct{}{}
}

// An observer sees each request once, with its end, and its trace goes on to the
// application; metrics have it under its protocol.
func TestObserver(t *testing.T) { both(t, testObserver) }

func testObserver(t *testing.T, protocol exchange.Protocol) {
	type counted struct {
		Protocol wirehttp.Protocol
		Status   int
	}
	for name, test := range map[string]struct {
		path, contentType string
		want              exchange.Record
		counted           counted
	}{
		"answered": {"/", "", exchange.Record{Status: 201, GRPCStatus: -1, Outcome: exchange.Replied, RequestBytes: 3, ResponseBytes: 5},
			counted{wirehttp.H2C, 201}},
		"denied":    {"/denied", "", exchange.Record{Status: 429, GRPCStatus: -1, Outcome: exchange.NotSent}, counted{wirehttp.H2C, 429}},
		"malformed": {"/%2e%2e/", "", exchange.Record{Status: 400, GRPCStatus: -1, Outcome: exchange.NotSent}, counted{wirehttp.H2C, 400}},
		"broken off": {"/broken", "", exchange.Record{Status: 201, GRPCStatus: -1, Outcome: exchange.Aborted, RequestBytes: 3, ResponseBytes: 5, Aborted: "aborted"},
			counted{wirehttp.H2C, 201}},
		"two panics": {"/panics", "", exchange.Record{Status: 0, GRPCStatus: -1, Outcome: exchange.NotSent, Aborted: "panic"}, counted{wirehttp.H2C, 0}},
		"panic":      {"/panic", "", exchange.Record{Status: 0, GRPCStatus: -1, Outcome: exchange.NotSent, Aborted: "panic"}, counted{wirehttp.H2C, 0}},
		"call": {"/", "application/grpc", exchange.Record{Status: 201, GRPCStatus: 5, Outcome: exchange.Replied, RequestBytes: 3, ResponseBytes: 5},
			counted{wirehttp.GRPC, 5}},
		"call denied": {"/denied", "application/grpc+proto", exchange.Record{Status: 200, GRPCStatus: 8, Outcome: exchange.NotSent}, counted{wirehttp.GRPC, 8}},
		"call broken off": {"/broken", "application/grpc", exchange.Record{Status: 201, GRPCStatus: 13, Outcome: exchange.Aborted, RequestBytes: 3, ResponseBytes: 5, Aborted: "aborted"},
			counted{wirehttp.GRPC, 13}},
	} {
		if protocol == exchange.HTTP && test.contentType != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			parent := make(chan string, 1)
			addr := app(t, func(w http.ResponseWriter, r *http.Request) {
				parent <- r.Header.Get("Traceparent") + r.Header.Get("Tracestate")
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(201)
				_, _ = io.WriteString(w, "hello")
				_ = http.NewResponseController(w).Flush()
				if r.URL.Path == "/broken" {
					panic(http.ErrAbortHandler)
				}
				if test.contentType != "" {
					w.Header().Set(http.TrailerPrefix+"Grpc-Status", "5")
				}
			})
			f := &testFilter{head: func(x *exchange.Exchange) exchange.Verdict {
				switch string(x.Path) {
				case "/denied":
					x.Deny(exchange.Denial{Status: 429})
					return exchange.Respond
				case "/panic", "/panics":
					panic("a defect")
				}
				return exchange.Continue
			}, end: func(x *exchange.Exchange) {
				if string(x.Path) == "/panics" {
					panic("another")
				}
			}}
			o := &observer{done: make(chan struct{}, 2)}
			p := onPort(protocol, f)
			p.port.Observer = o
			got := make(chan counted, 2)
			_, front := proxy(t, wirehttp.Config{Ports: p, Metrics: wirehttp.Metrics{
				Request: func(_ uint16, p wirehttp.Protocol, status int, _ time.Time) { got <- counted{p, status} },
			}}, addr)
			req, _ := http.NewRequest("POST", "http://"+front+test.path, strings.NewReader("abc"))
			req.Header = http.Header{"Content-Type": {test.contentType}, "Traceparent": {"client's"}, "Tracestate": {"client's"}}
			if resp, err := client(t).Do(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			<-o.done
			o.mu.Lock()
			defer o.mu.Unlock()
			ignore := cmpopts.IgnoreFields(exchange.Record{}, "Upstream", "Duration")
			if test.want.Outcome == exchange.NotSent {
				// What has come of a body that nobody reads, and what is said of it.
				ignore = cmpopts.IgnoreFields(exchange.Record{}, "Upstream", "Duration", "RequestBytes", "ResponseBytes")
			}
			if diff := cmp.Diff([]exchange.Record{test.want}, o.records, ignore); diff != "" || o.started != 1 || !o.timed {
				t.Errorf("started %d, times %v (-want +got):\n%s", o.started, o.timed, diff)
			}
			if c := <-got; c != test.counted {
				t.Errorf("counted as %v, want %v", c, test.counted)
			}
			if test.want.Outcome != exchange.NotSent {
				if got, want := <-parent, "00-01000000000000000000000000000000-0200000000000000-01"; got != want {
					t.Errorf("traceparent %s, want %s", got, want)
				}
			}
		})
	}
}
