// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/config"
)

// What the API server takes and the compiler has something to say about reaches the
// status, at the generation that it is about.
func TestVerdictsOfLimits(t *testing.T) {
	t.Parallel()
	settings := config.Default()
	settings.Stores = []config.Store{{
		Name: "default", KeyPrefix: "weir", AllowedNamespaces: config.AllowedNamespaces{From: config.FromAll},
		Redis: &config.Redis{Mode: config.RedisStandalone, Addresses: []string{"redis:6379"}},
	}}
	settings.JWTProviders = []config.JWTProvider{{Name: "idp", Issuer: "https://idp.example", JWKS: config.JWKS{URL: "https://idp.example/keys"}}}
	c := newCluster(t, settings)
	r := c.alone()
	ns := c.namespace
	newService(t, ns)
	able := []string{stream.FeatureRateLimit, stream.FeatureRateLimit2, stream.FeatureJWT}
	s := c.connect(r, newPod(t, ns, "p1", true), able, nil)
	claim := func(provider string) []v1alpha1.KeyMember {
		return []v1alpha1.KeyMember{{JWTClaim: &v1alpha1.JWTClaimKey{Provider: v1alpha1.ObjectName(provider), Claim: "sub"}}}
	}
	header := []v1alpha1.KeyMember{{Header: "X-Tenant"}}
	const yes, no = metav1.ConditionTrue, metav1.ConditionFalse
	p := limitPolicy(ns, "payments")
	create(t, p)
	wantCondition(t, p, v1alpha1.ConditionAccepted, yes, v1alpha1.ReasonAccepted)
	first := p.Spec
	for name, test := range map[string]struct {
		change func(s *v1alpha1.RateLimitPolicySpec, l *v1alpha1.Limit)
		status metav1.ConditionStatus
		reason v1alpha1.ConditionReason
		words  []string
	}{
		"unknown provider": {
			func(_ *v1alpha1.RateLimitPolicySpec, l *v1alpha1.Limit) { l.Key = claim("nobody") },
			no, v1alpha1.ReasonInvalid,
			[]string{"spec.limits[0].key[0].jwtClaim.provider: ", `no JWT provider "nobody"; it has idp`},
		},
		"provider without keys": {
			func(_ *v1alpha1.RateLimitPolicySpec, l *v1alpha1.Limit) { l.Key = claim("idp") },
			yes, v1alpha1.ReasonAccepted,
			[]string{"Warning: JWT provider idp has no keys yet"},
		},
		"a key that clients choose": {
			func(_ *v1alpha1.RateLimitPolicySpec, l *v1alpha1.Limit) { l.Key = header },
			yes, v1alpha1.ReasonAccepted,
			[]string{"Warning: Any client of payments can choose the value of x-tenant, which spec.limits[0].key[0].header counts by"},
		},
		"an exemption that clients choose": {
			func(s *v1alpha1.RateLimitPolicySpec, _ *v1alpha1.Limit) {
				s.Exempt = []v1alpha1.Exemption{{Header: &v1alpha1.HeaderMatch{Name: "X-Probe", Value: "1"}}}
			},
			yes, v1alpha1.ReasonAccepted,
			[]string{"Warning: spec.exempt[0].header has no effect at payments"},
		},
		"no such time zone": {
			func(_ *v1alpha1.RateLimitPolicySpec, l *v1alpha1.Limit) {
				l.Algorithm, l.Window = v1alpha1.AlgorithmFixedWindow, ""
				l.Calendar = &v1alpha1.Calendar{Period: v1alpha1.CalendarDay, TimeZone: "Europe/Nowhere"}
			},
			no, v1alpha1.ReasonInvalid,
			[]string{"spec.limits[0].calendar.timeZone: "},
		},
		"a request that costs more than an override": {
			func(_ *v1alpha1.RateLimitPolicySpec, l *v1alpha1.Limit) {
				l.Key, l.Cost = header, &v1alpha1.Cost{Request: new(int32(4))}
				l.Overrides = []v1alpha1.Override{{Key: []v1alpha1.KeyValue{"poor"}, Limit: new(int64(3))}}
			},
			no, v1alpha1.ReasonInvalid,
			[]string{"spec.limits[0].overrides[0].limit: "},
		},
		"an override of no address": {
			func(_ *v1alpha1.RateLimitPolicySpec, l *v1alpha1.Limit) {
				l.Key = []v1alpha1.KeyMember{{ClientIP: &v1alpha1.ClientIPKey{}}}
				l.Overrides = []v1alpha1.Override{{Key: []v1alpha1.KeyValue{"gold"}, Limit: new(int64(10))}}
			},
			no, v1alpha1.ReasonInvalid,
			[]string{"spec.limits[0].overrides[0].key[0]: "},
		},
		"a parameter of no template": {
			func(_ *v1alpha1.RateLimitPolicySpec, l *v1alpha1.Limit) {
				l.Key = []v1alpha1.KeyMember{{PathParam: "user"}}
			},
			no, v1alpha1.ReasonInvalid,
			[]string{"spec.limits[0].key[0]", "{user}"},
		},
		"two overrides of a key": {
			func(_ *v1alpha1.RateLimitPolicySpec, l *v1alpha1.Limit) {
				l.Key = header
				one := v1alpha1.Override{Key: []v1alpha1.KeyValue{"gold"}, Limit: new(int64(10))}
				l.Overrides = []v1alpha1.Override{one, one}
			},
			no, v1alpha1.ReasonInvalid,
			[]string{"has two overrides"},
		},
		"a Service that is not there": {
			func(s *v1alpha1.RateLimitPolicySpec, _ *v1alpha1.Limit) {
				s.TargetRefs = append(s.TargetRefs, v1alpha1.TargetRef{Kind: "Service", Name: "refunds"})
			},
			yes, v1alpha1.ReasonPartiallyAccepted,
			[]string{"no Service refunds"},
		},
		"a port that is not there": {
			func(s *v1alpha1.RateLimitPolicySpec, _ *v1alpha1.Limit) { s.TargetRefs[0].SectionName = "admin" },
			no, v1alpha1.ReasonTargetNotFound,
			[]string{"admin"},
		},
		"a key of Thrift": {
			func(_ *v1alpha1.RateLimitPolicySpec, l *v1alpha1.Limit) {
				l.Key = []v1alpha1.KeyMember{{ThriftHeader: "x-tenant"}}
			},
			no, v1alpha1.ReasonInvalid,
			[]string{"speaks HTTP/1.1, and RateLimitPolicy/"},
		},
	} {
		edit(t, p, func(s *v1alpha1.RateLimitPolicySpec) {
			first.DeepCopyInto(s)
			test.change(s, &s.Limits[0])
		})
		t.Log(name)
		got := wantCondition(t, p, v1alpha1.ConditionAccepted, test.status, test.reason, test.words...)
		if at := got.Status.Targets; test.reason != v1alpha1.ReasonPartiallyAccepted {
			if len(at) != 1 {
				t.Errorf("%d targets, want one", len(at))
			} else if err := hasCondition(at[0].Conditions, got.Generation, v1alpha1.ConditionAccepted, test.status, test.reason); err != nil {
				t.Errorf("target: %v", err)
			}
		}
		// What is accepted, if in part, is programmed.
		if test.status == yes {
			wantCondition(t, p, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
		}
	}
	edit(t, p, func(s *v1alpha1.RateLimitPolicySpec) { first.DeepCopyInto(s) })
	got := wantCondition(t, p, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
	for _, c := range got.Status.Conditions {
		if strings.Contains(c.Message, "Warning") {
			t.Errorf("a warning has stayed: %s", c.Message)
		}
	}
	if err := s.governs(fmt.Sprintf("payments@%d", got.Generation)); err != nil {
		t.Error(err)
	}
}
