// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"context"
	"strings"
	"testing"
	"time"

	apache "github.com/apache/thrift/lib/go/thrift"
	"go.uber.org/goleak"

	"weir.dev/weir/sidecar/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// policy denies "denied" and "typed", answers "replayed", and looks into all calls.
func policy(t *testing.T, s stack) *stub {
	f := &stub{maxBody: 4 << 20, ended: make(chan struct{}, 100)}
	look := func(x *exchange.Exchange) exchange.Verdict {
		value, state := x.Call.Args.Field([]int16{1})
		if state == exchange.FieldBeyond && x.Body == nil {
			return exchange.NeedBody
		}
		if state != exchange.FieldFound && state != exchange.FieldAbsent {
			t.Errorf("field 1: %q, %v", value, state)
		}
		if want := map[string]string{"lax": "binary"}[s.protocol]; x.Call.Protocol != want && x.Call.Protocol != s.protocol {
			t.Errorf("protocol %q", x.Call.Protocol)
		}
		if service := string(x.Call.Service); s.multiplexed != (service == "svc") {
			t.Errorf("service %q", service)
		}
		if s.transport == "header" || s.transport == "zlib" {
			if key, n := x.Request.Header("idempotency-key"); string(key) != "k-1" || n != 1 {
				t.Errorf("info: %q, %d", key, n)
			}
			x.SetUpstream("weir-idempotency-id", []byte("id-1"))
		}
		d := exchange.Denial{Status: 429, Type: "https://iana.org/assignments/http-problem-types#quota-exceeded", Policy: "shop/pay",
			Limits: []string{"per-client"}, RetryAfter: 350 * time.Millisecond}
		if string(x.Call.Method) == "note" {
			x.Call.Oneway = true // Apache's client for Go does not say so.
		}
		switch method := string(x.Call.Method); {
		case method == "denied":
			x.Deny(d)
			return exchange.Respond
		case method == "typed":
			x.Call.ExceptionField = 1
			x.Deny(d)
			return exchange.Respond
		case method == "note" && string(value) == "denied":
			x.Deny(d)
			return exchange.Respond
		case method == "replayed":
			f.mu.Lock()
			defer f.mu.Unlock()
			x.Answer(&exchange.Reply{Status: 200, Body: f.recorded})
			return exchange.Respond
		case method == "echo" && string(value) == "record":
			x.Record = true
		}
		return exchange.Continue
	}
	f.head = look
	f.body = func(x *exchange.Exchange) exchange.Verdict {
		if _, err := x.Call.Args.Digest(); err != nil {
			t.Error(err)
		}
		return look(x)
	}
	return f
}

// TestMatrix: Apache's clients and servers see no difference, and see what a policy does
// as what they know, over each transport and protocol.
func TestMatrix(t *testing.T) {
	const denied = "weir: rate limited; policy=shop/pay; limit=per-client; retry_after_ms=350"
	big := strings.Repeat("0123456789abcdef", 100<<10/16)
	for _, s := range stacks() {
		t.Run(s.String(), func(t *testing.T) {
			a := &app{}
			f := policy(t, s)
			_, front := proxy(t, Config{Ports: chainPorts(f), Lax: true}, s.serve(t, a))
			c := s.client(t, front)
			ctx := apache.SetHeader(context.Background(), "idempotency-key", "k-1")
			ctx = apache.SetHeader(ctx, "weir-idempotency-id", "forged")
			ctx = apache.SetWriteHeaderList(ctx, []string{"idempotency-key", "weir-idempotency-id"})
			steps := []struct {
				method, value, want string
				outcome             exchange.Outcome
			}{
				{"echo", "hello", "hello", exchange.Replied},
				{"echo", `"quoted" \ é`, `"quoted" \ é`, exchange.Replied},
				{"denied", "x", "exception 6: " + denied, exchange.NotSent},
				{"echo", big, big, exchange.Replied},
				{"typed", "x", "declared: " + denied, exchange.NotSent},
				{"void", "", "", exchange.Replied},
				{"note", "one", "", exchange.Replied},
				{"note", "denied", "", exchange.NotSent},
				{"note", "two", "", exchange.Replied},
				{"notes", "", "one,two", exchange.Replied},
				{"fail", "it", "declared: declared it", exchange.Replied},
				{"denied", big, "exception 6: " + denied, exchange.NotSent},
				{"boom", "", "exception 6: no boom", exchange.Replied},
				{"nothing", "", "exception 1: no nothing", exchange.Replied},
				{"echo", "record", "record", exchange.Replied},
				{"replayed", "", "record", exchange.NotSent},
				{"echo", "last", "last", exchange.Replied},
			}
			for i, step := range steps {
				if got := c.call(ctx, step.method, step.value); got != step.want {
					t.Fatalf("%s(%.20q): got %.100q, want %.100q", step.method, step.value, got, step.want)
				}
				<-f.ended
				if got, n := f.last(); got != step.outcome || n != i+1 {
					t.Errorf("%s(%.20q): outcome %v, %d of them", step.method, step.value, got, n)
				}
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.calls != 12 {
				t.Errorf("the application saw %d calls", a.calls)
			}
			if s.transport == "header" || s.transport == "zlib" {
				if a.infos["idempotency-key"] != "k-1" || a.infos["weir-idempotency-id"] != "id-1" {
					t.Errorf("the application saw %v", a.infos)
				}
			}
			if s.transport != "http" {
				want := []exchange.CallResult{{}, {}, {}, {Field: -1}, {}, {Field: 1}, {Exception: true, Code: 6}, {Exception: true, Code: 1}, {}, {}}
				if len(f.results) != len(want) {
					t.Fatalf("results %+v", f.results)
				}
				for i := range want {
					if f.results[i] != want[i] {
						t.Errorf("reply %d: %+v, want %+v", i, f.results[i], want[i])
					}
				}
			}
		})
	}
}
