// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
)

// maxWindow is a leap year, which is what sidecars can count.
const maxWindow = 366 * 24 * time.Hour

// build compiles what is supported. The errors are sentences with paths.
func build(in *Input, p *v1alpha1.RateLimitPolicy) (*draft, []string) {
	d := &draft{
		policy: &snapshot.RateLimitPolicy{
			Name:       p.Name,
			Generation: p.Generation,
			Uid:        string(p.UID),
			FailurePolicy: map[v1alpha1.FailurePolicy]snapshot.FailurePolicy{
				v1alpha1.FailurePolicyLocalFallback: snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK,
				v1alpha1.FailurePolicyOpen:          snapshot.FailurePolicy_FAILURE_POLICY_OPEN,
				v1alpha1.FailurePolicyClosed:        snapshot.FailurePolicy_FAILURE_POLICY_CLOSED,
			}[failurePolicy(p)],
			Headers: map[v1alpha1.ResponseHeaders]snapshot.HeaderStyle{
				"":                                 snapshot.HeaderStyle_HEADER_STYLE_IETF,
				v1alpha1.ResponseHeadersIETF:       snapshot.HeaderStyle_HEADER_STYLE_IETF,
				v1alpha1.ResponseHeadersXRateLimit: snapshot.HeaderStyle_HEADER_STYLE_X_RATE_LIMIT,
				v1alpha1.ResponseHeadersBoth:       snapshot.HeaderStyle_HEADER_STYLE_BOTH,
				v1alpha1.ResponseHeadersNone:       snapshot.HeaderStyle_HEADER_STYLE_NONE,
			}[p.Spec.Response.Headers],
		},
		matches: snapshot.Protocol_PROTOCOL_AUTO,
		headers: map[string][]string{},
		exempt:  map[string][]string{},
	}
	errs := d.exemptions(p.Spec.Exempt)
	for i := range p.Spec.Limits {
		b := limitBuilder{draft: d, in: in, path: fmt.Sprintf("spec.limits[%d]", i), spec: &p.Spec.Limits[i], mode: p.Spec.Mode}
		d.policy.Limits = append(d.policy.Limits, b.limit())
		errs = append(errs, b.errs...)
	}
	slices.SortFunc(d.policy.Limits, func(a, b *snapshot.Limit) int { return strings.Compare(a.GetName(), b.GetName()) })
	for _, l := range d.policy.GetLimits() {
		if l.GetShadow() {
			d.shadow = append(d.shadow, l.GetName())
		}
	}
	return d, errs
}

func failurePolicy(p *v1alpha1.RateLimitPolicy) v1alpha1.FailurePolicy {
	return cmp.Or(p.Spec.FailurePolicy, v1alpha1.FailurePolicyLocalFallback)
}

// limitBuilder compiles one limit.
type limitBuilder struct {
	*draft
	in   *Input
	path string
	spec *v1alpha1.Limit
	mode v1alpha1.Mode
	errs []string
}

func (b *limitBuilder) invalid(field, format string, args ...any) {
	b.errs = append(b.errs, fmt.Sprintf("%s.%s: %s", b.path, field, fmt.Sprintf(format, args...)))
}

func (b *limitBuilder) limit() *snapshot.Limit {
	s := b.spec
	out := &snapshot.Limit{
		Name:   string(s.Name),
		Shadow: cmp.Or(s.Mode, b.mode) == v1alpha1.ModeShadow,
		OnMissingKey: map[v1alpha1.OnMissingKey]snapshot.OnMissingKey{
			"":                            snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP,
			v1alpha1.OnMissingKeyClientIP: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP,
			v1alpha1.OnMissingKeySkip:     snapshot.OnMissingKey_ON_MISSING_KEY_SKIP,
			v1alpha1.OnMissingKeyDeny:     snapshot.OnMissingKey_ON_MISSING_KEY_DENY,
		}[s.OnMissingKey],
		Algorithm: map[v1alpha1.Algorithm]snapshot.Algorithm{
			"":                              snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW,
			v1alpha1.AlgorithmSlidingWindow: snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW,
			v1alpha1.AlgorithmTokenBucket:   snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET,
			v1alpha1.AlgorithmFixedWindow:   snapshot.Algorithm_ALGORITHM_FIXED_WINDOW,
			v1alpha1.AlgorithmConcurrency:   snapshot.Algorithm_ALGORITHM_CONCURRENCY,
		}[s.Algorithm],
		Limit:       uint64(s.Limit),
		Scope:       snapshot.Scope_SCOPE_CLUSTER,
		HideHeaders: s.Headers == v1alpha1.LimitHeadersHide,
	}
	if s.Scope == v1alpha1.LimitScopePod {
		out.Scope = snapshot.Scope_SCOPE_POD
	}
	if out.Algorithm == snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET {
		out.Burst = out.Limit
		if s.Burst != nil {
			out.Burst = uint64(*s.Burst)
		}
	}
	if out.Calendar = b.calendar(); out.Calendar == nil && out.Algorithm != snapshot.Algorithm_ALGORITHM_CONCURRENCY {
		out.WindowSeconds = b.seconds("window", "A window", b.spec.Window)
	}
	if out.Algorithm == snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW && out.Limit > math.MaxUint32 {
		b.invalid("limit", "A SlidingWindow counts to %d at the most: lower limit, or set algorithm to TokenBucket.", uint32(math.MaxUint32))
	}
	out.Match = b.matchList()
	var order []int
	out.Key, order = b.key()
	out.Cost = b.cost(out)
	out.Overrides = b.overrides(out, order)
	out.Penalty = b.penalty()
	out.Leased = b.leased(out)
	return out
}

