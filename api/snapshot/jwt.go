// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"slices"
)

// Bounds of providers.
const (
	MaxJWTProviders = 16
	MaxJWTKeys      = 16
	MaxJWTAudiences = 16

	minRSA = 2048
	maxRSA = 8192
)

// JWTAlgorithms are those of RFC 7518 and RFC 8037 that a public key is good for; nil:
// its type or size is not possible. The key decides, not the token: a public key
// is never a secret, and none is no algorithm.
func JWTAlgorithms(public crypto.PublicKey) []string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return nil
		}
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []string{"ES256"}
		case elliptic.P384():
			return []string{"ES384"}
		case elliptic.P521():
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}

// CompareJWTKeys is the order of a provider's keys.
func CompareJWTKeys(a, b *JWTKey) int {
	return cmp.Or(cmp.Compare(a.GetKid(), b.GetKid()), bytes.Compare(a.GetDer(), b.GetDer()), cmp.Compare(a.GetAlg(), b.GetAlg()))
}

// ValidateJWTProviders checks order and bounds.
func ValidateJWTProviders(list []*JWTProvider) error {
	if err := ordered("jwt_providers", names(list)); err != nil {
		return err
	}
	if len(list) > MaxJWTProviders {
		return fmt.Errorf("jwt_providers has %d entries, at most %d are possible", len(list), MaxJWTProviders)
	}
	for _, p := range list {
		switch {
		case p.GetIssuer() == "":
			return fmt.Errorf("jwt_providers[%s]: issuer is empty", p.GetName())
		case len(p.GetKeys()) > MaxJWTKeys || len(p.GetAudiences()) > MaxJWTAudiences:
			return fmt.Errorf("jwt_providers[%s] has %d keys and %d audiences, at most %d and %d are possible",
				p.GetName(), len(p.GetKeys()), len(p.GetAudiences()), MaxJWTKeys, MaxJWTAudiences)
		case !slices.IsSortedFunc(p.GetKeys(), CompareJWTKeys):
			return fmt.Errorf("jwt_providers[%s]: keys are not sorted", p.GetName())
		}
		if err := ordered("audiences", p.GetAudiences()); err != nil {
			return fmt.Errorf("jwt_providers[%s]: %w", p.GetName(), err)
		}
	}
	return nil
}

// JWTClaims are the claims that a policy's keys are made of, by provider.
func JWTClaims(p Policy) map[string][]string {
	out := map[string][]string{}
	for k := range KeyParts(p) {
		if c := k.GetJwtClaim(); c != nil {
			out[c.GetProvider()] = append(out[c.GetProvider()], c.GetClaim())
		}
	}
	return out
}
