// SPDX-License-Identifier: Apache-2.0

package idempotency_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/delivery"
	"weir.dev/weir/sidecar/filter/idempotency/seal"
	"weir.dev/weir/sidecar/nskey"
)

// TestDelivery: Weir's own deliveries are repeated until they get 2xx.
func TestDelivery(t *testing.T) {
	w := newWorld(t, policy())
	keys, err := nskey.Derive([]byte(strings.Repeat("k", nskey.Size)))
	if err != nil {
		t.Fatal(err)
	}
	field := func(attempt uint32) string {
		s, err := delivery.Sign(keys.Delivery[:], exchange.Delivery{Operation: "op1", Attempt: attempt, Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	w.answer(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	for i := range uint32(2) {
		w.want(w.post("d1", body, "Weir-Delivery", field(1+i), "X-Client-Id", ""), "500 executed")
	}
	w.wantExecuted(2)
	w.answer(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) })
	w.want(w.post("d1", body, "Weir-Delivery", field(3)), "204 executed")
	w.want(w.post("d1", body, "Weir-Delivery", field(4)), "204 replayed again")
	w.wantExecuted(3)
	// A client's key of the same name is another one, and a forged field is none.
	w.want(w.post("d1", body), "204 executed")
	w.want(w.post("d1", body, "Weir-Delivery", field(5)[1:]), "204 replayed again")
	w.wantExecuted(4)
	w.want(w.post("", body, "Weir-Delivery", field(6)), "204 ignored")
}

// TestShadow: everything is as without a policy, and it is counted what would have been.
func TestShadow(t *testing.T) {
	p := policy()
	reject(p)
	p.Shadow = true
	w := newWorld(t, p)
	executing, goOn := make(chan struct{}, 2), make(chan struct{})
	w.answer(func(rw http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			if strings.HasPrefix(name, "Weir-") && r.Header.Get(name) != "forged" {
				rw.Header().Set("X-Saw", name)
			}
		}
		if r.URL.Path == "/slow" {
			executing <- struct{}{}
			<-goOn
		}
		_, _ = fmt.Fprint(rw, "done")
	})
	plain := func(r reply) {
		t.Helper()
		if r.outcome() != "200" || r.Header.Get("X-Saw") != "" {
			t.Errorf("%s %v", r.outcome(), r.Header)
		}
	}
	plain(w.post("k", body, "Weir-Idempotency-Id", "forged"))
	eventually(t, "the first is recorded", func() bool {
		plain(w.post("k", body))
		return w.shadow.Replay.Load() > 0
	})
	before := w.shadow.Refuse.Load()
	plain(w.post("k", `{"amount":8}`))
	plain(w.post("", body))
	plain(w.post("a b", body))
	plain(w.post("l", strings.Repeat("x", 65<<10)))
	if n := w.shadow.Refuse.Load() - before; n != 4 {
		t.Errorf("would have refused %d, want 4", n)
	}
	before = w.shadow.Wait.Load()
	first := make(chan reply, 1)
	slow := func() reply {
		r, err := w.do(w.request("POST", "/slow", "s", body))
		if err != nil {
			t.Error(err)
		}
		return r
	}
	go func() { first <- slow() }()
	<-executing
	go func() { first <- slow() }()
	<-executing
	close(goOn)
	plain(<-first)
	plain(<-first)
	if n := w.shadow.Wait.Load() - before; n != 1 {
		t.Errorf("would have waited %d, want 1", n)
	}
	w.away.Store(true)
	plain(w.post("m", body))
	// What Shadow has recorded holds nobody to it.
	w.away.Store(false)
	enforce := policy()
	w.use(w.compile(enforce))
	w.want(w.post("k", body), "200 executed")
}

// TestRotation: what was recorded under the key before is found while it is there.
func TestRotation(t *testing.T) {
	w := newWorld(t, policy())
	one, two := []byte(strings.Repeat("k", nskey.Size)), []byte(strings.Repeat("l", nskey.Size))
	w.want(w.post("a", body, "Authorization", "x"), "201 executed")
	if err := w.keys.Set(two, one); err != nil {
		t.Fatal(err)
	}
	w.want(w.post("a", body, "Authorization", "x"), "201 replayed again")
	w.want(w.post("a", "{}", "Authorization", "x"), "422 idempotency-key-reused")
	w.want(w.post("a", body, "Authorization", "y"), "409 idempotency-credentials-differ")
	w.want(w.post("b", body), "201 executed")
	if err := w.keys.Set(two, nil); err != nil {
		t.Fatal(err)
	}
	w.want(w.post("b", body), "201 replayed again")
	w.wantExecuted(2)
}

// TestSealed: responses are encrypted in the store; a key that is gone makes nothing be
// executed again.
func TestSealed(t *testing.T) {
	w := newWorld(t, policy())
	s := &seal.Sealer{}
	use := func() {
		w.restart(policy())
		env := w.env()
		env.Sealer = s
		w.use(w.compileWith(policy(), env))
	}
	use()
	w.want(w.post("k", body), "503 idempotency-store-unavailable")
	secret := []byte("a secret of 16 b")
	if err := s.Set(secret, nil); err != nil {
		t.Fatal(err)
	}
	w.want(w.post("k", body), "201 executed")
	use()
	w.want(w.post("k", body), "201 replayed again")
	other := []byte("another secret, of any length")
	if err := s.Set(other, secret); err != nil {
		t.Fatal(err)
	}
	use()
	w.want(w.post("k", body), "201 replayed again")
	if err := s.Set(other, nil); err != nil {
		t.Fatal(err)
	}
	use()
	w.want(w.post("k", body), "409 idempotency-response-not-retained")
	w.wantExecuted(1)
}

// TestKeysThatHaveNotCome: without the namespace's key nothing is recorded, or passes.
func TestKeysThatHaveNotCome(t *testing.T) {
	w := newWorld(t, policy())
	w.keys = &nskey.Ring{}
	w.restart(policy())
	w.want(w.post("k", body), "503 idempotency-store-unavailable")
	w.wantExecuted(0)
}

// TestHTTP2: the same over HTTP/2 with prior knowledge.
func TestHTTP2(t *testing.T) {
	w := newWorld(t, policy())
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	one := w.client
	w.client = &http.Client{Transport: tr, Timeout: soon}
	w.want(w.post("k", body), "201 executed")
	w.want(w.post("k", body), "201 replayed again")
	w.client = one
	w.want(w.post("k", body), "201 replayed again")
	w.wantExecuted(1)
}

// TestResults: each request is counted once.
func TestResults(t *testing.T) {
	w := newWorld(t, policy())
	w.post("k", body)
	w.post("k", body)
	w.post("k", "{}")
	w.post("", body)
	w.post("a b", body)
	w.away.Store(true)
	w.post("l", body)
	want := map[string]int{"executed": 1, "replayed": 1, "mismatch": 1, "ignored": 1, "key_invalid": 1, "unavailable": 1}
	if diff := cmp.Diff(want, w.counted()); diff != "" {
		t.Error(diff)
	}
}
