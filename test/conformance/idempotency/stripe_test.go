// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// payments is as much of Stripe's API as makes charges, with state and with faults: the
// description of a charge says which the first request with its key meets.
type payments struct {
	*httptest.Server
	t  *testing.T
	mu sync.Mutex
	// charges by description, requests by key.
	charges  map[string][]string
	requests map[string]int
}

func startPayments(t *testing.T) *payments {
	p := &payments{t: t, charges: map[string][]string{}, requests: map[string]int{}}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

// Faults, and what the SDK meets besides: cuts at a tap.
const (
	plain         = "plain"
	slow          = "slow"
	failsAfter    = "fails after the charge"
	failsBefore   = "fails before it, and says so"
	locked        = "409 that says not executed"
	lockedSilent  = "409"
	dropped       = "reset after the charge"
	unreachable   = "503 that says not executed"
	cutRequest    = "request cut"
	cutResponse   = "response cut"
	tooManyAtOnce = "429"
)

func (p *payments) serve(w http.ResponseWriter, r *http.Request) {
	form := r.FormValue
	if r.Method != http.MethodPost || r.URL.Path != "/v1/charges" || form("amount") != "2000" || form("currency") != "eur" {
		p.t.Errorf("%s %s %v", r.Method, r.URL, r.Form)
	}
	what, key := form("description"), r.Header.Get("Idempotency-Key")
	if key == "" || r.Header.Get("Weir-Idempotency-Id") == "" {
		p.t.Errorf("%s comes without a key: %v", what, r.Header)
	}
	p.mu.Lock()
	p.requests[key]++
	if status, says := before(what); status != 0 && p.requests[key] == 1 {
		p.mu.Unlock()
		if says {
			w.Header().Set("Weir-Idempotency-Outcome", "not-executed")
		}
		p.refuse(w, status)
		return
	}
	id := fmt.Sprintf("ch_%s_%d", strings.ReplaceAll(what, " ", "_"), len(p.charges[what])+1)
	p.charges[what] = append(p.charges[what], id)
	p.mu.Unlock()
	switch what {
	case dropped:
		panic(http.ErrAbortHandler)
	case failsAfter:
		p.refuse(w, http.StatusInternalServerError)
		return
	case slow:
		// Longer than the SDK waits.
		time.Sleep(1500 * time.Millisecond)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Request-Id", "req_"+id)
	fmt.Fprintf(w, `{"id":%q,"object":"charge","amount":2000,"currency":"eur","paid":true,"description":%q}`, id, what)
}

// before is the status that a first request is refused with, without a charge, and
// whether the application says so; 0: none.
func before(what string) (status int, says bool) {
	switch what {
	case locked:
		return http.StatusConflict, true
	case lockedSilent:
		return http.StatusConflict, false
	case failsBefore:
		return http.StatusInternalServerError, true
	case unreachable:
		return http.StatusServiceUnavailable, true
	case tooManyAtOnce:
		return http.StatusTooManyRequests, false
	}
	return 0, false
}

func (p *payments) refuse(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"type":"api_error","message":"status %d"}}`, status)
}

// said is what the SDK says of a charge.
type said struct {
	Name, Charge, Error string
	Status              int
	Replayed            bool
}

// TestStripe: stripe-python makes one charge per call, whatever happens on the way, and
// gets the answer that there is. WEIR_TEST_STRIPE_PYTHON names a Python that has it;
// hack/conformance/stripe.sh runs this.
func TestStripe(t *testing.T) {
	python := os.Getenv("WEIR_TEST_STRIPE_PYTHON")
	if python == "" {
		t.Skip("WEIR_TEST_STRIPE_PYTHON names no Python with stripe: see hack/conformance/stripe.sh")
	}
	p := startPayments(t)
	f := startWeir(t, policy+"  upstream: {timeout: 5s}\n", strings.TrimPrefix(p.URL, "http://"))
	charge := func(name string) string { return "ch_" + strings.ReplaceAll(name, " ", "_") + "_1" }
	for name, test := range map[string]struct {
		want said
		// charges there are of it.
		charges int
	}{
		plain:         {said{Charge: charge(plain)}, 1},
		slow:          {said{Charge: charge(slow), Replayed: true}, 1},
		cutRequest:    {said{Charge: charge(cutRequest)}, 1},
		cutResponse:   {said{Charge: charge(cutResponse), Replayed: true}, 1},
		locked:        {said{Charge: charge(locked)}, 1},
		failsBefore:   {said{Charge: charge(failsBefore)}, 1},
		unreachable:   {said{Charge: charge(unreachable)}, 1},
		tooManyAtOnce: {said{Error: "RateLimitError", Status: 429}, 0},
		// What is recorded is what every repetition gets, and the SDK ends with it.
		lockedSilent: {said{Error: "APIError", Status: 409}, 0},
		failsAfter:   {said{Error: "APIError", Status: 500}, 1},
		// Nobody knows, and it is not charged again.
		dropped: {said{Error: "APIError", Status: 409}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			switch name {
			case cutRequest:
				f.cuts.next("client/request")
			case cutResponse:
				f.cuts.next("client/response")
			}
			out, err := exec.CommandContext(t.Context(), python, "testdata/charges.py", "http://"+f.address, name).Output()
			var got said
			if err != nil || json.Unmarshal(out, &got) != nil {
				t.Fatalf("%s, error %v", out, err)
			}
			test.want.Name = name
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("the SDK says (-want +got):\n%s", diff)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if n := len(p.charges[name]); n != test.charges {
				t.Errorf("%d charges, want %d", n, test.charges)
			}
		})
	}
}
