// SPDX-License-Identifier: Apache-2.0

package jwks

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"weir.dev/weir/api/snapshot"
)

// maxKid is the longest name of a key that is read.
const maxKid = 1024

// Parse reads a JWK set (RFC 7517). Keys that verify no signatures, or that nobody
// here can use, are left out; the others come in the order of a snapshot.
func Parse(text []byte) ([]*snapshot.JWTKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("it is no JWK set")
	}
	var out []*snapshot.JWTKey
	for _, raw := range set.Keys {
		if k := parseKey(raw); k != nil {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, snapshot.CompareJWTKeys)
	out = slices.CompactFunc(out, func(a, b *snapshot.JWTKey) bool { return snapshot.CompareJWTKeys(a, b) == 0 })
	switch n := len(out); {
	case n == 0:
		return nil, errors.New("it has no key that verifies signatures by RS, PS, ES or EdDSA")
	case n > snapshot.MaxJWTKeys:
		return nil, fmt.Errorf("it has %d keys, at most %d are possible", n, snapshot.MaxJWTKeys)
	}
	return out, nil
}

// parseKey is nil for what is no such key.
func parseKey(raw json.RawMessage) *snapshot.JWTKey {
	var meant struct {
		Use string   `json:"use"`
		Ops []string `json:"key_ops"`
	}
	var k jose.JSONWebKey
	if json.Unmarshal(raw, &meant) != nil || k.UnmarshalJSON(raw) != nil || len(k.KeyID) > maxKid {
		return nil
	}
	if meant.Use != "" && meant.Use != "sig" || meant.Ops != nil && !slices.Contains(meant.Ops, "verify") {
		return nil
	}
	public := k.Public()
	algs := snapshot.JWTAlgorithms(public.Key)
	if len(algs) == 0 || k.Algorithm != "" && !slices.Contains(algs, k.Algorithm) {
		return nil
	}
	der, err := x509.MarshalPKIXPublicKey(public.Key)
	if err != nil {
		return nil
	}
	return &snapshot.JWTKey{Kid: k.KeyID, Alg: k.Algorithm, Der: der}
}
