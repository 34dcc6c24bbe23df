// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"fmt"
	"strings"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/content"
	"weir.dev/weir/sidecar/filter/idempotency/ledger"
	"weir.dev/weir/sidecar/filter/key"
	"weir.dev/weir/sidecar/filter/match"
)

// Bounds of a policy, api.md, beside those of api/snapshot.
const (
	maxSources  = 4
	maxExclude  = 16
	maxStatuses = 32
	maxDeny     = 64

	minLease = 100 * time.Millisecond
	// lastStatus is the last that HTTP has.
	lastStatus = 599
)

// Filter enforces one policy. Immutable; safe for concurrent use.
type Filter struct {
	policy  string // <namespace>/<name>
	match   *match.Matcher
	sources []source
	derive  []source
	missing snapshot.OnMissingIdempotencyKey
	maxKey  int
	scope   []key.Part
	// claimed: the scope has a verified claim, and credentials are not compared.
	claimed bool

	method, path, query, body bool

	exclude []content.Pointer

	maxRequest    int
	passOversize  bool
	maxResponse   int
	timeout, late time.Duration
	release       [lastStatus + 1]bool
	denied        []string

	shadow bool
	open   bool
	// terms of requests with a key, of those with one that is derived, and of
	// deliveries.
	terms, derived, delivered ledger.Terms

	env Env
}

var (
	_ exchange.Filter    = (*Filter)(nil)
	_ exchange.Recorder  = (*Filter)(nil)
	_ exchange.Oversizer = (*Filter)(nil)
	_ exchange.Wonderer  = (*Filter)(nil)
)

// source is a place in a request: a header where header is not empty.
type source struct {
	header  string
	pointer content.Pointer
	text    string // of the pointer
}

func (s *source) String() string {
	if s.header != "" {
		return "the header " + s.header
	}
	return fmt.Sprintf("%q in a JSON body", s.text)
}

// Compile checks a policy and makes its filter. Errors name the field.
func Compile(p *snapshot.IdempotencyPolicy, env Env) (*Filter, error) {
	f := &Filter{policy: env.Namespace + "/" + p.GetName(), shadow: p.GetShadow(), missing: p.GetOnMissingKey(), env: env}
	var err error
	if f.match, err = match.Compile(p.GetMatch()); err != nil {
		return nil, err
	}
	if err := f.compileKey(p); err != nil {
		return nil, err
	}
	if n := len(p.GetScope()); n < 1 || n > key.MaxParts {
		return nil, fmt.Errorf("scope has %d members, 1 to %d are possible", n, key.MaxParts)
	}
	for i, part := range p.GetScope() {
		c, err := key.Compile(part, f.match, env.Tokens)
		if err != nil {
			return nil, fmt.Errorf("scope[%d]: %w", i, err)
		}
		f.claimed = f.claimed || c.Kind() == key.JWTClaim
		f.scope = append(f.scope, c)
	}
	if err := f.compileFingerprint(p.GetFingerprint()); err != nil {
		return nil, err
	}
	if err := f.compileResponse(p); err != nil {
		return nil, err
	}
	return f, f.compileTerms(p)
}

func (f *Filter) compileKey(p *snapshot.IdempotencyPolicy) error {
	derive := false
	switch f.missing {
	case snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_PASS, snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_REJECT:
	case snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_DERIVE:
		derive = true
	default:
		return fmt.Errorf("on_missing_key %d is unknown", f.missing)
	}
	var err error
	if f.sources, err = compileSources(p.GetKeySources()); err != nil {
		return fmt.Errorf("key_sources%w", err)
	}
	if f.derive, err = compileSources(p.GetDeriveFrom()); err != nil {
		return fmt.Errorf("derive_from%w", err)
	}
	switch n := p.GetMaxKeyBytes(); {
	case len(f.sources) == 0:
		return fmt.Errorf("key_sources has no entries")
	case derive != (len(f.derive) > 0) || derive != (p.GetDeriveWindow() > 0):
		return fmt.Errorf("derive_from and derive_window belong to a missing key that is derived, and to nothing else")
	case n < 1 || n > snapshot.MaxIdempotencyKey:
		return fmt.Errorf("max_key_bytes %d is not between 1 and %d", n, snapshot.MaxIdempotencyKey)
	default:
		f.maxKey = int(n)
	}
	return nil
}

// compileSources returns errors that begin with the entry.
func compileSources(list []*snapshot.ContentSource) ([]source, error) {
	if len(list) > maxSources {
		return nil, fmt.Errorf(" has %d entries, at most %d are possible", len(list), maxSources)
	}
	var out []source
	for i, s := range list {
		switch k := s.GetKind().(type) {
		case *snapshot.ContentSource_Header:
			if k.Header == "" || len(k.Header) > key.MaxString || k.Header != strings.ToLower(k.Header) {
				return nil, fmt.Errorf("[%d]: header name %q is empty, too long or not in lower case", i, k.Header)
			}
			out = append(out, source{header: k.Header})
		case *snapshot.ContentSource_JsonPointer:
			p, err := content.ParsePointer(k.JsonPointer)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			out = append(out, source{pointer: p, text: k.JsonPointer})
		default:
			return nil, fmt.Errorf("[%d] is of a kind that this sidecar does not know", i)
		}
	}
	return out, nil
}

