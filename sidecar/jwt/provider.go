// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"weir.dev/weir/api/snapshot"
)

// Bounds.
const (
	// MaxToken is the longest token that is looked at, in bytes.
	MaxToken = 8 << 10
	// MaxClaim is the longest value of a claim, in bytes.
	MaxClaim = 512
	// Leeway is how much clocks may differ.
	Leeway = 60 * time.Second

	maxString = 1024
)

// Provider verifies the tokens of one issuer. Safe for concurrent use.
type Provider struct {
	from   *snapshot.JWTProvider
	claims []string
	keys   []key
	cache  cache
}

// key with the algorithms that it may verify.
type key struct {
	kid    string
	algs   []jose.SignatureAlgorithm
	public crypto.PublicKey
}

// New checks a provider. claims are those that will be asked for.
func New(p *snapshot.JWTProvider, claims []string) (*Provider, error) {
	switch {
	case p.GetName() == "" || p.GetIssuer() == "" || len(p.GetIssuer()) > maxString:
		return nil, fmt.Errorf("its name or issuer is empty or too long")
	case len(p.GetKeys()) > snapshot.MaxJWTKeys:
		return nil, fmt.Errorf("it has %d keys, at most %d are possible", len(p.GetKeys()), snapshot.MaxJWTKeys)
	}
	out := &Provider{from: p, claims: slices.Compact(slices.Sorted(slices.Values(claims)))}
	for i, k := range p.GetKeys() {
		c, err := compileKey(k)
		if err != nil {
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		}
		out.keys = append(out.keys, c)
	}
	return out, nil
}

func compileKey(k *snapshot.JWTKey) (key, error) {
	if len(k.GetKid()) > maxString {
		return key{}, fmt.Errorf("its kid is too long")
	}
	public, err := x509.ParsePKIXPublicKey(k.GetDer())
	if err != nil {
		return key{}, fmt.Errorf("it is no public key")
	}
	algs := algorithms(public)
	if a := jose.SignatureAlgorithm(k.GetAlg()); a != "" {
		if !slices.Contains(algs, a) {
			return key{}, fmt.Errorf("algorithm %.40q is not for keys of its type", a)
		}
		algs = []jose.SignatureAlgorithm{a}
	}
	if len(algs) == 0 {
		return key{}, fmt.Errorf("its type or size is not possible")
	}
	return key{kid: k.GetKid(), algs: algs, public: public}, nil
}

// algorithms that a key is good for: the key decides, not the token.
func algorithms(public crypto.PublicKey) []jose.SignatureAlgorithm {
	var out []jose.SignatureAlgorithm
	for _, a := range snapshot.JWTAlgorithms(public) {
		out = append(out, jose.SignatureAlgorithm(a))
	}
	return out
}

// Serves reports whether the provider is what New would make of p and claims, so that
// what it remembers goes on holding.
func (p *Provider) Serves(from *snapshot.JWTProvider, claims []string) bool {
	return p.SameIssuer(from) && slices.Equal(p.claims, slices.Compact(slices.Sorted(slices.Values(claims)))) &&
		slices.EqualFunc(p.from.GetKeys(), from.GetKeys(), func(a, b *snapshot.JWTKey) bool {
			return a.GetKid() == b.GetKid() && a.GetAlg() == b.GetAlg() && bytes.Equal(a.GetDer(), b.GetDer())
		})
}

// SameIssuer reports whether from issues the same tokens, by whichever keys.
func (p *Provider) SameIssuer(from *snapshot.JWTProvider) bool {
	return p.from.GetName() == from.GetName() && p.from.GetIssuer() == from.GetIssuer() &&
		slices.Equal(p.from.GetAudiences(), from.GetAudiences())
}

// Keys are those that New was given.
func (p *Provider) Keys() []*snapshot.JWTKey { return p.from.GetKeys() }
