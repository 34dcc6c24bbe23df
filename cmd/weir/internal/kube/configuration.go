// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

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
	var policies v1alpha1.RateLimitPolicyList
	if err := c.List(ctx, &policies); err != nil {
		if apierrors.IsForbidden(err) {
			return checkConfig(cfg, nil), nil
		}
		return nil, err
	}
	return checkConfig(cfg, policies.Items), nil
}

func checkConfig(cfg config.Config, policies []v1alpha1.RateLimitPolicy) []finding.Finding {
	var all []finding.Finding
	if cfg.DevBackends.Enabled {
		all = append(all, finding.New(finding.DevBackendsEnabled, "configuration", "devBackends.enabled is true."))
	}
	users := map[string][]string{}
	for i := range policies {
		p := &policies[i]
		store := string(p.Spec.StoreRef.Name)
		s, known := cfg.Store(store)
		if !known || s.NamespaceCredentials[p.Namespace] != "" || slices.Contains(users[store], p.Namespace) {
			continue
		}
		users[store] = append(users[store], p.Namespace)
	}
	for _, s := range cfg.Stores {
		if n := users[s.Name]; len(n) > 1 {
			slices.Sort(n)
			all = append(all, finding.New(finding.NamespacesTrust, "store/"+s.Name,
				"The namespaces %s use this store with the same credentials: a sidecar of one can change the counters of the others.", strings.Join(n, ", ")))
		}
	}
	return all
}
