// SPDX-License-Identifier: Apache-2.0

package idempotency_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency"
	"weir.dev/weir/sidecar/filter/idempotency/ledger"
	"weir.dev/weir/sidecar/nskey"
)

type nobody struct{}

func (nobody) Begin(context.Context, *ledger.Call) ledger.Result {
	return ledger.Result{Kind: ledger.Unavailable}
}

func TestCompileRefuses(t *testing.T) {
	type p = *snapshot.IdempotencyPolicy
	for name, tc := range map[string]struct {
		change func(p)
		want   string
	}{
		"no source":         {func(p p) { p.KeySources = nil }, "key_sources has no entries"},
		"many sources":      {func(p p) { p.KeySources = make([]*snapshot.ContentSource, 5) }, "key_sources has 5 entries"},
		"an unknown source": {func(p p) { p.KeySources[0] = &snapshot.ContentSource{} }, "key_sources[0] is of a kind"},
		"an upper case header": {func(p p) {
			p.KeySources[0] = &snapshot.ContentSource{Kind: &snapshot.ContentSource_Header{Header: "A"}}
		}, `key_sources[0]: header name "A"`},
		"a pointer":            {func(p p) { p.KeySources[0] = pointer("a") }, `key_sources[0]: JSON pointer "a" does not begin with /`},
		"missing, unknown":     {func(p p) { p.OnMissingKey = 9 }, "on_missing_key 9"},
		"derive of nothing":    {func(p p) { derive(p); p.DeriveFrom = nil }, "derive_from and derive_window"},
		"derive, no window":    {func(p p) { derive(p); p.DeriveWindow = 0 }, "derive_from and derive_window"},
		"nothing derived":      {func(p p) { p.DeriveFrom = []*snapshot.ContentSource{pointer("/a")} }, "derive_from and derive_window"},
		"key bytes":            {func(p p) { p.MaxKeyBytes = 1025 }, "max_key_bytes 1025"},
		"no scope":             {func(p p) { p.Scope = nil }, "scope has 0 members"},
		"scope of no template": {func(p p) { p.Scope[0] = &snapshot.KeyPart{Kind: &snapshot.KeyPart_PathParam{PathParam: "id"}} }, `scope[0]: path parameter "id" is in no template`},
		"scope of no provider": {func(p p) {
			p.Scope[0] = &snapshot.KeyPart{Kind: &snapshot.KeyPart_JwtClaim{JwtClaim: &snapshot.JWTClaim{Provider: "idp", Claim: "sub"}}}
		}, `scope[0]: JWT provider "idp" is not in the snapshot`},
		"no fingerprint":      {func(p p) { p.Fingerprint = nil }, "fingerprint has no parts"},
		"excluded, no body":   {func(p p) { p.Fingerprint.Body, p.Fingerprint.ExcludeJsonPointers = false, []string{"/a"} }, "without the body"},
		"excluded, no form":   {func(p p) { p.Fingerprint.ExcludeJsonPointers = []string{"a"} }, "fingerprint.exclude_json_pointers[0]"},
		"request bytes":       {func(p p) { p.MaxRequestBytes = math.MaxUint64 }, "max_request_bytes"},
		"response bytes":      {func(p p) { p.MaxResponseBytes = 0 }, "max_response_bytes 0"},
		"a status":            {func(p p) { p.ReleaseStatuses = []uint32{600} }, "release_statuses: 600"},
		"a denied header":     {func(p p) { p.DenyHeaders = []string{"A"} }, `deny_headers: "A"`},
		"a short lease":       {func(p p) { p.Lease = 99 }, "lease 99 ms"},
		"a lease above":       {func(p p) { p.Lease = p.Retention }, "lease 86400000 ms"},
		"a long retention":    {func(p p) { p.Retention = math.MaxUint64 }, "retention"},
		"a long wait":         {func(p p) { p.Wait = p.UpstreamTimeout + 1 }, "wait 60001 ms"},
		"no timeout":          {func(p p) { p.UpstreamTimeout = 0 }, "upstream_timeout 0 ms"},
		"a long late window":  {func(p p) { p.LateWindow = math.MaxUint64 / 2 }, "late_window"},
		"no guarantee":        {func(p p) { p.Guarantee = 0 }, "guarantee 0"},
		"AtMostOnce and Open": {func(p p) { p.FailurePolicy = snapshot.FailurePolicy_FAILURE_POLICY_OPEN }, "AtMostOnce forbids"},
		"a limit's failure":   {func(p p) { p.FailurePolicy = snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK }, "failure_policy 1"},
		"a match":             {func(p p) { p.Match = []*snapshot.Match{{}} }, "match[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			p := policy()
			tc.change(p)
			_, err := idempotency.Compile(p, idempotency.Env{Namespace: "shop", Ledger: nobody{}, Keys: &nskey.Ring{}})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

type headers [][2]string

func (h headers) Header(name string) (value []byte, count int) {
	for _, f := range h {
		if strings.EqualFold(f[0], name) {
			if count++; count == 1 {
				value = []byte(f[1])
			}
		}
	}
	return value, count
}

// TestNoMatchCostsNothing: requests that the policy does not match, and those that it
// never records, cost no allocation.
func TestNoMatchCostsNothing(t *testing.T) {
	p := policy()
	p.Match = []*snapshot.Match{{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{
		Path: &snapshot.PathMatch{Type: snapshot.PathMatch_TYPE_TEMPLATE, Value: "/pay/{id}"},
	}}}}
	f, err := idempotency.Compile(p, idempotency.Env{Namespace: "shop", Ledger: nobody{}, Keys: &nskey.Ring{}})
	if err != nil {
		t.Fatal(err)
	}
	var request exchange.Headers = headers{{"host", "a"}}
	for name, tc := range map[string]struct{ method, path []byte }{
		"not matched": {[]byte("POST"), []byte("/other")}, "a safe method": {[]byte("GET"), []byte("/pay/1")},
	} {
		x := &exchange.Exchange{}
		if n := testing.AllocsPerRun(100, func() {
			x.Reset()
			x.Method, x.Path, x.Request = tc.method, tc.path, request
			if f.Head(x) != exchange.Continue || x.Record {
				t.Fatal("not passed")
			}
			f.ResponseHead(x)
			f.End(x, exchange.Replied)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkNoMatch(b *testing.B) {
	p := policy()
	p.Match = []*snapshot.Match{{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{Methods: []string{"PATCH"}}}}}
	f, err := idempotency.Compile(p, idempotency.Env{Namespace: "shop", Ledger: nobody{}, Keys: &nskey.Ring{}})
	if err != nil {
		b.Fatal(err)
	}
	var request exchange.Headers = headers{}
	x, method, path := &exchange.Exchange{}, []byte("POST"), []byte("/pay")
	b.ReportAllocs()
	for b.Loop() {
		x.Reset()
		x.Method, x.Path, x.Request = method, path, request
		f.Head(x)
		f.End(x, exchange.Replied)
	}
}
