// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/key"
	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/filter/match"
)

// Explanation is what a filter makes of one request, for people.
type Explanation struct {
	// Policy is <namespace>/<name>.
	Policy string
	// Exempt is what exempts the request, in words; empty: nothing does.
	Exempt string
	// Limits in the order of the policy.
	Limits []LimitExplanation
}

// LimitExplanation is what one limit makes of it.
type LimitExplanation struct {
	Name   string
	Shadow bool
	// Covers: the limit's match covers the request, by Entry, which is empty where
	// everything is. Else Misses says of each entry why it does not.
	Covers bool
	Entry  string
	Misses []Miss
	// Key are the members that the request is counted by.
	Key []MemberExplanation
	// Skipped and Refused are what onMissingKey does to a request without its key.
	Skipped, Refused bool
	// Overridden: an override of the key holds; Unlimited: one without a limit.
	Overridden, Unlimited bool
	// Rule and Every, its window in words, are what holds for the key.
	Rule  limiter.Rule
	Every string
	// Decided: the limit was asked, and Decision is its answer, Source whence, Seconds
	// the parameter t.
	Decided  bool
	Decision limiter.Decision
	Source   Source
	Seconds  int64
}

// Miss is an entry of match that does not cover the request.
type Miss struct{ Entry, Why string }

// MemberExplanation is one member of a key.
type MemberExplanation struct {
	// Member in words, such as "the header x-client-id".
	Member string
	// Value as it is counted: decoded, of an address what its prefix leaves.
	Value string
	// Missing says why the member counts as missing; Value is then the address that
	// stands in for it, where one does.
	Missing string
}

// Explain decides on x, which must be fresh, as on the last of n equal requests of
// which none has ended, and says how it came to that. The verdict and what is added
// to x are those of Head.
func (f *Filter) Explain(x *exchange.Exchange, n int) (Explanation, exchange.Verdict) {
	for i := 1; i < n; i++ {
		y := *x
		y.SetState(f.env.Slot, nil)
		f.Head(&y)
	}
	verdict := f.Head(x)
	out := Explanation{Policy: f.policy, Exempt: f.exempt.explain(x)}
	for i := range f.limits {
		out.Limits = append(out.Limits, f.explainLimit(&f.limits[i], x))
	}
	return out, verdict
}

func (f *Filter) explainLimit(l *limit, x *exchange.Exchange) LimitExplanation {
	out := LimitExplanation{
		Name: l.name, Shadow: l.shadow, Rule: l.terms.rule, Every: l.terms.every(),
	}
	entries := l.match.Describe()
	var params match.Params
	rule, ok := l.match.Match(x, &params)
	if !ok {
		for i, why := range l.match.Explain(x) {
			out.Misses = append(out.Misses, Miss{entries[i], why})
		}
		return out
	}
	if out.Covers = true; rule != match.Everything {
		out.Entry = entries[rule]
	}
	spec := &f.specs[l.spec]
	for i := range spec.parts {
		out.Key = append(out.Key, spec.explainPart(&spec.parts[i], x, rule, &params))
	}
	key, state, _ := spec.key(x, rule, &params, nil)
	switch state {
	case keySkip:
		out.Skipped = true
		return out
	case keyDeny:
		out.Refused = true
		return out
	}
	t := l.termsFor(&key)
	out.Overridden, out.Unlimited = t != &l.terms, t.unlimited
	if t.unlimited {
		return out
	}
	out.Rule, out.Every = t.rule, t.every()
	if s, ok := x.State(f.env.Slot).(*scratch); ok {
		for i := range s.hits {
			if h := &s.hits[i]; h.limit == l && h.decided {
				out.Decided, out.Decision, out.Source, out.Seconds = true, h.d, h.source, h.seconds()
			}
		}
	}
	return out
}

// explainPart reads what one member puts into the key, by the function that hashes it.
func (spec *keySpec) explainPart(part *key.Part, x *exchange.Exchange, rule int, p *match.Params) MemberExplanation {
	one := keySpec{parts: []key.Part{*part}, missing: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP}
	out := MemberExplanation{Member: one.describe()}
	_, _, buf := one.key(x, rule, p, nil)
	tag, value := key.Kind(buf[0]), buf[5:]
	if uint32(len(value)) != binary.BigEndian.Uint32(buf[1:5]) {
		return out
	}
	out.Value = string(value)
	if tag == tagMissing || tag == key.ClientIP {
		out.Value = address(value, part, tag)
	}
	if tag != tagMissing {
		return out
	}
	// Skip tells what is not there from what may be read in more than one way.
	one.missing = snapshot.OnMissingKey_ON_MISSING_KEY_SKIP
	out.Missing = "not sent, or empty"
	if part.Kind() == key.JWTClaim {
		out.Missing = "not in a bearer token that is valid"
	}
	if _, state, _ := one.key(x, rule, p, nil); state != keySkip {
		out.Missing = "sent more than once, or in a way that applications read differently"
	}
	if spec.missing == snapshot.OnMissingKey_ON_MISSING_KEY_DENY || spec.missing == snapshot.OnMissingKey_ON_MISSING_KEY_SKIP && strings.HasPrefix(out.Missing, "not") {
		out.Value = ""
	}
	return out
}

func address(b []byte, part *key.Part, tag key.Kind) string {
	addr, ok := netip.AddrFromSlice(b)
	if !ok {
		return "no address"
	}
	bits := part.Prefix()
	if tag == tagMissing {
		bits = fallbackPrefix
	}
	if addr.Is4() || bits == 128 {
		return addr.String()
	}
	return fmt.Sprintf("%s/%d", addr, bits)
}

// explain is the exemption that covers x, in words.
func (e *exemptions) explain(x *exchange.Exchange) string {
	for i := range e.clients {
		if one := (&exemptions{clients: e.clients[i : i+1]}); one.cover(x) {
			return fmt.Sprintf("the client's address is in %s", e.clients[i])
		}
	}
	for i := range e.headers {
		if one := (&exemptions{headers: e.headers[i : i+1]}); one.cover(x) {
			return fmt.Sprintf("the header %s has the value that is exempt", e.headers[i].name)
		}
	}
	return ""
}
