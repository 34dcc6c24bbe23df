// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/key"
	"weir.dev/weir/sidecar/filter/match"
)

// Explanation is what a filter makes of the head of a request, for people. Nobody is
// asked for it.
type Explanation struct {
	// Policy is <namespace>/<name>.
	Policy string
	Shadow bool
	// Covers: the policy's match covers the request, by Entry, which is empty where
	// everything is. Else Misses says of each entry why it does not.
	Covers bool
	Entry  string
	Misses []Miss
	// Scope says whose key it is, up to the member that is missing.
	Scope []Member
	// Key is where the key was found or, with Missing, where it was looked for.
	Key Member
	// Derived: the key is made of content.
	Derived bool
	// Passes says why the request is never recorded; empty: it may be.
	Passes string
	// InBody: the key may be in the body, which is not looked into.
	InBody bool
}

// Miss is an entry of match that does not cover the request.
type Miss struct{ Entry, Why string }

// Member is a value that the request has or lacks.
type Member struct {
	// Member in words, such as "the header x-client-id".
	Member string
	Value  string
	// Missing says why it counts as missing.
	Missing string
}

// Explain says what the head of x is to the policy. It changes nothing of x, and must
// come before Head.
func (f *Filter) Explain(x *exchange.Exchange) Explanation {
	out := Explanation{Policy: f.policy, Shadow: f.shadow}
	entries := f.match.Describe()
	s := &scratch{}
	rule, ok := f.match.Match(x, &s.params)
	if !ok {
		for i, why := range f.match.Explain(x) {
			out.Misses = append(out.Misses, Miss{entries[i], why})
		}
		return out
	}
	if out.Covers, s.rule = true, rule; rule != match.Everything {
		out.Entry = entries[rule]
	}
	if passes(x) {
		out.Passes = fmt.Sprintf("requests of %s are never recorded", x.Method)
		if x.GRPC {
			out.Passes = "calls of gRPC are not recorded"
		}
		return out
	}
	for i := range f.scope {
		m := explainPart(&f.scope[i], x, s)
		out.Scope = append(out.Scope, m)
		if m.Missing != "" {
			return out
		}
	}
	f.explainKey(x, s, &out)
	return out
}

func (f *Filter) explainKey(x *exchange.Exchange, s *scratch, out *Explanation) {
	for i := range f.sources {
		src := &f.sources[i]
		if src.header == "" {
			out.InBody, out.Key = true, Member{Member: src.String()}
			return
		}
		s.name = s.name[:0]
		switch state, why := f.fromHeader(x, s, src.header); state {
		case keyFound:
			out.Key = Member{Member: src.String(), Value: string(s.buf)}
			return
		case keyInvalid:
			out.Key = Member{Member: src.String(), Missing: why}
			return
		}
	}
	if f.missing == snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_DERIVE {
		out.Derived = true
		for i := range f.derive {
			src := &f.derive[i]
			if src.header == "" {
				out.InBody, out.Key = true, Member{Member: src.String()}
				return
			}
			field, count := x.Request.Header(src.header)
			if out.Key = (Member{Member: src.String(), Value: string(field)}); count != 1 || len(field) == 0 {
				out.Key = Member{Member: src.String(), Missing: "not sent once, or empty"}
				return
			}
		}
		return
	}
	out.Key = Member{Member: f.needs(), Missing: "not sent, or empty"}
	if len(f.sources) > 0 {
		out.Key.Member = f.sources[0].String()
	}
}

// explainPart reads what one member of the scope is, by the function that hashes it.
func explainPart(part *key.Part, x *exchange.Exchange, s *scratch) Member {
	out := Member{Member: part.String()}
	buf, doubtful := part.Append(nil, x, s.rule, &s.params)
	const head = 5 // the kind and the length
	switch {
	case doubtful:
		out.Missing = "sent more than once, or in a way that applications read differently"
	case len(buf) <= head:
		out.Missing = "not sent, or empty"
		if part.Kind() == key.JWTClaim {
			out.Missing = "not in a bearer token that is valid"
		}
	case part.Kind() == key.ClientIP:
		if addr, ok := netip.AddrFromSlice(buf[head:]); ok {
			if out.Value = addr.String(); addr.Is6() && part.Prefix() < 128 {
				out.Value += fmt.Sprintf("/%d", part.Prefix())
			}
		}
	case part.Kind() == key.JWTClaim:
		sum := sha256.Sum256(buf[head:])
		out.Value = "sha256:" + hex.EncodeToString(sum[:8])
	default:
		out.Value = string(buf[head:])
	}
	return out
}
