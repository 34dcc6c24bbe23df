// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"testing"
)

// The chart's rate limit service decides as Envoy asks it, by the policies of all
// namespaces and as they are edited, for pods that have no sidecar.
func TestRateLimitServiceOfGateways(t *testing.T) {
	ns := namespace(t, "e2e-gateway")
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 1, port: 8080, targetPort: "8080"})
	apply(t, ns, policy("payments", "shop", 3, ""))
	const service = "weir-rls." + systemNamespace + ":8081"
	rolledOut(t, systemNamespace, "deployment/weir-rls")
	reached(t, ns, service)

	type answer struct{ Code, Limit, Error string }
	allows := func(limit int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d of %d pass", limit, limit+2), func() error {
			all := rpc[answer](t, ns, "limit", "-n", fmt.Sprint(limit+2), "-d", "header:x-client-id="+unique(t), ns+"/shop/http", service)
			for i, r := range all {
				want := map[bool]string{true: "OK", false: "OVER_LIMIT"}[i < limit]
				if r.Code != "OK" || r.Limit != want {
					return fmt.Errorf("answer %d: %+v, want %s", i, r, want)
				}
			}
			return nil
		})
	}
	allows(3)
	apply(t, ns, policy("payments", "shop", 6, ""))
	allows(6)
	if all := rpc[answer](t, ns, "limit", ns+"/nobody/http", service); all[0].Limit != "OK" {
		t.Errorf("a domain that nothing governs: %+v, want OK", all[0])
	}
}
