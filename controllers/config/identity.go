// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

var headerRE = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$")

// CanonicalCIDR returns s with its host bits cleared; an address stands for itself
// alone. The error is a sentence.
func CanonicalCIDR(s string) (string, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, addrErr := netip.ParseAddr(s)
		if addrErr != nil || a.Zone() != "" {
			return "", fmt.Errorf("%q is neither an address nor a CIDR, as in 10.0.0.0/8", s)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() {
		return "", fmt.Errorf("%q is an IPv4 address written as IPv6: write it as IPv4", s)
	}
	return p.Masked().String(), nil
}

// CanonicalHeader returns the name of a field in lower case. The error is a
// sentence.
func CanonicalHeader(s string) (string, error) {
	if !headerRE.MatchString(s) {
		return "", fmt.Errorf("%q is no header name", s)
	}
	return strings.ToLower(s), nil
}

// Canonical returns the lists in the form that snapshots have: canonical, sorted,
// each entry once. It leaves out what Validate refuses.
func (id Identity) Canonical() Identity {
	return Identity{
		TrustedProxies:  canonical(id.TrustedProxies, CanonicalCIDR),
		IdentityHeaders: canonical(id.IdentityHeaders, CanonicalHeader),
	}
}

func canonical(list []string, of func(string) (string, error)) []string {
	var out []string
	for _, s := range list {
		if c, err := of(s); err == nil {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
