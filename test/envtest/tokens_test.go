// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/config"
)

// tokenKeys is a jwks.Keeper whose providers answer when the test says so.
type tokenKeys struct {
	changed chan struct{}
	tried   chan struct{}

	mu  sync.Mutex
	now map[string][]*snapshot.JWTKey
}

func (k *tokenKeys) Keys() map[string][]*snapshot.JWTKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.now)
}

func (k *tokenKeys) Changed() <-chan struct{} { return k.changed }

func (k *tokenKeys) Tried() <-chan struct{} { return k.tried }

func (k *tokenKeys) learn(provider string, ids ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var keys []*snapshot.JWTKey
	for _, id := range ids {
		keys = append(keys, &snapshot.JWTKey{Kid: id, Alg: "EdDSA", Der: []byte(id)})
	}
	k.now = map[string][]*snapshot.JWTKey{provider: keys}
	k.changed <- struct{}{}
}

// Keys that come, and others in their place, reach sidecars and end the warning, without
// an edit of the policy.
func TestKeysOfTokens(t *testing.T) {
	t.Parallel()
	settings := config.Default()
	settings.JWTProviders = []config.JWTProvider{{Name: "idp", Issuer: "https://idp.example", JWKS: config.JWKS{URL: "https://idp.example/keys"}}}
	c := newCluster(t, settings)
	keys := &tokenKeys{changed: make(chan struct{}, 1), tried: make(chan struct{})}
	close(keys.tried)
	c.tokens = keys
	r := c.alone()
	ns := c.namespace
	newService(t, ns)
	s := c.connect(r, newPod(t, ns, "p1", true), []string{stream.FeatureRateLimit, stream.FeatureJWT}, nil)
	p := limitPolicy(ns, "payments")
	p.Spec.Limits[0].Key = []v1alpha1.KeyMember{{JWTClaim: &v1alpha1.JWTClaimKey{Provider: "idp", Claim: "sub"}}}
	create(t, p)
	wantCondition(t, p, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "Warning: JWT provider idp has no keys yet")
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	for _, ids := range [][]string{{"a"}, {"a", "b"}, {"b"}} {
		keys.learn("idp", ids...)
		eventually(t, fmt.Sprintf("keys %v do not reach the sidecar", ids), func() error {
			s.mu.Lock()
			defer s.mu.Unlock()
			var got []string
			for _, provider := range s.serving.GetSnapshot().GetJwtProviders() {
				for _, key := range provider.GetKeys() {
					got = append(got, key.GetKid())
				}
			}
			if strings.Join(got, " ") != strings.Join(ids, " ") {
				return fmt.Errorf("it has %v", got)
			}
			return nil
		})
	}
	eventually(t, "the warning stays", func() error {
		if err := server.client.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		accepted := meta.FindStatusCondition(p.Status.Conditions, string(v1alpha1.ConditionAccepted))
		if accepted == nil || strings.Contains(accepted.Message, "no keys yet") {
			return fmt.Errorf("%+v", accepted)
		}
		return nil
	})
}
