// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/cmd/weir/internal/finding"
	"weir.dev/weir/controllers/config"
)

func TestCheckConfig(t *testing.T) {
	policy := func(namespace, store string) v1alpha1.RateLimitPolicy {
		var p v1alpha1.RateLimitPolicy
		p.Namespace = namespace
		p.Spec.StoreRef.Name = v1alpha1.ObjectName(store)
		return p
	}
	record := func(namespace string) v1alpha1.IdempotencyPolicy {
		var p v1alpha1.IdempotencyPolicy
		p.Namespace = namespace
		p.Spec.StoreRef.Name = "default"
		return p
	}
	store := func(credentials map[string]string) config.Config {
		return config.Config{Stores: []config.Store{{Name: "default", NamespaceCredentials: credentials}}}
	}
	dev := store(nil)
	dev.DevBackends.Enabled = true
	for name, test := range map[string]struct {
		cfg      config.Config
		policies []v1alpha1.RateLimitPolicy
		want     []finding.Code
		records  []v1alpha1.IdempotencyPolicy
	}{
		"one namespace":      {store(nil), []v1alpha1.RateLimitPolicy{policy("a", "default"), policy("a", "default")}, nil, nil},
		"two namespaces":     {store(nil), []v1alpha1.RateLimitPolicy{policy("a", "default"), policy("b", "default")}, []finding.Code{finding.NamespacesTrust}, nil},
		"credentials apart":  {store(map[string]string{"b": "secret-b"}), []v1alpha1.RateLimitPolicy{policy("a", "default"), policy("b", "default")}, nil, nil},
		"another store":      {store(nil), []v1alpha1.RateLimitPolicy{policy("a", "default"), policy("b", "nobody")}, nil, nil},
		"records of another": {store(nil), []v1alpha1.RateLimitPolicy{policy("a", "default")}, []finding.Code{finding.NamespacesTrust}, []v1alpha1.IdempotencyPolicy{record("b")}},
		"backends of trials": {dev, nil, []finding.Code{finding.DevBackendsEnabled}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []finding.Code
			for _, f := range checkConfig(test.cfg, test.policies, test.records) {
				got = append(got, f.Code)
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
