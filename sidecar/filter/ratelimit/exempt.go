// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
)

// maxExempt of a policy, api.md.
const maxExempt = 16

// exemptions are what is neither counted nor limited.
type exemptions struct {
	clients []netip.Prefix
	headers []exemptHeader
}

type exemptHeader struct{ name, value string }

func compileExempt(list []*snapshot.Exemption) (exemptions, error) {
	out := exemptions{}
	if len(list) > maxExempt {
		return out, fmt.Errorf("exempt has %d entries, at most %d are possible", len(list), maxExempt)
	}
	for i, e := range list {
		switch k := e.GetKind().(type) {
		case *snapshot.Exemption_SourceCidr:
			p, err := netip.ParsePrefix(k.SourceCidr)
			if err != nil || p != p.Masked() || p.Addr().Is4In6() {
				return out, fmt.Errorf("exempt[%d]: %q is no CIDR in its canonical form", i, k.SourceCidr)
			}
			out.clients = append(out.clients, p)
		case *snapshot.Exemption_Header:
			name := k.Header.GetName()
			if name == "" || len(name) > maxString || name != strings.ToLower(name) {
				return out, fmt.Errorf("exempt[%d]: header name %q is empty, too long or not in lower case", i, name)
			}
			out.headers = append(out.headers, exemptHeader{name, k.Header.GetValue()})
		default:
			return out, fmt.Errorf("exempt[%d] is of a kind that this sidecar does not know", i)
		}
	}
	return out, nil
}

// Under is the filter on a port with the identity id: an exemption by a header
// counts only where strangers cannot send that header.
func (f *Filter) Under(id *exchange.Identity) *Filter {
	if len(f.exempt.headers) == 0 {
		return f
	}
	c := *f
	c.exempt.headers = nil
	for _, h := range f.exempt.headers {
		if id != nil && slices.Contains(id.Headers, h.name) {
			c.exempt.headers = append(c.exempt.headers, h)
		}
	}
	return &c
}

// cover reports whether x is exempt. The infos of a call of Thrift are its client's
// own: no header exempts it.
func (e *exemptions) cover(x *exchange.Exchange) bool {
	for i := range e.clients {
		if e.clients[i].Contains(x.Client.Unmap()) {
			return true
		}
	}
	if x.Call != nil {
		return false
	}
	for i := range e.headers {
		if v, n := x.Request.Header(e.headers[i].name); n == 1 && string(v) == e.headers[i].value {
			return true
		}
	}
	return false
}
