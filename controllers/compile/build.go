// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
)

// maxWindow is a leap year, which is what sidecars can count.
const maxWindow = 366 * 24 * time.Hour

// buildLimits compiles what is supported. The errors are sentences with paths.
func buildLimits(in *Input, p *v1alpha1.RateLimitPolicy) (*draft, []string) {
	out := &snapshot.RateLimitPolicy{
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
	}
	out.Thrift = answersToCalls(p.Spec.Response.Thrift)
	d := newDraft(out)
	d.by, d.otherwise, d.failure = "counts by", ", or set scope to Pod", failurePolicy(p)
	var errs []string
	out.Exempt, errs = d.exemptions(p.Spec.Exempt)
	for i := range p.Spec.Limits {
		l := &p.Spec.Limits[i]
		b := limitBuilder{
			builder: builder{draft: d, in: in, path: fmt.Sprintf("spec.limits[%d]", i), what: "limit", match: matchOf(l)},
			spec:    l, mode: p.Spec.Mode,
		}
		out.Limits = append(out.Limits, b.limit())
		errs = append(errs, b.errs...)
	}
	slices.SortFunc(out.Limits, func(a, b *snapshot.Limit) int { return strings.Compare(a.GetName(), b.GetName()) })
	d.byAddress = byAddress(out)
	for _, l := range out.GetLimits() {
		d.shared = d.shared || l.GetScope() == snapshot.Scope_SCOPE_CLUSTER
		if l.GetShadow() {
			d.shadow = append(d.shadow, l.GetName())
		}
	}
	return d, errs
}

// byAddress are the limits with a clientIP in their key.
func byAddress(p *snapshot.RateLimitPolicy) []string {
	var out []string
	for _, l := range p.GetLimits() {
		if slices.ContainsFunc(l.GetKey(), func(k *snapshot.KeyPart) bool { return k.GetClientIp() != nil }) {
			out = append(out, l.GetName())
		}
	}
	return out
}

func failurePolicy(p *v1alpha1.RateLimitPolicy) v1alpha1.FailurePolicy {
	return cmp.Or(p.Spec.FailurePolicy, v1alpha1.FailurePolicyLocalFallback)
}

// limitBuilder compiles one limit.
type limitBuilder struct {
	builder
	spec *v1alpha1.Limit
	mode v1alpha1.Mode
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
	out.Key, order = b.keyParts("key", b.spec.Key)
	b.costs(out)
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
