// SPDX-License-Identifier: Apache-2.0

package idempotency_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"weir.dev/weir/api/snapshot"
)

const body = `{"amount":7}`

func atLeastOnce(p *snapshot.IdempotencyPolicy) {
	p.Guarantee = snapshot.Guarantee_GUARANTEE_AT_LEAST_ONCE
}

// hangUp ends the client's side of the application's connection without an answer.
func hangUp(rw http.ResponseWriter, _ *http.Request) {
	c, _, err := rw.(http.Hijacker).Hijack()
	if err == nil {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// TestFaults is the table of faults of docs/idempotency.md, row by row. What kills or
// pauses a process is tested by the ledger.
func TestFaults(t *testing.T) {
	for name, row := range map[string]struct {
		policy func(*snapshot.IdempotencyPolicy)
		run    func(*testing.T, *world)
	}{
		"the client goes, the request ends": {nil, func(t *testing.T, w *world) {
			executing, goOn := make(chan struct{}), make(chan struct{})
			w.answer(func(rw http.ResponseWriter, r *http.Request) {
				close(executing)
				<-goOn
				_, _ = fmt.Fprint(rw, "done")
			})
			ctx, leave := context.WithCancel(context.Background())
			gone := make(chan error, 1)
			go func() {
				_, err := w.do(w.request("POST", "/pay", "k", body).WithContext(ctx))
				gone <- err
			}()
			<-executing
			leave()
			if err := <-gone; err == nil {
				t.Fatal("the client got an answer")
			}
			close(goOn)
			r := w.post("k", body)
			if r.Body != "done" || r.Header.Get("Idempotent-Replayed") != "true" {
				t.Fatalf("%s: %s", r.outcome(), r.Body)
			}
			w.wantExecuted(1)
		}},
		"nothing was sent": {nil, func(t *testing.T, w *world) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			nobody := ln.Addr().String()
			_ = ln.Close()
			good := w.address
			w.address = w.serve(nobody)
			w.want(w.post("k", body), "502 upstream-unreachable")
			w.address = good
			w.want(w.post("k", body), "201 executed")
		}},
		"reset after bytes, AtMostOnce": {nil, func(_ *testing.T, w *world) {
			w.answer(hangUp)
			w.want(w.post("k", body), "502 unknown upstream-closed")
			w.want(w.post("k", body), "409 unknown idempotency-outcome-unknown")
			w.wantExecuted(1)
		}},
		"reset after bytes, AtLeastOnce": {func(p *snapshot.IdempotencyPolicy) {
			atLeastOnce(p)
			p.Lease, p.Wait = 1000, 0
		}, func(t *testing.T, w *world) {
			w.answer(hangUp)
			w.want(w.post("k", body), "502 unknown upstream-closed")
			w.answer(func(rw http.ResponseWriter, r *http.Request) {
				_, _ = fmt.Fprint(rw, r.Header.Get("weir-idempotency-attempt"))
			})
			eventually(t, "it is executed again when the lease is over", func() bool {
				r := w.post("k", body)
				return r.outcome() == "200 executed" && r.Body == "2"
			})
			w.wantExecuted(2)
		}},
		"no response in time, and none later": {func(p *snapshot.IdempotencyPolicy) { p.UpstreamTimeout, p.LateWindow, p.Wait = 100, 1, 0 }, func(_ *testing.T, w *world) {
			goOn := make(chan struct{})
			w.answer(func(http.ResponseWriter, *http.Request) { <-goOn })
			defer close(goOn)
			w.want(w.post("k", body), "504 unknown upstream-timeout")
			w.want(w.post("k", body), "409 unknown idempotency-outcome-unknown")
			w.wantExecuted(1)
		}},
		"a late response": {func(p *snapshot.IdempotencyPolicy) { p.UpstreamTimeout, p.Wait = 100, 0 }, func(t *testing.T, w *world) {
			goOn := make(chan struct{})
			w.answer(func(rw http.ResponseWriter, _ *http.Request) {
				<-goOn
				_, _ = fmt.Fprint(rw, "late")
			})
			w.want(w.post("k", body), "504 unknown upstream-timeout")
			w.want(w.post("k", body), "409 unknown idempotency-outcome-unknown")
			close(goOn)
			eventually(t, "the late response is the outcome", func() bool {
				r := w.post("k", body)
				return r.outcome() == "200 replayed again" && r.Body == "late"
			})
			w.wantExecuted(1)
		}},
		"the response breaks off": {nil, func(_ *testing.T, w *world) {
			w.answer(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Length", "100")
				_, _ = fmt.Fprint(rw, "part")
				_ = http.NewResponseController(rw).Flush()
				hangUp(rw, r)
			})
			if r, err := w.do(w.request("POST", "/pay", "k", body)); err == nil {
				w.t.Fatalf("a part passes for the whole: %+v", r)
			}
			w.want(w.post("k", body), "409 unknown idempotency-outcome-unknown")
			w.wantExecuted(1)
		}},
		"the store is away at BEGIN, Closed": {nil, func(_ *testing.T, w *world) {
			w.away.Store(true)
			r := w.post("k", body)
			w.want(r, "503 idempotency-store-unavailable")
			if r.Header.Get("Retry-After") == "" {
				w.t.Error("no Retry-After")
			}
			w.wantExecuted(0)
			w.away.Store(false)
			w.want(w.post("k", body), "201 executed")
		}},
		"the store is away at BEGIN, Open": {func(p *snapshot.IdempotencyPolicy) {
			atLeastOnce(p)
			p.FailurePolicy = snapshot.FailurePolicy_FAILURE_POLICY_OPEN
		}, func(_ *testing.T, w *world) {
			w.away.Store(true)
			w.want(w.post("k", body), "201 ignored")
			w.want(w.post("k", body), "201 ignored")
			w.wantExecuted(2)
		}},
		"the store is away at COMPLETE": {nil, func(t *testing.T, w *world) {
			w.answer(func(rw http.ResponseWriter, _ *http.Request) {
				w.away.Store(true)
				_, _ = fmt.Fprint(rw, "done")
			})
			w.want(w.post("k", body), "200 executed")
			w.want(w.post("k", body), "200 joined again")
			w.away.Store(false)
			eventually(t, "the response reaches the store", func() bool { return w.ledger.Unsettled() == 0 })
			w.restart(policy())
			w.want(w.post("k", body), "200 replayed again")
			w.wantExecuted(1)
		}},
		"the store is away at COMPLETE, and the process goes": {func(p *snapshot.IdempotencyPolicy) { p.Lease, p.Wait = 1000, 0 }, func(t *testing.T, w *world) {
			w.answer(func(rw http.ResponseWriter, _ *http.Request) {
				w.away.Store(true)
				_, _ = fmt.Fprint(rw, "done")
			})
			w.want(w.post("k", body), "200 executed")
			w.ledger.Close()
			w.away.Store(false)
			w.restart(policy())
			eventually(t, "the outcome is unknown when the lease is over", func() bool {
				r, err := w.do(w.request("POST", "/pay", "k", body))
				return err == nil && r.outcome() == "409 unknown idempotency-outcome-unknown"
			})
			w.wantExecuted(1)
		}},
		"retention is over": {func(p *snapshot.IdempotencyPolicy) { p.Lease, p.Wait, p.Retention = 1000, 0, 2000 }, func(t *testing.T, w *world) {
			w.want(w.post("k", body), "201 executed")
			eventually(t, "it is executed again", func() bool { return w.post("k", body).Header.Get("Idempotency-Status") == "executed" })
		}},
		"a response above the bound": {nil, func(t *testing.T, w *world) {
			long := strings.Repeat("x", 20<<10)
			for _, fixed := range []bool{true, false} {
				w.answer(func(rw http.ResponseWriter, _ *http.Request) {
					rw.Header().Set("Location", "/payments/9")
					if fixed {
						rw.Header().Set("Content-Length", fmt.Sprint(len(long)))
					}
					_, _ = fmt.Fprint(rw, long)
				})
				k := fmt.Sprintf("k-%v", fixed)
				if r := w.post(k, body); r.outcome() != "200 executed" || r.Body != long {
					t.Fatalf("%s, %d bytes", r.outcome(), len(r.Body))
				}
				r := w.post(k, body)
				w.want(r, "409 idempotency-response-not-retained")
				if r.Header.Get("Location") != "/payments/9" || !strings.Contains(r.Body, "status 200") {
					t.Errorf("%v: %s", r.Header, r.Body)
				}
			}
			w.wantExecuted(2)
		}},
		"an event stream": {nil, func(t *testing.T, w *world) {
			left := make(chan struct{})
			w.answer(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Type", "text/event-stream")
				_, _ = fmt.Fprint(rw, "data: 1\n\n")
				_ = http.NewResponseController(rw).Flush()
				<-r.Context().Done()
				close(left)
			})
			ctx, leave := context.WithCancel(context.Background())
			resp, err := w.client.Do(w.request("POST", "/pay", "k", body).WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "data: 1\n" {
				t.Fatalf("%q, %v", line, err)
			}
			leave()
			_ = resp.Body.Close()
			<-left
			eventually(t, "the stream is recorded as executed", func() bool {
				return w.post("k", body).outcome() == "409 idempotency-response-not-retained"
			})
			w.wantExecuted(1)
		}},
		"another protocol follows": {nil, func(t *testing.T, w *world) {
			w.answer(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Connection", "Upgrade")
				rw.Header().Set("Upgrade", "echo")
				rw.WriteHeader(http.StatusSwitchingProtocols)
			})
			r := w.request("POST", "/pay", "k", "", "Connection", "Upgrade", "Upgrade", "echo")
			resp, err := w.client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("nothing is upgraded: %d", resp.StatusCode)
			}
			eventually(t, "the tunnel is recorded as executed", func() bool {
				return w.post("k", "", "Connection", "Upgrade", "Upgrade", "echo").outcome() == "409 idempotency-response-not-retained"
			})
			w.wantExecuted(1)
		}},
		"interim responses": {nil, func(t *testing.T, w *world) {
			w.answer(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Link", "</style.css>; rel=preload")
				rw.WriteHeader(http.StatusEarlyHints)
				rw.Header().Del("Link")
				_, _ = fmt.Fprint(rw, "done")
			})
			w.want(w.post("k", body), "200 executed")
			r := w.post("k", body)
			w.want(r, "200 replayed again")
			if r.Body != "done" || r.Header.Get("Link") != "" {
				t.Errorf("%v: %s", r.Header, r.Body)
			}
			w.wantExecuted(1)
		}},
		"trailers": {nil, func(t *testing.T, w *world) {
			w.answer(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Trailer", "X-Sum")
				_, _ = fmt.Fprint(rw, "done")
				_ = http.NewResponseController(rw).Flush()
				rw.Header().Set("X-Sum", "42")
			})
			first := w.post("k", body)
			w.want(first, "200 executed")
			w.want(w.post("k", body), "200 replayed again")
			if first.Trailer.Get("X-Sum") != "42" {
				t.Errorf("trailers %v", first.Trailer)
			}
			w.wantExecuted(1)
		}},
		"the application says that it did nothing": {nil, func(_ *testing.T, w *world) {
			w.answer(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Weir-Idempotency-Outcome", "not-executed")
				rw.WriteHeader(http.StatusServiceUnavailable)
			})
			r := w.post("k", body)
			w.want(r, "503 executed")
			if r.Header.Get("Weir-Idempotency-Outcome") != "" {
				w.t.Error("the client sees what the application says to Weir")
			}
			w.want(w.post("k", body), "503 executed")
			w.wantExecuted(2)
		}},
		"it says that it goes on": {nil, func(_ *testing.T, w *world) {
			w.answer(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Weir-Idempotency-Outcome", "in-progress")
				rw.WriteHeader(http.StatusAccepted)
			})
			w.want(w.post("k", body), "202 unknown")
			w.want(w.post("k", body), "409 unknown idempotency-outcome-unknown")
			w.wantExecuted(1)
		}},
		"it says that it is done, whatever the status": {nil, func(_ *testing.T, w *world) {
			w.answer(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Weir-Idempotency-Outcome", "committed")
				rw.WriteHeader(http.StatusTooManyRequests)
			})
			w.want(w.post("k", body), "429 executed")
			w.want(w.post("k", body), "429 replayed again")
			w.wantExecuted(1)
		}},
		"a status that releases": {nil, func(_ *testing.T, w *world) {
			w.answer(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusTooManyRequests) })
			w.want(w.post("k", body), "429 executed")
			w.want(w.post("k", body), "429 executed")
			w.wantExecuted(2)
		}},
		"500 with AtMostOnce": {nil, func(_ *testing.T, w *world) {
			w.answer(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
			w.want(w.post("k", body), "500 executed")
			w.want(w.post("k", body), "500 replayed again")
			w.wantExecuted(1)
		}},
		"500 with AtLeastOnce": {func(p *snapshot.IdempotencyPolicy) {
			atLeastOnce(p)
			p.Lease, p.Wait = 1000, 0
		}, func(t *testing.T, w *world) {
			w.answer(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
			w.want(w.post("k", body), "500 unknown")
			eventually(t, "it is executed again when the lease is over", func() bool { return w.post("k", body).Status == 500 })
			w.wantExecuted(2)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := policy()
			if row.policy != nil {
				row.policy(p)
			}
			row.run(t, newWorld(t, p))
		})
	}
}

// TestLastByteWaits: nobody has a whole response that could be forgotten.
func TestLastByteWaits(t *testing.T) {
	w := newWorld(t, policy())
	w.want(w.post("k", body), "201 executed")
	// Not a moment passes between the end of the response and the record.
	w.restart(policy())
	w.want(w.post("k", body), "201 replayed again")
	w.wantExecuted(1)
}
