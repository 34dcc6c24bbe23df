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
	if i == nil {
		return false
	}
	addr = addr.Unmap()
	for _, p := range i.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// Client returns who the client is. xff are the values of the X-Forwarded-For
// fields, forwarded those of the Forwarded fields (RFC 7239), in the order of
// the head.
//
// A peer that is not trusted is the client. Else both lists are read from right
// to left over trusted proxies: the first address that is not trusted is the
// client, or the leftmost one when all are. Whatever cannot be read, and two
// lists that name different clients, make the peer the client.
func (i *Identity) Client(peer netip.Addr, xff, forwarded [][]byte) netip.Addr {
	peer = peer.Unmap()
	if !i.Trusts(peer) {
		return peer
	}
	client := peer
	if len(xff) > 0 {
		addr, ok := i.walkXFF(xff)
		if !ok {
			return peer
		}
		client = addr
	}
	if len(forwarded) > 0 {
		addr, ok := i.walkForwarded(forwarded)
		if !ok || len(xff) > 0 && addr != client {
			return peer
		}
		client = addr
	}
	return client
}

func (i *Identity) walkXFF(values [][]byte) (netip.Addr, bool) {
	var addr netip.Addr
	for n := len(values) - 1; n >= 0; n-- {
		rest := values[n]
		for more := true; more; {
			entry := rest
			more = false
			for k := len(rest) - 1; k >= 0; k-- {
				if rest[k] == ',' {
					entry, rest, more = rest[k+1:], rest[:k], true
					break
				}
			}
			var ok bool
			if addr, ok = parseNode(trim(entry)); !ok {
				return netip.Addr{}, false
			}
			if !i.Trusts(addr) {
				return addr, true
			}
		}
	}
	return addr, addr.IsValid()
}

// maxForwarded is how many elements of Forwarded are read; a longer list counts
// as unreadable.
const maxForwarded = 32

func (i *Identity) walkForwarded(values [][]byte) (netip.Addr, bool) {
	// Quoted strings may hold commas, so the list is read from the left and
	// walked from the right.
	var nodes [maxForwarded]netip.Addr
	n := 0
	for _, rest := range values {
		for more := true; more; {
			var node []byte
			var ok bool
			node, rest, more, ok = forwardedFor(rest)
			if !ok || n == maxForwarded {
				return netip.Addr{}, false
			}
			// An unreadable node matters only when the walk comes to it.
			nodes[n], _ = parseNode(node)
			n++
		}
	}
	for n--; n >= 0; n-- {
		if !nodes[n].IsValid() {
			return netip.Addr{}, false
		}
		if !i.Trusts(nodes[n]) {
			return nodes[n], true
		}
	}
	return nodes[0], nodes[0].IsValid()
}
