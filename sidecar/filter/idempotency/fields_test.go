// SPDX-License-Identifier: Apache-2.0

package idempotency_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/delivery"
)

// limit keeps a field of responses from clients, as limits do whose cost it says.
type limit struct{ exchange.Filter }

func (limit) Head(*exchange.Exchange) exchange.Verdict { return exchange.Continue }
func (limit) ResponseHead(x *exchange.Exchange)        { x.HideResponse("x-cost") }
func (limit) End(*exchange.Exchange, exchange.Outcome) {}

// What the first client does not get nobody gets.
func TestHiddenFieldsAreNotReplayed(t *testing.T) {
	w := newWorld(t, policy())
	w.port.Store(&exchange.Port{Number: 8080, Protocol: exchange.HTTP, Chain: exchange.Chain{
		delivery.New(w.keys, time.Now), limit{}, w.compile(policy()),
	}})
	w.answer(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Trailer", "X-Cost, X-Sum")
		rw.Header().Set("X-Cost", "7")
		rw.Header().Set("X-Kept", "1")
		rw.WriteHeader(http.StatusCreated)
		_, _ = rw.Write([]byte("paid"))
		rw.Header().Set("X-Cost", "8")
		rw.Header().Set("X-Sum", "9")
	})
	for _, want := range []string{"201 executed", "201 replayed again"} {
		r := w.post("k", body)
		w.want(r, want)
		if r.Header.Get("X-Kept") != "1" || r.Trailer.Get("X-Sum") != "9" {
			t.Errorf("%s: what belongs to the client is missing: %v, %v", want, r.Header, r.Trailer)
		}
		if len(r.Header["X-Cost"]) > 0 || r.Trailer.Get("X-Cost") != "" {
			t.Errorf("%s: the client got X-Cost: %v, %v", want, r.Header, r.Trailer)
		}
	}
}

// A client is told once how its request was taken, whatever the application says.
func TestStatusIsSaidOnce(t *testing.T) {
	w := newWorld(t, policy())
	w.answer(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Idempotency-Status", "lies")
		rw.WriteHeader(http.StatusCreated)
	})
	for _, c := range []struct{ key, want string }{{"", "ignored"}, {"k", "executed"}, {"k", "replayed"}, {"", "ignored"}} {
		if got := w.post(c.key, body).Header["Idempotency-Status"]; len(got) != 1 || got[0] != c.want {
			t.Errorf("key %q: got %q, want %q", c.key, got, c.want)
		}
	}
}

// stay answers nothing until the connection ends, which a server sees once the body is
// read.
func stay(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// Whoever gets an answer for want of a response is told that nobody knows the outcome,
// over HTTP/2 too, and with every reason once.
func TestUnansweredIsUnknown(t *testing.T) {
	for name, tc := range map[string]struct {
		policy func(*snapshot.IdempotencyPolicy)
		answer http.HandlerFunc
		want   string
	}{
		"closed": {nil, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "502 unknown upstream-closed"},
		"no response": {nil, func(rw http.ResponseWriter, _ *http.Request) {
			nc, _, err := rw.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = nc.Write([]byte("HTTP/9.9 what\r\n\r\n"))
				_ = nc.Close()
			}
		}, "502 unknown upstream-invalid-response"},
		"too late, and nobody waits": {
			func(p *snapshot.IdempotencyPolicy) { p.UpstreamTimeout, p.Wait, p.LateWindow = 50, 0, 0 },
			stay, "504 unknown upstream-timeout",
		},
		"too late": {
			func(p *snapshot.IdempotencyPolicy) { p.UpstreamTimeout, p.Wait, p.LateWindow = 50, 0, 100 },
			stay, "504 unknown upstream-timeout",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := policy()
			if tc.policy != nil {
				tc.policy(p)
			}
			w := newWorld(t, p)
			w.answer(tc.answer)
			for _, h2 := range []bool{false, true} {
				key := "one"
				if h2 {
					key = "two"
					tr := &http.Transport{Protocols: &http.Protocols{}}
					tr.Protocols.SetUnencryptedHTTP2(true)
					t.Cleanup(tr.CloseIdleConnections)
					w.client.Transport = tr
				}
				r := w.post(key, body)
				w.want(r, tc.want)
				if got := r.Header["Idempotency-Status"]; len(got) != 1 {
					t.Errorf("HTTP/2 %v: it is said %d times", h2, len(got))
				}
			}
		})
	}
}
