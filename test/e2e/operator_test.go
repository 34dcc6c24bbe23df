// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A rolling update of the operator, while traffic flows and a policy is edited,
// fails no request and loses no edit; nor does the death of the leader.
func TestOperatorRestartUnderLoad(t *testing.T) {
	ns := namespace(t, "e2e-operator", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 2, port: 8080, targetPort: "8080"})
	apply(t, ns, policy("payments", "shop", 900000, ""))
	waitProgrammed(t, ns, "payments")

	done := load(t, ns, "http://shop/")
	kubectl(t, "rollout", "restart", "-n", systemNamespace, "deployment/weir-operator")
	edit := 0
	eventually(t, "the operator's rollout", func() error {
		edit++
		apply(t, ns, policy("payments", "shop", 900000+edit, ""))
		out := kubectl(t, "rollout", "status", "-n", systemNamespace, "deployment/weir-operator", "--watch=false")
		if !strings.Contains(out, "successfully rolled out") {
			return errors.New(out)
		}
		return nil
	})
	done()
	eventually(t, "status of the last edit", func() error { return programmedNow(t, ns, "payments") })

	kubectl(t, "delete", "pod", "-n", systemNamespace, "--wait=false", leader(t))
	apply(t, ns, policy("payments", "shop", 4, ""))
	eventually(t, "status of an edit while the leader goes", func() error { return programmedNow(t, ns, "payments") })
	limited(t, ns, "shop", 4)
	rolledOut(t, systemNamespace, "deployment/weir-operator")
	eventually(t, "a status that counts all", func() error { return rollout(t, ns, "payments", 2, 2, 0) })
}

// leader is the pod that holds the operator's Lease.
func leader(t *testing.T) string {
	t.Helper()
	var found string
	eventually(t, "a leader", func() error {
		holder := kubectl(t, "get", "lease", "weir-operator", "-n", systemNamespace, "-o", "jsonpath={.spec.holderIdentity}")
		for _, pod := range strings.Fields(kubectl(t, "get", "pods", "-n", systemNamespace, "-l", "app.kubernetes.io/component=operator",
			"-o", `jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}`)) {
			if strings.Contains(holder, pod) {
				found = pod
				return nil
			}
		}
		return fmt.Errorf("%q is none of the operator's pods", holder)
	})
	return found
}
