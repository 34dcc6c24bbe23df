// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"fmt"
	"slices"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
)

// jwtClaim checks that the provider exists. One whose keys are not known is no
// mistake of the policy: its other limits hold, and sidecars that had keys keep them.
func (b *builder) jwtClaim(field string, k *v1alpha1.JWTClaimKey) *snapshot.JWTClaim {
	name := string(k.Provider)
	if _, ok := b.in.Config.JWTProvider(name); !ok {
		b.invalid(field+".provider", "The operator's configuration has no JWT provider %q; it has %s. Name one of them, or add it to jwtProviders.",
			name, jwtProviderNames(b.in))
	} else if b.in.JWTKeys[name] == nil && !slices.Contains(b.keyless, name) {
		b.keyless = append(b.keyless, name)
	}
	return &snapshot.JWTClaim{Provider: name, Claim: k.Claim}
}

func jwtProviderNames(in *Input) string {
	var names []string
	for i := range in.Config.JWTProviders {
		names = append(names, in.Config.JWTProviders[i].Name)
	}
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	return enumerate(names)
}

func (d *draft) keylessWarnings() []string {
	slices.Sort(d.keyless)
	var out []string
	for _, name := range d.keyless {
		out = append(out, fmt.Sprintf("Warning: JWT provider %s has no keys yet: its jwks.url has not answered since the operator started (the operator's log says why). "+
			"Sidecars that have its keys go on with them; for others every token of it is a missing key.", name))
	}
	return out
}

// jwtProviders are those that policies name, by name.
func jwtProviders(in *Input, policies []snapshot.Policy) []*snapshot.JWTProvider {
	used := map[string]bool{}
	for _, p := range policies {
		for name := range snapshot.JWTClaims(p) {
			used[name] = true
		}
	}
	var out []*snapshot.JWTProvider
	for i := range in.Config.JWTProviders {
		p := &in.Config.JWTProviders[i]
		if !used[p.Name] {
			continue
		}
		audiences := slices.Compact(slices.Sorted(slices.Values(p.Audiences)))
		out = append(out, &snapshot.JWTProvider{Name: p.Name, Issuer: p.Issuer, Audiences: audiences, Keys: in.JWTKeys[p.Name]})
	}
	slices.SortFunc(out, func(a, b *snapshot.JWTProvider) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return out
}
