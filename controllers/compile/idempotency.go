// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
)

// What an IdempotencyPolicy with mode Shadow counts, as its status names it.
const (
	WouldReplay = "replay"
	WouldRefuse = "refuse"
	WouldWait   = "wait"
)

// ByScope is what Verdict.ByAddress says of an IdempotencyPolicy.
const ByScope = "scope"

// buildIdempotency compiles what is supported. The errors are sentences with paths.
func buildIdempotency(in *Input, p *v1alpha1.IdempotencyPolicy) (*draft, []string) {
	s := &p.Spec
	out := &snapshot.IdempotencyPolicy{
		Name: p.Name, Generation: p.Generation, Uid: string(p.UID),
		Shadow:        s.Mode == v1alpha1.ModeShadow,
		Guarantee:     snapshot.Guarantee_GUARANTEE_AT_MOST_ONCE,
		FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_CLOSED,
		PassOversize:  s.Request.OnOversize == v1alpha1.OnOversizePass,
	}
	d := newDraft(out)
	d.by, d.shared, d.failure = "tells clients apart by", true, cmp.Or(s.FailurePolicy, v1alpha1.FailurePolicyClosed)
	if s.Encryption != nil {
		d.encryption = &s.Encryption.SecretRef
	}
	if s.Guarantee == v1alpha1.GuaranteeAtLeastOnce {
		out.Guarantee = snapshot.Guarantee_GUARANTEE_AT_LEAST_ONCE
	}
	if d.failure == v1alpha1.FailurePolicyOpen {
		out.FailurePolicy = snapshot.FailurePolicy_FAILURE_POLICY_OPEN
	}
	if out.Shadow {
		d.shadow = []string{WouldRefuse, WouldReplay, WouldWait}
	}
	b := &builder{draft: d, in: in, path: "spec", what: "policy", match: s.Match}
	out.Match = b.matchList()
	out.Scope, _ = b.keyParts("scope", s.Scope)
	if slices.ContainsFunc(out.Scope, func(k *snapshot.KeyPart) bool { return k.GetClientIp() != nil }) {
		d.byAddress = []string{ByScope}
	}
	b.idempotencyKey(out, &s.Key)
	out.Fingerprint = fingerprint(&s.Fingerprint)
	b.idempotencyTimes(out, s)
	out.MaxRequestBytes = b.size("request.maxBytes", cmp.Or(s.Request.MaxBytes, "1Mi"), snapshot.MaxRecordedRequest)
	out.MaxResponseBytes = b.size("response.maxBytes", cmp.Or(s.Response.MaxBytes, "256Ki"), snapshot.MaxRecordedResponse)
	b.recorded(out, &s.Response)
	if out.FailurePolicy == snapshot.FailurePolicy_FAILURE_POLICY_OPEN && out.Guarantee == snapshot.Guarantee_GUARANTEE_AT_MOST_ONCE {
		b.invalid("failurePolicy", "AtMostOnce cannot hold while requests pass without the store: set failurePolicy to Closed, or guarantee to AtLeastOnce.")
	}
	return d, b.errs
}

// idempotencyKey compiles where the key is found.
func (b *builder) idempotencyKey(out *snapshot.IdempotencyPolicy, k *v1alpha1.IdempotencyKey) {
	sources := k.Sources
	if len(sources) == 0 {
		sources = []v1alpha1.ContentSource{{Header: "Idempotency-Key"}}
	}
	out.KeySources = b.sources("key.sources", sources)
	out.MaxKeyBytes = uint32(cmp.Or(k.MaxLength, 255))
	out.OnMissingKey = map[v1alpha1.OnMissingIdempotencyKey]snapshot.OnMissingIdempotencyKey{
		"":                       snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_PASS,
		v1alpha1.OnMissingPass:   snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_PASS,
		v1alpha1.OnMissingReject: snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_REJECT,
		v1alpha1.OnMissingDerive: snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_DERIVE,
	}[k.OnMissing]
	if k.OnMissing != v1alpha1.OnMissingDerive {
		return
	}
	if k.Derive == nil || len(k.Derive.From) == 0 {
		b.invalid("key.derive", "onMissing is Derive: say in derive what the key is derived from, or set onMissing to Pass or Reject.")
		return
	}
	// All of them make the key: their order has no meaning.
	out.DeriveFrom = canonical(b.sources("key.derive.from", k.Derive.From))
	out.DeriveWindow = term(b, "key.derive.window", cmp.Or(k.Derive.Window, "2m"), snapshot.MaxRetention)
}

// sources are in the order of the spec, each once.
func (b *builder) sources(field string, list []v1alpha1.ContentSource) []*snapshot.ContentSource {
	var out []*snapshot.ContentSource
	seen := map[string]bool{}
	for i, s := range list {
		c := &snapshot.ContentSource{}
		switch {
		case s.Header != "":
			c.Kind = &snapshot.ContentSource_Header{Header: strings.ToLower(string(s.Header))}
		case s.JSONPointer != "":
			c.Kind = &snapshot.ContentSource_JsonPointer{JsonPointer: string(s.JSONPointer)}
		default:
			b.invalid(fmt.Sprintf("%s[%d]", field, i), "The value has no source: set header or jsonPointer.")
			continue
		}
		if id := c.String(); !seen[id] {
			seen[id] = true
			out = append(out, c)
		}
	}
	return out
}

