// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/cmd/weir/internal/finding"
	"weir.dev/weir/controllers/config"
)

// The operator's configuration, as the chart writes it.
const (
	configMapName = "weir-config"
	configKey     = "config.yaml"
)

// CheckConfiguration looks at what the operator's configuration means for the
// namespaces that use it. Who may not read it gets no findings about it.
func (c *Cluster) CheckConfiguration(ctx context.Context) ([]finding.Finding, error) {
	cfg, known, err := c.configuration(ctx)
	if err != nil || !known {
		return nil, err
	}
	var limits v1alpha1.RateLimitPolicyList
	var idempotency v1alpha1.IdempotencyPolicyList
	for _, l := range []client.ObjectList{&limits, &idempotency} {
		if err := c.List(ctx, l); err != nil {
			if apierrors.IsForbidden(err) {
				return checkConfig(cfg, nil, nil), nil
			}
			return nil, err
		}
	}
	return checkConfig(cfg, limits.Items, idempotency.Items), nil
}

func checkConfig(cfg config.Config, limits []v1alpha1.RateLimitPolicy, idempotency []v1alpha1.IdempotencyPolicy) []finding.Finding {
	var all []finding.Finding
	if cfg.DevBackends.Enabled {
		all = append(all, finding.New(finding.DevBackendsEnabled, "configuration", "devBackends.enabled is true."))
	}
	users, recorded := map[string][]string{}, map[string]bool{}
	uses := func(ref v1alpha1.StoreRef, ns string) string {
		store := string(ref.Name)
		s, known := cfg.Store(store)
		if !known || s.NamespaceCredentials[ns] != "" {
			return ""
		}
		if !slices.Contains(users[store], ns) {
			users[store] = append(users[store], ns)
		}
		return store
	}
	for i := range limits {
		uses(limits[i].Spec.StoreRef, limits[i].Namespace)
	}
	for i := range idempotency {
		recorded[uses(idempotency[i].Spec.StoreRef, idempotency[i].Namespace)] = true
	}
	for _, s := range cfg.Stores {
		if n := users[s.Name]; len(n) > 1 {
			slices.Sort(n)
			can := "change the counters of the others"
			if recorded[s.Name] {
				can += ", and read and remove the answers that they have recorded"
			}
			all = append(all, finding.New(finding.NamespacesTrust, "store/"+s.Name,
				"The namespaces %s use this store with the same credentials: a sidecar of one can %s.", strings.Join(n, ", "), can))
		}
	}
	return all
}
