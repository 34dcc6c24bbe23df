// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/config"
)

// TestJWTClaims: which provider a key names, and whether its keys are known.
func TestJWTClaims(t *testing.T) {
	keys := []*snapshot.JWTKey{{Kid: "a", Der: []byte("x")}}
	for name, tc := range map[string]struct {
		providers []string
		keys      map[string][]*snapshot.JWTKey
		reason    v1alpha1.ConditionReason
		message   string
	}{
		"known":       {[]string{"idp", "other"}, map[string][]*snapshot.JWTKey{"idp": keys, "other": keys}, v1alpha1.ReasonAccepted, AcceptedMessage},
		"no keys yet": {[]string{"idp"}, nil, v1alpha1.ReasonAccepted, "Warning: JWT provider idp has no keys yet"},
		"unknown":     {[]string{"b", "a"}, nil, v1alpha1.ReasonInvalid, `spec.limits[0].key[0].jwtClaim.provider: The operator's configuration has no JWT provider "idp"; it has a and b.`},
		"none":        {nil, nil, v1alpha1.ReasonInvalid, "it has none."},
	} {
		t.Run(name, func(t *testing.T) {
			in := Input{Cluster: "c", Namespace: "shop", Config: config.Default(), JWTKeys: tc.keys}
			for _, p := range tc.providers {
				in.Config.JWTProviders = append(in.Config.JWTProviders, config.JWTProvider{Name: p, Issuer: "https://" + p, Audiences: []string{"z", "a", "z"}})
			}
			in.Services = []corev1.Service{{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"},
				Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}}
			in.Pods = []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "shop", Labels: map[string]string{"app": "web"}}}}
			in.RateLimitPolicies = []v1alpha1.RateLimitPolicy{{
				ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "shop"},
				Spec: v1alpha1.RateLimitPolicySpec{
					TargetRefs: []v1alpha1.TargetRef{{Name: "web"}},
					Limits: []v1alpha1.Limit{{Name: "a", Limit: 1, Window: "1s", Scope: v1alpha1.LimitScopePod,
						Key: []v1alpha1.KeyMember{{JWTClaim: &v1alpha1.JWTClaimKey{Provider: "idp", Claim: "sub"}}}}},
				},
			}}
			out := Compile(in)
			if v := out.Verdicts[0]; v.Reason != tc.reason || !strings.Contains(v.Message, tc.message) {
				t.Errorf("got %s: %s", v.Reason, v.Message)
			}
			if tc.reason != v1alpha1.ReasonAccepted {
				return
			}
			s := out.Workloads[0].Snapshot
			if err := snapshot.Validate(s); err != nil {
				t.Error(err)
			}
			if p := s.GetJwtProviders(); len(p) != 1 || p[0].GetName() != "idp" || len(p[0].GetAudiences()) != 2 || len(p[0].GetKeys()) != len(tc.keys["idp"]) {
				t.Errorf("got %v", p)
			}
		})
	}
}
