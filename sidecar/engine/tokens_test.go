// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/exchange"
)

// fields is a request's headers.
type fields map[string]string

func (f fields) Header(name string) ([]byte, int) {
	if v, ok := f[name]; ok {
		return []byte(v), 1
	}
	return nil, 0
}

// TestJWTClaims: a limit of one counts by who the token says, whatever else changes;
// a snapshot without keys goes on with those before, and a key that is gone has verified
// its last.
func TestJWTClaims(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keyOf := func(k ed25519.PublicKey) []*snapshot.JWTKey {
		der, err := x509.MarshalPKIXPublicKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return []*snapshot.JWTKey{{Der: der}}
	}
	limit := &snapshot.Limit{
		Name: "user", Limit: 1, WindowSeconds: 3600, Algorithm: snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW, Scope: snapshot.Scope_SCOPE_POD,
		OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_DENY,
		Key:          []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_JwtClaim{JwtClaim: &snapshot.JWTClaim{Provider: "idp", Claim: "sub"}}}},
		Overrides:    []*snapshot.Override{{Key: []string{"gold"}}},
	}
	snap := &snapshot.Snapshot{
		Workload:     &snapshot.Workload{Cluster: "c", Namespace: "shop", Key: "k"},
		Ports:        []*snapshot.Port{{Number: 80, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "p"}},
		JwtProviders: []*snapshot.JWTProvider{{Name: "idp", Issuer: "i", Keys: keyOf(public)}},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{
			Name: "p", Limits: []*snapshot.Limit{limit}, Headers: snapshot.HeaderStyle_HEADER_STYLE_NONE,
			FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK,
		}},
	}
	if err := snapshot.Validate(snap); err != nil {
		t.Fatal(err)
	}
	e := engine.New(engine.Options{})
	defer e.Close()
	apply := func(keys []*snapshot.JWTKey) {
		t.Helper()
		s := proto.CloneOf(snap)
		s.JwtProviders[0].Keys = keys
		if err := e.Apply(s); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	token := func(sub string) fields {
		n++
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: private}, nil)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(fmt.Appendf(nil, `{"iss":"i","exp":%d,"sub":%q,"n":%d}`, time.Now().Unix()+600, sub, n))
		if err != nil {
			t.Fatal(err)
		}
		text, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return fields{"authorization": "Bearer " + text}
	}
	ask := func(f fields, want int) {
		t.Helper()
		port, _ := e.Port(80)
		x := &exchange.Exchange{Method: []byte("GET"), Path: []byte("/"), Request: f}
		got := 200
		if port.Chain[0].Head(x) == exchange.Respond {
			got = x.Denial.Status
		}
		if got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	apply(keyOf(public))
	ask(token("alice"), 200)
	ask(token("alice"), 429)
	ask(token("bob"), 200)
	ask(token("gold"), 200)
	ask(token("gold"), 200)
	ask(fields{"authorization": "Bearer a.b.c"}, 400)
	ask(fields{}, 400)
	held := token("carol")
	ask(held, 200)
	apply(nil) // an operator that has just started
	ask(token("dave"), 200)
	ask(token("alice"), 429)
	apply(keyOf(other))
	ask(held, 400)
	ask(token("erin"), 400)

	snap.JwtProviders[0].Keys = []*snapshot.JWTKey{{Der: []byte("x")}}
	if e.Apply(snap) == nil {
		t.Error("a key that is none was taken")
	}
	snap.JwtProviders = nil
	if e.Apply(snap) == nil {
		t.Error("a policy without its provider was taken")
	}
}
