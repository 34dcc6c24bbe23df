// SPDX-License-Identifier: Apache-2.0

package idempotency_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency"
	"weir.dev/weir/sidecar/filter/idempotency/ledger"
	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/filter/key"
	"weir.dev/weir/sidecar/nskey"
)

// asked keeps what a ledger is asked.
type asked struct{ calls []ledger.Call }

func (a *asked) Begin(_ context.Context, call *ledger.Call) ledger.Result {
	a.calls = append(a.calls, *call)
	return ledger.Result{Kind: ledger.Unavailable}
}

func ring(t testing.TB) *nskey.Ring {
	t.Helper()
	r := &nskey.Ring{}
	if err := r.Set(bytes.Repeat([]byte{1}, nskey.Size), nil); err != nil {
		t.Fatal(err)
	}
	return r
}

// call is what the ledger is asked about a request; nil where it is not asked.
func call(t testing.TB, p *snapshot.IdempotencyPolicy, env idempotency.Env, x *exchange.Exchange) *ledger.Call {
	t.Helper()
	a := &asked{}
	env.Namespace, env.Ledger = "shop", a
	if env.Keys == nil {
		env.Keys = ring(t)
	}
	f, err := idempotency.Compile(p, env)
	if err != nil {
		t.Fatal(err)
	}
	if f.Head(x) == exchange.NeedBody {
		if x.Body == nil {
			x.Body = []byte{}
		}
		f.Body(x)
	}
	if len(a.calls) == 0 {
		return nil
	}
	return &a.calls[0]
}

func payment(fields headers) *exchange.Exchange {
	return &exchange.Exchange{Method: []byte("POST"), RawPath: []byte("/pay"), Path: []byte("/pay"), Request: fields}
}

// TestIDsAreAsBefore: who changes how an id is made has every client's records forgotten,
// and what is in flight executed again.
func TestIDsAreAsBefore(t *testing.T) {
	got := call(t, policy(), idempotency.Env{}, payment(headers{{"idempotency-key", "k"}, {"x-client-id", "acme"}, {"authorization", "Bearer a"}}))
	// Computed by another program: HMAC-SHA256 under the keys for records and credentials
	// of tagged, length-prefixed values.
	want := map[string]string{
		"id": "48e9279ec7af40ecf87a238860449b0b", "fingerprint": "ed4712c49ad87f6051c74c0db1f61345", "credentials": "c6183347d7ec550eea5eb54f9aad54c8",
	}
	if diff := cmp.Diff(want, map[string]string{
		"id": hex.EncodeToString(got.ID[:]), "fingerprint": hex.EncodeToString(got.Fingerprint[:]), "credentials": hex.EncodeToString(got.Credentials[:]),
	}); diff != "" {
		t.Error(diff)
	}
}

// TestIDsAreOfOneRequest: two requests have one id exactly when all that names them is
// equal, however their values are cut.
func TestIDsAreOfOneRequest(t *testing.T) {
	p := policy()
	p.Scope = append(p.Scope, &snapshot.KeyPart{Kind: &snapshot.KeyPart_Header{Header: "x-user"}})
	keys := ring(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[abhKP]{1,3}`)
		draw := func() [4]string {
			return [4]string{text.Draw(t, "policy"), text.Draw(t, "client"), text.Draw(t, "user"), text.Draw(t, "key")}
		}
		id := func(v [4]string) record.ID {
			a := &asked{}
			q := policy()
			q.Name, q.Scope = v[0], p.Scope
			f, err := idempotency.Compile(q, idempotency.Env{Namespace: "shop", Ledger: a, Keys: keys})
			if err != nil {
				t.Fatal(err)
			}
			x := payment(headers{{"x-client-id", v[1]}, {"x-user", v[2]}, {"idempotency-key", v[3]}})
			x.Body = []byte{}
			f.Head(x)
			f.Body(x)
			return a.calls[0].ID
		}
		one, two := draw(), draw()
		if (one == two) != (id(one) == id(two)) {
			t.Fatalf("%q and %q", one, two)
		}
	})
}

// claimed is a provider whose tokens all say who they are.
type claimed struct{}

func (claimed) Claim(field []byte, _ string) []byte {
	return bytes.TrimRight(bytes.TrimPrefix(field, []byte("Bearer ")), "0123456789")
}

// TestVerifiedClaims: where the scope says who it is a renewed token is no stranger's.
func TestVerifiedClaims(t *testing.T) {
	p := policy()
	p.Scope = []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_JwtClaim{JwtClaim: &snapshot.JWTClaim{Provider: "idp", Claim: "sub"}}}}
	env := idempotency.Env{Tokens: func(string) key.Tokens { return claimed{} }}
	of := func(token string) *ledger.Call {
		return call(t, p, env, payment(headers{{"idempotency-key", "k"}, {"authorization", "Bearer " + token}}))
	}
	one, renewed, other := of("ann1"), of("ann2"), of("bob1")
	if one.ID != renewed.ID || one.ID == other.ID || one.Credentials != (record.Digest{}) || renewed.Credentials != (record.Digest{}) {
		t.Errorf("%+v, %+v, %+v", one, renewed, other)
	}
}

// TestNotRecorded: what passes without the ledger.
func TestNotRecorded(t *testing.T) {
	fields := headers{{"idempotency-key", "k"}, {"x-client-id", "acme"}}
	for name, change := range map[string]func(*exchange.Exchange){
		"gRPC":    func(x *exchange.Exchange) { x.GRPC = true },
		"GET":     func(x *exchange.Exchange) { x.Method = []byte("GET") },
		"HEAD":    func(x *exchange.Exchange) { x.Method = []byte("HEAD") },
		"OPTIONS": func(x *exchange.Exchange) { x.Method = []byte("OPTIONS") },
		"TRACE":   func(x *exchange.Exchange) { x.Method = []byte("TRACE") },
		"CONNECT": func(x *exchange.Exchange) { x.Method = []byte("CONNECT") },
	} {
		x := payment(fields)
		change(x)
		if got := call(t, policy(), idempotency.Env{}, x); got != nil || x.Record || x.Denial.Status != 0 {
			t.Errorf("%s: %+v", name, got)
		}
		status := ""
		x.Fields(func(_ string, value []byte) bool { status = string(value); return true })
		if status != "ignored" {
			t.Errorf("%s: %q", name, status)
		}
	}
	if call(t, policy(), idempotency.Env{}, payment(fields)) == nil {
		t.Error("POST is not recorded")
	}
}
