// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the operator's image has no zones of its own

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
)

// exemptions compiles what is neither counted nor limited.
func (d *draft) exemptions(list []v1alpha1.Exemption) (out []*snapshot.Exemption, errs []string) {
	for i := range list {
		path := fmt.Sprintf("spec.exempt[%d]", i)
		if h := list[i].Header; h != nil {
			name := strings.ToLower(string(h.Name))
			d.exempt[name] = append(d.exempt[name], path+".header")
			out = append(out, &snapshot.Exemption{Kind: &snapshot.Exemption_Header{
				Header: &snapshot.HeaderMatch{Name: name, Value: h.Value},
			}})
			continue
		}
		p, err := netip.ParsePrefix(list[i].SourceCIDR)
		if err != nil || p.Addr().Is4In6() {
			errs = append(errs, fmt.Sprintf("%s.sourceCIDR: %q is no address with a prefix length: write it as in 10.1.0.0/16 or fd00::/8.",
				path, list[i].SourceCIDR))
			continue
		}
		out = append(out, &snapshot.Exemption{Kind: &snapshot.Exemption_SourceCidr{SourceCidr: p.Masked().String()}})
	}
	return canonical(out), errs
}

// calendar is nil where there is none.
func (b *limitBuilder) calendar() *snapshot.Calendar {
	c := b.spec.Calendar
	if c == nil {
		return nil
	}
	if b.spec.Algorithm != v1alpha1.AlgorithmFixedWindow {
		b.invalid("calendar", "Calendar windows are fixed: set algorithm to FixedWindow, or use window in place of calendar.")
	}
	zone := cmp.Or(c.TimeZone, "UTC")
	if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
		b.invalid("calendar.timeZone", "%q is no time zone: write a name of the IANA database, as in Europe/Berlin.", zone)
	}
	return &snapshot.Calendar{
		Period: map[v1alpha1.CalendarPeriod]snapshot.Calendar_Period{
			v1alpha1.CalendarDay:   snapshot.Calendar_PERIOD_DAY,
			v1alpha1.CalendarWeek:  snapshot.Calendar_PERIOD_WEEK,
			v1alpha1.CalendarMonth: snapshot.Calendar_PERIOD_MONTH,
		}[c.Period],
		TimeZone: zone,
	}
}

// leaseRate is how many per second make leases worth while.
const leaseRate = 100

// leased reports whether tokens are taken from the store ahead of need.
func (b *limitBuilder) leased(out *snapshot.Limit) bool {
	possible := out.GetAlgorithm() == snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET && out.GetScope() == snapshot.Scope_SCOPE_CLUSTER
	switch b.spec.Accuracy {
	case v1alpha1.AccuracyExact:
		return false
	case v1alpha1.AccuracyLeased:
		if !possible {
			b.invalid("accuracy", "Only tokens that the store counts can be leased: set algorithm to TokenBucket and scope to Cluster, or accuracy to Exact or Auto.")
		}
		if out.GetPenalty() != nil {
			b.invalid("accuracy", "Denials that a penalty counts have to reach the store each time: remove penalty, or set accuracy to Exact or Auto.")
		}
		return true
	default:
		return possible && out.GetPenalty() == nil && out.GetLimit() >= leaseRate*max(1, out.GetWindowSeconds())
	}
}

// cost of a request; 0, which means 1, where there is none to speak of.
func (b *limitBuilder) cost(out *snapshot.Limit) uint64 {
	if b.spec.Cost == nil || b.spec.Cost.Request == nil || *b.spec.Cost.Request == 1 {
		return 0
	}
	n := uint64(*b.spec.Cost.Request)
	if n > capacity(out.GetAlgorithm(), out.GetLimit(), out.GetBurst()) {
		b.invalid("cost.request", "A request that costs more than the limit (or its burst) could never pass: lower cost.request.")
	}
	return n
}

