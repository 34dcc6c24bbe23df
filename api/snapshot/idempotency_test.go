// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"strings"
	"testing"
)

func idempotent() *Snapshot {
	s := good()
	s.Ports[0].IdempotencyPolicy = "once"
	s.NamespaceKeyVersion = "1"
	s.IdempotencyPolicies = []*IdempotencyPolicy{{
		Name: "once", Generation: 1, Store: "default", FailurePolicy: FailurePolicy_FAILURE_POLICY_CLOSED,
		Guarantee:    Guarantee_GUARANTEE_AT_MOST_ONCE,
		KeySources:   []*ContentSource{{Kind: &ContentSource_Header{Header: "idempotency-key"}}},
		OnMissingKey: OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_DERIVE,
		DeriveFrom:   []*ContentSource{{Kind: &ContentSource_JsonPointer{JsonPointer: "/id"}}}, DeriveWindow: 1000,
		MaxKeyBytes: 255, Scope: []*KeyPart{{Kind: &KeyPart_Header{Header: "x-client"}}},
		Fingerprint:     &Fingerprint{Method: true, Body: true, ExcludeJsonPointers: []string{"/a", "/b"}},
		MaxRequestBytes: 1 << 20, Lease: 30000, Wait: 5000, UpstreamTimeout: 60000, LateWindow: 60000,
		MaxResponseBytes: 1 << 18, ReleaseStatuses: []uint32{401, 429}, DenyHeaders: []string{"x-a", "x-b"}, Retention: 86400000,
	}}
	return s
}

func TestValidateIdempotency(t *testing.T) {
	if err := Validate(idempotent()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func(*Snapshot, *IdempotencyPolicy)
		want  string
	}{
		"no key version": {func(s *Snapshot, _ *IdempotencyPolicy) { s.NamespaceKeyVersion = "" }, "idempotency_policies[once]: namespace_key_version"},
		"unknown policy": {func(s *Snapshot, _ *IdempotencyPolicy) { s.Ports[0].IdempotencyPolicy = "x" }, `ports[8080]: policy "x"`},
		"opaque":         {func(s *Snapshot, _ *IdempotencyPolicy) { s.Ports[1].IdempotencyPolicy = "once" }, "opaque"},
		"twice": {func(s *Snapshot, p *IdempotencyPolicy) { s.IdempotencyPolicies = append(s.IdempotencyPolicies, p) },
			"idempotency_policies"},
		"no store":       {func(_ *Snapshot, p *IdempotencyPolicy) { p.Store = "" }, "store is empty"},
		"unknown store":  {func(_ *Snapshot, p *IdempotencyPolicy) { p.Store = "x" }, `store "x"`},
		"fallback":       {func(_ *Snapshot, p *IdempotencyPolicy) { p.FailurePolicy = 1 }, "failure_policy"},
		"open":           {func(_ *Snapshot, p *IdempotencyPolicy) { p.FailurePolicy = 2 }, "guarantee"},
		"no guarantee":   {func(_ *Snapshot, p *IdempotencyPolicy) { p.Guarantee = 0 }, "guarantee"},
		"no scope":       {func(_ *Snapshot, p *IdempotencyPolicy) { p.Scope = nil }, "scope is empty"},
		"empty scope":    {func(_ *Snapshot, p *IdempotencyPolicy) { p.Scope[0].Kind = nil }, "scope[0]"},
		"no sources":     {func(_ *Snapshot, p *IdempotencyPolicy) { p.KeySources = nil }, "key_sources"},
		"empty source":   {func(_ *Snapshot, p *IdempotencyPolicy) { p.KeySources[0].Kind = nil }, "key_sources[0]"},
		"upper case":     {func(_ *Snapshot, p *IdempotencyPolicy) { p.KeySources[0].Kind = &ContentSource_Header{Header: "X"} }, "lower case"},
		"long keys":      {func(_ *Snapshot, p *IdempotencyPolicy) { p.MaxKeyBytes = 1025 }, "max_key_bytes"},
		"no missing key": {func(_ *Snapshot, p *IdempotencyPolicy) { p.OnMissingKey = 0 }, "on_missing_key"},
		"derives":        {func(_ *Snapshot, p *IdempotencyPolicy) { p.OnMissingKey = 1 }, "on_missing_key"},
		"no window":      {func(_ *Snapshot, p *IdempotencyPolicy) { p.DeriveWindow = 0 }, "window of 0"},
		"half a key":     {func(_ *Snapshot, p *IdempotencyPolicy) { p.EncryptionKey = "a/b/c" }, "encryption_version"},
		"large requests": {func(_ *Snapshot, p *IdempotencyPolicy) { p.MaxRequestBytes = 16<<20 + 1 }, "max_request_bytes"},
		"large answers":  {func(_ *Snapshot, p *IdempotencyPolicy) { p.MaxResponseBytes = 4<<20 + 1 }, "max_response_bytes"},
		"long retention": {func(_ *Snapshot, p *IdempotencyPolicy) { p.Retention = 367 * 86400000 }, "retention"},
		"no lease":       {func(_ *Snapshot, p *IdempotencyPolicy) { p.Lease = 0 }, "lease"},
		"long lease":     {func(_ *Snapshot, p *IdempotencyPolicy) { p.Lease = p.Retention }, "lease"},
		"long wait":      {func(_ *Snapshot, p *IdempotencyPolicy) { p.Wait = 60001 }, "wait"},
		"no timeout":     {func(_ *Snapshot, p *IdempotencyPolicy) { p.UpstreamTimeout = 0 }, "upstream_timeout"},
		"parts of no body": {func(_ *Snapshot, p *IdempotencyPolicy) { p.Fingerprint.Body = false },
			"fingerprint.exclude_json_pointers"},
		"unsorted pointers": {func(_ *Snapshot, p *IdempotencyPolicy) { p.Fingerprint.ExcludeJsonPointers = []string{"/b", "/a"} },
			"fingerprint.exclude_json_pointers"},
		"unsorted headers":  {func(_ *Snapshot, p *IdempotencyPolicy) { p.DenyHeaders = []string{"b", "a"} }, "deny_headers"},
		"unsorted statuses": {func(_ *Snapshot, p *IdempotencyPolicy) { p.ReleaseStatuses = []uint32{429, 401} }, "release_statuses[1]"},
		"no final status":   {func(_ *Snapshot, p *IdempotencyPolicy) { p.ReleaseStatuses = []uint32{100} }, "release_statuses[0]"},
		"empty match":       {func(_ *Snapshot, p *IdempotencyPolicy) { p.Match = []*Match{{}} }, "match[0]"},
		"unknown provider": {func(_ *Snapshot, p *IdempotencyPolicy) {
			p.Scope[0].Kind = &KeyPart_JwtClaim{JwtClaim: &JWTClaim{Provider: "idp"}}
		}, `provider "idp"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := idempotent()
			c.spoil(s, s.IdempotencyPolicies[0])
			if err := Validate(s); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
