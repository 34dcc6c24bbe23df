// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

// Validate checks order, references and enumerations. The error names the message
// at fault.
func Validate(s *Snapshot) error {
	w := s.GetWorkload()
	switch {
	case w.GetCluster() == "":
		return fmt.Errorf("workload.cluster is empty")
	case w.GetNamespace() == "":
		return fmt.Errorf("workload.namespace is empty")
	}
	if err := ValidateProxy(s.GetProxy()); err != nil {
		return fmt.Errorf("proxy.%w", err)
	}
	if err := ValidateTelemetry(s.GetTelemetry()); err != nil {
		return fmt.Errorf("telemetry.%w", err)
	}
	if err := ValidateJWTProviders(s.GetJwtProviders()); err != nil {
		return err
	}
	stores := names(s.GetStores())
	if err := ordered("stores", stores); err != nil {
		return err
	}
	if err := validatePolicies(s, stores); err != nil {
		return err
	}
	var last uint32
	for _, p := range s.GetPorts() {
		if p.GetNumber() <= last {
			return fmt.Errorf("ports: %d is not above %d", p.GetNumber(), last)
		}
		last = p.GetNumber()
		if err := validatePort(p, s); err != nil {
			return fmt.Errorf("ports[%d]: %w", p.GetNumber(), err)
		}
	}
	return nil
}

func validatePolicies(s *Snapshot, stores []string) error {
	if err := ordered("rate_limit_policies", names(s.GetRateLimitPolicies())); err != nil {
		return err
	}
	if err := ordered("idempotency_policies", names(s.GetIdempotencyPolicies())); err != nil {
		return err
	}
	for p := range Policies(s) {
		field := "rate_limit_policies"
		var err error
		switch p := p.(type) {
		case *RateLimitPolicy:
			err = validatePolicy(p, stores)
		case *IdempotencyPolicy:
			field = "idempotency_policies"
			err = validateIdempotency(p, stores)
		}
		if err == nil && NeedsNamespaceKey(p) && s.GetNamespaceKeyVersion() == "" {
			err = fmt.Errorf("namespace_key_version is empty")
		}
		for name := range JWTClaims(p) {
			if err == nil && !slices.Contains(names(s.GetJwtProviders()), name) {
				err = fmt.Errorf("provider %q is not in the snapshot", name)
			}
		}
		if err != nil {
			return fmt.Errorf("%s[%s]: %w", field, p.GetName(), err)
		}
	}
	return nil
}

func validatePort(p *Port, s *Snapshot) error {
	switch {
	case p.GetNumber() > 65535:
		return fmt.Errorf("the number is above 65535")
	case p.GetProtocol() == Protocol_PROTOCOL_UNSPECIFIED || Protocol_name[int32(p.GetProtocol())] == "":
		return fmt.Errorf("protocol %d is unknown", p.GetProtocol())
	}
	for _, id := range Governing(p) {
		switch {
		case Find(s, id) == nil:
			return fmt.Errorf("policy %q is not in the snapshot", id.Name)
		case p.GetProtocol() == Protocol_PROTOCOL_OPAQUE:
			return fmt.Errorf("an opaque port has policy %q", id.Name)
		}
	}
	for field, list := range map[string][]string{
		"names":                     p.GetNames(),
		"identity.trusted_proxies":  p.GetIdentity().GetTrustedProxies(),
		"identity.identity_headers": p.GetIdentity().GetIdentityHeaders(),
	} {
		if err := ordered(field, list); err != nil {
			return err
		}
	}
	if m := p.GetTranscoding(); m != nil {
		switch n := proto.Size(m); {
		case p.GetProtocol() != Protocol_PROTOCOL_HTTP:
			return fmt.Errorf("transcoding comes with protocol %d, which is not HTTP", p.GetProtocol())
		case n > MaxTranscoding:
			return fmt.Errorf("transcoding has %d bytes, at most %d are possible", n, MaxTranscoding)
		}
	}
	return ValidateTimeouts(p)
}

func validatePolicy(p *RateLimitPolicy, stores []string) error {
	limits := names(p.GetLimits())
	switch {
	case p.GetFailurePolicy() == FailurePolicy_FAILURE_POLICY_UNSPECIFIED:
		return fmt.Errorf("failure_policy is not set")
	case p.GetHeaders() == HeaderStyle_HEADER_STYLE_UNSPECIFIED:
		return fmt.Errorf("headers is not set")
	case len(limits) == 0:
		return fmt.Errorf("there is no limit")
	case p.GetStore() != "" && !slices.Contains(stores, p.GetStore()):
		return fmt.Errorf("store %q is not in the snapshot", p.GetStore())
	}
	if err := ordered("limits", limits); err != nil {
		return err
	}
	if err := validateThriftAnswers(p.GetThrift()); err != nil {
		return fmt.Errorf("thrift.%w", err)
	}
	for i, e := range p.GetExempt() {
		if e.GetKind() == nil {
			return fmt.Errorf("exempt[%d] is empty", i)
		}
	}
	for _, l := range p.GetLimits() {
		if l.GetScope() == Scope_SCOPE_CLUSTER && p.GetStore() == "" {
			return fmt.Errorf("limits[%s]: scope is Cluster without a store", l.GetName())
		}
		if err := validateLimit(l); err != nil {
			return fmt.Errorf("limits[%s]: %w", l.GetName(), err)
		}
	}
	return nil
}

