// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"cmp"
	"iter"

	"google.golang.org/protobuf/proto"
)

// Kinds of policies, as the API calls them.
const (
	KindRateLimitPolicy   = "RateLimitPolicy"
	KindIdempotencyPolicy = "IdempotencyPolicy"
)

// PolicyID names a policy of a snapshot.
type PolicyID struct{ Kind, Name string }

// String is kind/name, as in a Nack.
func (id PolicyID) String() string { return id.Kind + "/" + id.Name }

// ComparePolicyIDs orders by kind and name.
func ComparePolicyIDs(a, b PolicyID) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// Policy is what all kinds have.
type Policy interface {
	proto.Message
	GetName() string
	GetGeneration() int64
	GetUid() string
	// GetStore is the name of a Store; empty where it needs none.
	GetStore() string
}

// IDOf names p.
func IDOf(p Policy) PolicyID {
	kind := KindRateLimitPolicy
	if _, is := p.(*IdempotencyPolicy); is {
		kind = KindIdempotencyPolicy
	}
	return PolicyID{kind, p.GetName()}
}

// Policies are those of s, kind by kind.
func Policies(s *Snapshot) iter.Seq[Policy] {
	return func(yield func(Policy) bool) {
		for _, p := range s.GetIdempotencyPolicies() {
			if !yield(p) {
				return
			}
		}
		for _, p := range s.GetRateLimitPolicies() {
			if !yield(p) {
				return
			}
		}
	}
}

// Find returns the policy of that name; nil: s has none.
func Find(s *Snapshot, id PolicyID) Policy {
	for p := range Policies(s) {
		if IDOf(p) == id {
			return p
		}
	}
	return nil
}

// SetPolicies replaces all policies of s. Their order within a kind stays.
func SetPolicies(s *Snapshot, all []Policy) {
	s.RateLimitPolicies, s.IdempotencyPolicies = nil, nil
	for _, p := range all {
		switch p := p.(type) {
		case *RateLimitPolicy:
			s.RateLimitPolicies = append(s.RateLimitPolicies, p)
		case *IdempotencyPolicy:
			s.IdempotencyPolicies = append(s.IdempotencyPolicies, p)
		}
	}
}

// Governing are the policies of a port, one of each kind at most.
func Governing(p *Port) []PolicyID {
	var out []PolicyID
	for kind, name := range map[string]string{
		KindRateLimitPolicy: p.GetRateLimitPolicy(), KindIdempotencyPolicy: p.GetIdempotencyPolicy(),
	} {
		if name != "" {
			out = append(out, PolicyID{kind, name})
		}
	}
	if len(out) == 2 && ComparePolicyIDs(out[0], out[1]) > 0 {
		out[0], out[1] = out[1], out[0]
	}
	return out
}

// Govern makes id the port's policy of its kind; without a name: none is.
func Govern(p *Port, id PolicyID) {
	switch id.Kind {
	case KindRateLimitPolicy:
		p.RateLimitPolicy = id.Name
	case KindIdempotencyPolicy:
		p.IdempotencyPolicy = id.Name
	}
}

// KeyParts are the members of all keys and scopes of a policy.
func KeyParts(p Policy) iter.Seq[*KeyPart] {
	return func(yield func(*KeyPart) bool) {
		switch p := p.(type) {
		case *RateLimitPolicy:
			for _, l := range p.GetLimits() {
				for _, k := range l.GetKey() {
					if !yield(k) {
						return
					}
				}
			}
		case *IdempotencyPolicy:
			for _, k := range p.GetScope() {
				if !yield(k) {
					return
				}
			}
		}
	}
}

// Matches are the entries of all matches of a policy.
func Matches(p Policy) iter.Seq[*Match] {
	return func(yield func(*Match) bool) {
		var lists [][]*Match
		switch p := p.(type) {
		case *RateLimitPolicy:
			for _, l := range p.GetLimits() {
				lists = append(lists, l.GetMatch())
			}
		case *IdempotencyPolicy:
			lists = append(lists, p.GetMatch())
		}
		for _, list := range lists {
			for _, m := range list {
				if !yield(m) {
					return
				}
			}
		}
	}
}

// NeedsNamespaceKey reports whether a policy keeps or signs anything under the key of
// its namespace.
func NeedsNamespaceKey(p Policy) bool {
	_, is := p.(*IdempotencyPolicy)
	return is
}
