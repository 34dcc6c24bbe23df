// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of an IdempotencyPolicy. The API server keeps the same.
const (
	// MaxRecordedRequest bounds bodies of requests, which are held in memory.
	MaxRecordedRequest = 16 << 20
	// MaxRecordedResponse bounds bodies of answers, which are one value in the store.
	MaxRecordedResponse = 4 << 20
	// MaxIdempotencyKey bounds a key in bytes.
	MaxIdempotencyKey = 1024
	// MinLease is what can be renewed in time through a network.
	MinLease = 100 * time.Millisecond
	// MaxRetention is a leap year.
	MaxRetention = 366 * 24 * time.Hour
	// MaxUpstream bounds how long an answer is awaited, in time and late.
	MaxUpstream = 24 * time.Hour
)

func validateIdempotency(p *IdempotencyPolicy, stores []string) error {
	f := p.GetFailurePolicy()
	switch {
	case p.GetStore() == "":
		return fmt.Errorf("store is empty")
	case !slices.Contains(stores, p.GetStore()):
		return fmt.Errorf("store %q is not in the snapshot", p.GetStore())
	case f != FailurePolicy_FAILURE_POLICY_CLOSED && f != FailurePolicy_FAILURE_POLICY_OPEN:
		return fmt.Errorf("failure_policy is %s", f)
	case p.GetGuarantee() == Guarantee_GUARANTEE_UNSPECIFIED || Guarantee_name[int32(p.GetGuarantee())] == "":
		return fmt.Errorf("guarantee is %s", p.GetGuarantee())
	case p.GetGuarantee() == Guarantee_GUARANTEE_AT_MOST_ONCE && f == FailurePolicy_FAILURE_POLICY_OPEN:
		return fmt.Errorf("guarantee is %s with failure_policy %s", p.GetGuarantee(), f)
	case len(p.GetScope()) == 0:
		return fmt.Errorf("scope is empty")
	case len(p.GetKeySources()) == 0:
		return fmt.Errorf("there are no key_sources")
	case p.GetMaxKeyBytes() == 0 || p.GetMaxKeyBytes() > MaxIdempotencyKey:
		return fmt.Errorf("max_key_bytes %d is not between 1 and %d", p.GetMaxKeyBytes(), MaxIdempotencyKey)
	case (p.GetEncryptionKey() == "") != (p.GetEncryptionVersion() == ""):
		return fmt.Errorf("encryption_key %q comes with encryption_version %q", p.GetEncryptionKey(), p.GetEncryptionVersion())
	}
	if err := validateDerived(p); err != nil {
		return err
	}
	for _, n := range []struct {
		field           string
		value, min, max uint64
	}{
		{"max_request_bytes", p.GetMaxRequestBytes(), 1, MaxRecordedRequest},
		{"max_response_bytes", p.GetMaxResponseBytes(), 1, MaxRecordedResponse},
		{"retention", p.GetRetention(), 1, uint64(MaxRetention.Milliseconds())},
		{"lease", p.GetLease(), uint64(MinLease.Milliseconds()), max(1, p.GetRetention()) - 1},
		{"upstream_timeout", p.GetUpstreamTimeout(), 1, uint64(MaxUpstream.Milliseconds())},
		{"late_window", p.GetLateWindow(), 0, uint64(MaxUpstream.Milliseconds())},
		{"wait", p.GetWait(), 0, p.GetUpstreamTimeout()},
	} {
		if n.value < n.min || n.value > n.max {
			return fmt.Errorf("%s %d is not between %d and %d", n.field, n.value, n.min, n.max)
		}
	}
	return validateRecorded(p)
}

func validateDerived(p *IdempotencyPolicy) error {
	m := p.GetOnMissingKey()
	if m == OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_UNSPECIFIED || OnMissingIdempotencyKey_name[int32(m)] == "" {
		return fmt.Errorf("on_missing_key is %s", m)
	}
	derive := m == OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_DERIVE
	if derive != (len(p.GetDeriveFrom()) > 0) || derive != (p.GetDeriveWindow() > 0) {
		return fmt.Errorf("on_missing_key is %s with %d sources to derive from and a window of %d ms", m, len(p.GetDeriveFrom()), p.GetDeriveWindow())
	}
	for field, list := range map[string][]*ContentSource{"key_sources": p.GetKeySources(), "derive_from": p.GetDeriveFrom()} {
		for i, s := range list {
			switch h := s.GetHeader(); {
			case s.GetKind() == nil:
				return fmt.Errorf("%s[%d] is empty", field, i)
			case h != strings.ToLower(h):
				return fmt.Errorf("%s[%d]: header %q is not in lower case", field, i, h)
			}
		}
	}
	return nil
}

func validateRecorded(p *IdempotencyPolicy) error {
	if f := p.GetFingerprint(); !f.GetBody() && len(f.GetExcludeJsonPointers()) > 0 {
		return fmt.Errorf("fingerprint.exclude_json_pointers is set without the body")
	}
	for field, list := range map[string][]string{
		"deny_headers": p.GetDenyHeaders(), "fingerprint.exclude_json_pointers": p.GetFingerprint().GetExcludeJsonPointers(),
	} {
		if err := ordered(field, list); err != nil {
			return err
		}
	}
	for _, h := range p.GetDenyHeaders() {
		if h != strings.ToLower(h) {
			return fmt.Errorf("deny_headers: %q is not in lower case", h)
		}
	}
	for i, s := range p.GetReleaseStatuses() {
		if s < 200 || s > 599 || i > 0 && p.GetReleaseStatuses()[i-1] >= s {
			return fmt.Errorf("release_statuses[%d]: %d is no final status, or not above the one before", i, s)
		}
	}
	if err := validateKey("scope", p.GetScope()); err != nil {
		return err
	}
	return validateMatches(p.GetMatch())
}