func validateLimit(l *Limit) error {
	switch {
	case l.GetLimit() == 0:
		return fmt.Errorf("limit is 0")
	case l.GetAlgorithm() == Algorithm_ALGORITHM_CONCURRENCY && l.GetWindowSeconds() != 0:
		return fmt.Errorf("window_seconds is %d with algorithm %s", l.GetWindowSeconds(), l.GetAlgorithm())
	case l.GetCalendar() == nil && l.GetWindowSeconds() == 0 && l.GetAlgorithm() != Algorithm_ALGORITHM_CONCURRENCY:
		return fmt.Errorf("window_seconds is 0")
	case l.GetCalendar() != nil && (l.GetWindowSeconds() != 0 || l.GetAlgorithm() != Algorithm_ALGORITHM_FIXED_WINDOW):
		return fmt.Errorf("calendar is set with window_seconds %d and algorithm %s", l.GetWindowSeconds(), l.GetAlgorithm())
	case l.GetAlgorithm() == Algorithm_ALGORITHM_UNSPECIFIED:
		return fmt.Errorf("algorithm is not set")
	case (l.GetBurst() > 0) != (l.GetAlgorithm() == Algorithm_ALGORITHM_TOKEN_BUCKET):
		return fmt.Errorf("burst is %d with algorithm %s", l.GetBurst(), l.GetAlgorithm())
	case l.GetLeased() && (l.GetAlgorithm() != Algorithm_ALGORITHM_TOKEN_BUCKET || l.GetScope() != Scope_SCOPE_CLUSTER || l.GetPenalty() != nil):
		return fmt.Errorf("leased is set, which only a TokenBucket of scope Cluster without penalty can be")
	case l.GetScope() == Scope_SCOPE_UNSPECIFIED:
		return fmt.Errorf("scope is not set")
	case l.GetOnMissingKey() == OnMissingKey_ON_MISSING_KEY_UNSPECIFIED:
		return fmt.Errorf("on_missing_key is not set")
	}
	if err := validateKey("key", l.GetKey()); err != nil {
		return err
	}
	var last []string
	for i, o := range l.GetOverrides() {
		switch {
		case len(o.GetKey()) != len(l.GetKey()) || len(o.GetKey()) == 0:
			return fmt.Errorf("overrides[%d] has %d values for a key of %d", i, len(o.GetKey()), len(l.GetKey()))
		case i > 0 && slices.Compare(last, o.GetKey()) >= 0:
			return fmt.Errorf("overrides: %q follows %q", o.GetKey(), last)
		case (o.GetBurst() > 0) != (o.GetLimit() > 0 && l.GetAlgorithm() == Algorithm_ALGORITHM_TOKEN_BUCKET):
			return fmt.Errorf("overrides[%d]: burst is %d with limit %d and algorithm %s", i, o.GetBurst(), o.GetLimit(), l.GetAlgorithm())
		}
		last = o.GetKey()
	}
	return validateMatches(l.GetMatch())
}

func validateKey(field string, parts []*KeyPart) error {
	for i, k := range parts {
		if k.GetKind() == nil {
			return fmt.Errorf("%s[%d] is empty", field, i)
		}
		for _, h := range []string{k.GetHeader(), k.GetThriftHeader()} {
			if h != strings.ToLower(h) {
				return fmt.Errorf("%s[%d]: header %q is not in lower case", field, i, h)
			}
		}
		if f, ok := k.GetKind().(*KeyPart_ThriftField); ok {
			if _, err := FieldPath(f.ThriftField); err != nil {
				return fmt.Errorf("%s[%d]: %w", field, i, err)
			}
		}
	}
	return nil
}

func validateMatches(list []*Match) error {
	for i, m := range list {
		if err := validateMatch(m); err != nil {
			return fmt.Errorf("match[%d]: %w", i, err)
		}
	}
	return nil
}

func validateMatch(m *Match) error {
	if t := m.GetThrift(); t != nil {
		return ordered("methods", t.GetMethods())
	}
	h := m.GetHttp()
	if h == nil {
		return fmt.Errorf("it has no kind")
	}
	if h.GetPath() != nil && h.GetPath().GetType() == PathMatch_TYPE_UNSPECIFIED {
		return fmt.Errorf("path.type is not set")
	}
	if err := ordered("methods", h.GetMethods()); err != nil {
		return err
	}
	if err := ordered("headers", names(h.GetHeaders())); err != nil {
		return err
	}
	for _, f := range h.GetHeaders() {
		if f.GetName() != strings.ToLower(f.GetName()) {
			return fmt.Errorf("header %q is not in lower case", f.GetName())
		}
	}
	return nil
}

func names[T interface{ GetName() string }](list []T) []string {
	out := make([]string, 0, len(list))
	for _, x := range list {
		out = append(out, x.GetName())
	}
	return out
}

// ordered refuses a list that is not sorted, has a name twice or an empty one.
func ordered(field string, list []string) error {
	for i, s := range list {
		switch {
		case s == "":
			return fmt.Errorf("%s[%d] is empty", field, i)
		case i > 0 && list[i-1] >= s:
			return fmt.Errorf("%s: %q follows %q", field, s, list[i-1])
		}
	}
	return nil
}