func fingerprint(f *v1alpha1.Fingerprint) *snapshot.Fingerprint {
	has := func(p v1alpha1.FingerprintPart) bool { return len(f.Include) == 0 || slices.Contains(f.Include, p) }
	out := &snapshot.Fingerprint{
		Method: has(v1alpha1.FingerprintMethod), Path: has(v1alpha1.FingerprintPath),
		Query: has(v1alpha1.FingerprintQuery), Body: has(v1alpha1.FingerprintBody),
		Warn: f.OnMismatch == v1alpha1.OnMismatchWarn,
	}
	for _, p := range f.ExcludeJSONPointers {
		out.ExcludeJsonPointers = append(out.ExcludeJsonPointers, string(p))
	}
	slices.Sort(out.ExcludeJsonPointers)
	out.ExcludeJsonPointers = slices.Compact(out.ExcludeJsonPointers)
	return out
}

func (b *builder) idempotencyTimes(out *snapshot.IdempotencyPolicy, s *v1alpha1.IdempotencyPolicySpec) {
	out.Retention = term(b, "retention", cmp.Or(s.Retention, "24h"), snapshot.MaxRetention)
	out.Lease = term(b, "inFlight.lease", cmp.Or(s.InFlight.Lease, "30s"), snapshot.MaxRetention)
	out.Wait = term(b, "inFlight.wait", cmp.Or(s.InFlight.Wait, "5s"), snapshot.MaxUpstream)
	out.UpstreamTimeout = term(b, "upstream.timeout", cmp.Or(s.Upstream.Timeout, "60s"), snapshot.MaxUpstream)
	out.LateWindow = term(b, "upstream.lateWindow", cmp.Or(s.Upstream.LateWindow, "60s"), snapshot.MaxUpstream)
	switch {
	case len(b.errs) > 0:
	case out.Lease < uint64(snapshot.MinLease.Milliseconds()):
		b.invalid("inFlight.lease", "A lease is renewed three times before it ends, through the network: make it 100ms at the least.")
	case out.UpstreamTimeout == 0:
		b.invalid("upstream.timeout", "This duration must be longer than 0s.")
	case out.Retention <= out.Lease:
		b.invalid("retention", "A record must outlive the lease of its request: make retention longer than inFlight.lease.")
	case out.Retention <= out.UpstreamTimeout+out.LateWindow:
		b.invalid("retention", "A record must outlive its request: make retention longer than upstream.timeout and upstream.lateWindow together.")
	case out.Wait > out.UpstreamTimeout:
		b.invalid("inFlight.wait", "After upstream.timeout there is nothing to wait for: make wait no longer than it.")
	case out.DeriveWindow > out.Retention:
		b.invalid("key.derive.window", "A derived key is forgotten with its record: make window no longer than retention.")
	}
}

// recorded compiles what of an answer is kept.
func (b *builder) recorded(out *snapshot.IdempotencyPolicy, r *v1alpha1.IdempotencyResponse) {
	statuses := r.ReleaseStatuses
	if statuses == nil {
		statuses = []v1alpha1.HTTPStatus{401, 407, 408, 425, 429}
	}
	var ambiguous []string
	for _, s := range statuses {
		out.ReleaseStatuses = append(out.ReleaseStatuses, uint32(s))
	}
	slices.Sort(out.ReleaseStatuses)
	out.ReleaseStatuses = slices.Compact(out.ReleaseStatuses)
	for _, s := range out.ReleaseStatuses {
		if s >= 500 && out.Guarantee == snapshot.Guarantee_GUARANTEE_AT_MOST_ONCE {
			ambiguous = append(ambiguous, fmt.Sprint(s))
		}
	}
	if len(ambiguous) > 0 {
		b.warnings = append(b.warnings, fmt.Sprintf("Warning: spec.response.releaseStatuses has %s: after such an answer a retry is dispatched again, "+
			"whatever the application has done before it answered. Have it say weir-idempotency-outcome: not-executed in its place.", enumerate(ambiguous)))
	}
	for _, h := range r.DenyHeaders {
		out.DenyHeaders = append(out.DenyHeaders, strings.ToLower(string(h)))
	}
	slices.Sort(out.DenyHeaders)
	out.DenyHeaders = slices.Compact(out.DenyHeaders)
}

// term is a duration in milliseconds.
func term[D interface {
	~string
	AsDuration() (time.Duration, error)
}](b *builder, field string, d D, most time.Duration) uint64 {
	v, err := d.AsDuration()
	switch {
	case err != nil || v < 0:
		b.invalid(field, "%q is no duration: write it as in 30s, 5m or 24h.", string(d))
		return 0
	case v > most:
		b.invalid(field, "This is %.0fh at the most: shorten it.", most.Hours())
	}
	return uint64(v.Milliseconds())
}

func (b *builder) size(field string, s v1alpha1.ByteSize, most int64) uint64 {
	n, err := s.Bytes()
	switch {
	case err != nil || n <= 0:
		b.invalid(field, "%q is no size: write it as in 256Ki.", string(s))
	case n > most:
		b.invalid(field, "This is %dMi at the most: lower it.", most>>20)
	}
	return uint64(n)
}