func (f *Filter) compileFingerprint(fp *snapshot.Fingerprint) error {
	f.method, f.path, f.query, f.body = fp.GetMethod(), fp.GetPath(), fp.GetQuery(), fp.GetBody()
	list := fp.GetExcludeJsonPointers()
	switch {
	case !f.method && !f.path && !f.query && !f.body:
		return fmt.Errorf("fingerprint has no parts")
	case len(list) > maxExclude:
		return fmt.Errorf("fingerprint.exclude_json_pointers has %d entries, at most %d are possible", len(list), maxExclude)
	case len(list) > 0 && !f.body:
		return fmt.Errorf("fingerprint.exclude_json_pointers is set without the body")
	}
	for i, s := range list {
		p, err := content.ParsePointer(s)
		if err != nil {
			return fmt.Errorf("fingerprint.exclude_json_pointers[%d]: %w", i, err)
		}
		f.exclude = append(f.exclude, p)
	}
	return nil
}

func (f *Filter) compileResponse(p *snapshot.IdempotencyPolicy) error {
	if n := p.GetMaxRequestBytes(); n < 1 || n > snapshot.MaxRecordedRequest {
		return fmt.Errorf("max_request_bytes %d is not between 1 and %d", n, snapshot.MaxRecordedRequest)
	}
	if n := p.GetMaxResponseBytes(); n < 1 || n > snapshot.MaxRecordedResponse {
		return fmt.Errorf("max_response_bytes %d is not between 1 and %d", n, snapshot.MaxRecordedResponse)
	}
	f.maxRequest, f.maxResponse, f.passOversize = int(p.GetMaxRequestBytes()), int(p.GetMaxResponseBytes()), p.GetPassOversize()
	if len(p.GetReleaseStatuses()) > maxStatuses || len(p.GetDenyHeaders()) > maxDeny {
		return fmt.Errorf("there are %d release_statuses and %d deny_headers, at most %d and %d are possible",
			len(p.GetReleaseStatuses()), len(p.GetDenyHeaders()), maxStatuses, maxDeny)
	}
	for _, status := range p.GetReleaseStatuses() {
		if status < 200 || status > lastStatus {
			return fmt.Errorf("release_statuses: %d is no final status", status)
		}
		f.release[status] = true
	}
	for _, name := range p.GetDenyHeaders() {
		if name == "" || len(name) > key.MaxString || name != strings.ToLower(name) {
			return fmt.Errorf("deny_headers: %q is empty, too long or not in lower case", name)
		}
		f.denied = append(f.denied, name)
	}
	return nil
}

func (f *Filter) compileTerms(p *snapshot.IdempotencyPolicy) error {
	ms := func(n uint64) time.Duration { return time.Duration(n) * time.Millisecond }
	for _, b := range []struct {
		field    string
		value    uint64
		min, max time.Duration
	}{
		{"retention", p.GetRetention(), minLease, snapshot.MaxRetention},
		{"derive_window", p.GetDeriveWindow(), 0, snapshot.MaxRetention},
		{"lease", p.GetLease(), minLease, ms(p.GetRetention()) - time.Millisecond},
		{"upstream_timeout", p.GetUpstreamTimeout(), time.Millisecond, snapshot.MaxUpstream},
		{"late_window", p.GetLateWindow(), 0, snapshot.MaxUpstream},
		{"wait", p.GetWait(), 0, ms(p.GetUpstreamTimeout())},
	} {
		// Compared as they are: a large number is no Duration.
		if b.max < b.min || b.value < uint64(b.min.Milliseconds()) || b.value > uint64(b.max.Milliseconds()) {
			return fmt.Errorf("%s %d ms is not between %d and %d", b.field, b.value, b.min.Milliseconds(), b.max.Milliseconds())
		}
	}
	f.timeout, f.late = ms(p.GetUpstreamTimeout()), ms(p.GetLateWindow())
	f.terms = ledger.Terms{
		Shadow: f.shadow, WarnMismatch: p.GetFingerprint().GetWarn(),
		Lease: ms(p.GetLease()), Wait: ms(p.GetWait()), Retention: ms(p.GetRetention()),
	}
	switch p.GetGuarantee() {
	case snapshot.Guarantee_GUARANTEE_AT_MOST_ONCE:
	case snapshot.Guarantee_GUARANTEE_AT_LEAST_ONCE:
		f.terms.AtLeastOnce = true
	default:
		return fmt.Errorf("guarantee %d is unknown", p.GetGuarantee())
	}
	switch p.GetFailurePolicy() {
	case snapshot.FailurePolicy_FAILURE_POLICY_CLOSED:
	case snapshot.FailurePolicy_FAILURE_POLICY_OPEN:
		if f.open = true; !f.terms.AtLeastOnce {
			return fmt.Errorf("failure_policy Open lets requests pass twice, which AtMostOnce forbids")
		}
	default:
		return fmt.Errorf("failure_policy %d is none of an IdempotencyPolicy", p.GetFailurePolicy())
	}
	if f.shadow {
		f.terms.Wait, f.terms.WarnMismatch = 0, false
	}
	if f.env.Sealer != nil {
		f.terms.Sealer = f.env.Sealer
	}
	f.derived, f.delivered = f.terms, f.terms
	// A record outlives the lease of its claim, however short the window is.
	f.derived.Retention = max(ms(p.GetDeriveWindow()), f.terms.Lease+time.Millisecond)
	f.delivered.AtLeastOnce = true
	return nil
}