// seconds reads a duration that is counted in whole seconds.
func (b *limitBuilder) seconds(field, what string, w v1alpha1.WholeSeconds) uint64 {
	d, err := w.AsDuration()
	switch {
	case err != nil || d < time.Second || d%time.Second != 0:
		b.invalid(field, "%q is not whole seconds, 1s at the least.", w)
	case d > maxWindow:
		b.invalid(field, "%s is 366 days (8784h) at the most: shorten it.", what)
	}
	return uint64(d / time.Second)
}

func (b *limitBuilder) penalty() *snapshot.Penalty {
	p := b.spec.Penalty
	if p == nil {
		return nil
	}
	return &snapshot.Penalty{
		Denials:       uint64(p.Denials),
		WithinSeconds: b.seconds("penalty.within", "The time within which denials are counted", p.Within),
		BanSeconds:    b.seconds("penalty.ban", "A ban", p.Ban),
	}
}

// key returns the members in the order of the snapshot, and for each where it is in
// the spec.
func (b *limitBuilder) key() (parts []*snapshot.KeyPart, order []int) {
	var out []*snapshot.KeyPart
	for i := range b.spec.Key {
		k := &b.spec.Key[i]
		field := fmt.Sprintf("key[%d]", i)
		switch {
		case k.Header != "":
			name := strings.ToLower(string(k.Header))
			b.headers[name] = append(b.headers[name], b.path+"."+field+".header")
			out = append(out, &snapshot.KeyPart{Kind: &snapshot.KeyPart_Header{Header: name}})
		case k.ClientIP != nil:
			n := uint32(cmp.Or(k.ClientIP.IPv6PrefixLength, 64))
			out = append(out, &snapshot.KeyPart{Kind: &snapshot.KeyPart_ClientIp{ClientIp: &snapshot.ClientIP{Ipv6PrefixLength: n}}})
		case k.PathParam != "":
			b.pathParam(field+".pathParam", k.PathParam)
			out = append(out, &snapshot.KeyPart{Kind: &snapshot.KeyPart_PathParam{PathParam: k.PathParam}})
		case k.QueryParam != "":
			out = append(out, &snapshot.KeyPart{Kind: &snapshot.KeyPart_QueryParam{QueryParam: k.QueryParam}})
		case k.Cookie != "":
			out = append(out, &snapshot.KeyPart{Kind: &snapshot.KeyPart_Cookie{Cookie: string(k.Cookie)}})
		case k.JWTClaim != nil:
			out = append(out, &snapshot.KeyPart{Kind: &snapshot.KeyPart_JwtClaim{JwtClaim: b.jwtClaim(field+".jwtClaim", k.JWTClaim)}})
		default:
			b.invalid(field, "The member has no source: set header, clientIP, pathParam, queryParam, cookie or jwtClaim.")
			out = append(out, &snapshot.KeyPart{})
		}
	}
	parts = canonical(out)
	for _, part := range parts {
		order = append(order, slices.IndexFunc(out, func(k *snapshot.KeyPart) bool { return proto.Equal(k, part) }))
	}
	return parts, order
}

// pathParam checks that every way to match gives the parameter.
func (b *limitBuilder) pathParam(field, name string) {
	if len(b.spec.Match) == 0 {
		b.invalid(field, "The limit has no match, and so no template with {%s}: add a match with a path of type Template.", name)
	}
	for i := range b.spec.Match {
		h := b.spec.Match[i].HTTP
		if h != nil && h.Path != nil && h.Path.Type == v1alpha1.PathMatchTemplate &&
			slices.Contains(strings.Split(h.Path.Value, "/"), "{"+name+"}") {
			continue
		}
		b.invalid(field, "match[%d] has no template with {%s}, so its requests would have no such parameter: "+
			"add {%s} to its path, or use another limit.", i, name, name)
	}
}

// canonical sorts messages by their bytes and takes out what comes twice: their
// order has no meaning.
func canonical[T proto.Message](list []T) []T {
	type entry struct {
		bytes   []byte
		message T
	}
	entries := make([]entry, 0, len(list))
	for _, m := range list {
		// What is marshalled here has been made here, of valid strings.
		bytes, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		entries = append(entries, entry{bytes, m})
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.bytes, b.bytes) })
	entries = slices.CompactFunc(entries, func(a, b entry) bool { return bytes.Equal(a.bytes, b.bytes) })
	var out []T
	for _, e := range entries {
		out = append(out, e.message)
	}
	return out
}