func capacity(a snapshot.Algorithm, limit, burst uint64) uint64 {
	if a == snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET {
		return burst
	}
	return limit
}

// overrides, with the values in the order of the snapshot's key.
func (b *limitBuilder) overrides(l *snapshot.Limit, order []int) []*snapshot.Override {
	var out []*snapshot.Override
	for i := range b.spec.Overrides {
		if o := b.override(fmt.Sprintf("overrides[%d]", i), &b.spec.Overrides[i], l, order); o != nil {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *snapshot.Override) int { return slices.Compare(a.GetKey(), b.GetKey()) })
	for i := 1; i < len(out); i++ {
		if slices.Equal(out[i].GetKey(), out[i-1].GetKey()) {
			b.invalid("overrides", "The key %q has two overrides: remove one of them.", out[i].GetKey())
		}
	}
	return out
}

func (b *limitBuilder) override(field string, spec *v1alpha1.Override, l *snapshot.Limit, order []int) *snapshot.Override {
	if len(spec.Key) != len(b.spec.Key) {
		b.invalid(field+".key", "An override's key has one value for each member of the limit's key, in the same order: correct the number of values.")
		return nil
	}
	o := &snapshot.Override{}
	for at, from := range order {
		o.Key = append(o.Key, b.keyValue(fmt.Sprintf("%s.key[%d]", field, from), string(spec.Key[from]), l.GetKey()[at]))
	}
	for i, v := range spec.Key {
		// A member that is there twice has been taken out of the key.
		if !slices.Contains(order, i) && !slices.Contains(spec.Key[:i], v) {
			b.invalid(fmt.Sprintf("%s.key[%d]", field, i), "The member is in the limit's key twice, so that no request has this value and the other: remove it there.")
		}
	}
	if spec.Unlimited || spec.Limit == nil {
		return o
	}
	o.Limit = uint64(*spec.Limit)
	if l.GetAlgorithm() == snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET {
		o.Burst = scaled(l.GetBurst(), o.GetLimit(), l.GetLimit())
	}
	if l.GetAlgorithm() == snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW && o.GetLimit() > math.MaxUint32 {
		b.invalid(field+".limit", "A SlidingWindow counts to %d at the most: lower limit, or set algorithm to TokenBucket.", uint32(math.MaxUint32))
	}
	if max(1, l.GetCost()) > capacity(l.GetAlgorithm(), o.GetLimit(), o.GetBurst()) {
		b.invalid(field+".limit", "A request costs %d, more than this limit (or its burst): it could never pass. Raise limit.", l.GetCost())
	}
	return o
}

// scaled is burst × limit ÷ of, rounded to the nearest, at least 1: burst ÷ limit
// stays.
func scaled(burst, limit, of uint64) uint64 {
	n := new(big.Int).Mul(new(big.Int).SetUint64(burst), new(big.Int).SetUint64(limit))
	n.Add(n, new(big.Int).SetUint64(of/2)).Div(n, new(big.Int).SetUint64(max(1, of)))
	return min(max(1, n.Uint64()), 10*limit)
}

// keyValue is a value in its one form.
func (b *limitBuilder) keyValue(field, value string, part *snapshot.KeyPart) string {
	c, ok := part.GetKind().(*snapshot.KeyPart_ClientIp)
	if !ok {
		return value
	}
	n := int(c.ClientIp.GetIpv6PrefixLength())
	addr, err := netip.ParseAddr(value)
	if p, e := netip.ParsePrefix(value); e == nil && !p.Addr().Is4() && p.Bits() == n {
		addr, err = p.Addr(), nil
	}
	if err != nil || addr.Zone() != "" {
		b.invalid(field, "%q is no address: write one as in 192.0.2.1, or a network that clients are counted by, as in 2001:db8::/%d.", value, n)
		return value
	}
	if addr = addr.Unmap(); addr.Is4() {
		return addr.String()
	}
	p, _ := addr.Prefix(n)
	return p.Addr().String()
}
