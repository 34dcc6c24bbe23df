// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"time"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/filter/key"
	"weir.dev/weir/sidecar/jwt"
)

// openTokens makes the snapshot's providers, or goes on with those that are the same,
// and with what they remember.
func (b *build) openTokens() error {
	claims := map[string][]string{}
	for p := range snapshot.Policies(b.snap) {
		for provider, of := range snapshot.JWTClaims(p) {
			claims[provider] = append(claims[provider], of...)
		}
	}
	for _, p := range b.snap.GetJwtProviders() {
		name := p.GetName()
		old := b.e.tokens[name]
		if old != nil && len(p.GetKeys()) == 0 && old.SameIssuer(p) {
			// An operator that has just started does not know them yet.
			p = proto.CloneOf(p)
			p.Keys = old.Keys()
		}
		if old != nil && old.Serves(p, claims[name]) {
			b.tokens[name] = old
			continue
		}
		made, err := jwt.New(p, claims[name])
		if err != nil {
			return refuse("JWT provider %q: %s.", name, err)
		}
		b.tokens[name] = made
	}
	return nil
}

func (b *build) tokensOf(provider string) key.Tokens {
	if p := b.tokens[provider]; p != nil {
		return tokens{p}
	}
	return nil
}

// tokens are a provider's, by this machine's clock.
type tokens struct{ provider *jwt.Provider }

// Claim of a token that holds now.
func (t tokens) Claim(field []byte, claim string) []byte {
	return t.provider.Claim(field, claim, time.Now())
}
