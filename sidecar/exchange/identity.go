// SPDX-License-Identifier: Apache-2.0

package exchange

import "net/netip"

// Identity says which peers are trusted to name the client, and which request
// fields only they may set. Immutable.
type Identity struct {
	TrustedProxies []netip.Prefix
	// Headers are lower case.
	Headers []string
}

// Trusts reports whether addr is a trusted proxy.
func (i *Identity) Trusts(addr netip.Addr) bool {
	addr = addr.Unmap()
	for _, p := range i.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
