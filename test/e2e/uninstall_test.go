// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Upgrade, uninstall and install again, with an injected app that goes on all
// the while. It is in the last file, so that the others have run.
func TestUpgradeUninstallReinstall(t *testing.T) {
	ns := namespace(t, "e2e-zz-release", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 1, port: 8080, targetPort: "8080"})
	// Payments are limited, and what clientIDSeen asks is not.
	apply(t, ns, strings.Replace(policy("payments", "shop", 5, ""), "key:", "match: [{http: {methods: [POST]}}]\n    key:", 1))
	waitProgrammed(t, ns, "payments")
	values := filepath.Join(t.TempDir(), "values.json")
	if err := os.WriteFile(values, []byte(helm(t, "get", "values", "weir", "-n", systemNamespace, "-o", "json")), 0o600); err != nil {
		t.Fatal(err)
	}
	install := func(more ...string) {
		helm(t, append([]string{"upgrade", "--install", "weir", "../../charts/weir", "-n", systemNamespace, "--create-namespace",
			"--wait", "--timeout", "3m", "-f", values}, more...)...)
		operatorAnswers(t, ns)
	}
	installed := true
	t.Cleanup(func() {
		if !installed {
			install()
		}
	})

	before := restarts(t, ns)
	bundle := caBundle(t)
	install("--set", "identity.identityHeaders={X-Client-Id}")
	eventually(t, "the new configuration in the pod that ran before", func() error {
		// The sidecar takes the header from whoever is no trusted proxy.
		if got := clientIDSeen(t, ns); got != "" {
			return fmt.Errorf("the app still gets X-Client-Id: %s", got)
		}
		return nil
	})
	if caBundle(t) != bundle {
		t.Error("the upgrade has changed the webhook's caBundle")
	}
	install()
	eventually(t, "the old configuration again", func() error {
		if got := clientIDSeen(t, ns); got != "x" {
			return fmt.Errorf("the app gets X-Client-Id %q, want x", got)
		}
		return nil
	})
	limited(t, ns, "shop", 5)

	installed = false
	helm(t, "uninstall", "weir", "-n", systemNamespace, "--wait", "--timeout", "2m")
	limited(t, ns, "shop", 5) // from the pod's own memory: the store of trials has gone too
	if after := restarts(t, ns); after != before {
		t.Errorf("the app's pods have changed: %q, then %q", before, after)
	}
	kubectl(t, "rollout", "restart", "-n", ns, "deployment/shop")
	rolledOut(t, ns, "deployment/shop", "shop:80")
	eventually(t, "a pod without sidecar and without limit", func() error {
		out := kubectl(t, "get", "pods", "-n", ns, "-l", "app=shop", "-o", "jsonpath={.items[*].spec.initContainers[*].name}")
		if count, _ := pay(t, ns, "shop", unique(t), 8); out != "" || count[200] != 8 {
			return fmt.Errorf("init containers %q, answers %v", out, count)
		}
		return nil
	})
	kubectl(t, "get", "rlp", "payments", "-n", ns) // the CRDs stay, and the policies

	install()
	installed = true
	eventually(t, "NoSidecars", func() error {
		return condition(t, ns, "payments", "Programmed", "False", "NoSidecars")
	})
	kubectl(t, "rollout", "restart", "-n", ns, "deployment/shop")
	rolledOut(t, ns, "deployment/shop", "shop:80")
	waitProgrammed(t, ns, "payments")
	eventually(t, "old pods are gone", func() error { return rollout(t, ns, "payments", 1, 1, 0) })
	limited(t, ns, "shop", 5)
}

func helm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command("E2E_HELM", "", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func caBundle(t *testing.T) string {
	t.Helper()
	return kubectl(t, "get", "mutatingwebhookconfiguration", "weir-injector", "-o", "jsonpath={.webhooks[*].clientConfig.caBundle}")
}

// clientIDSeen is the X-Client-Id that the app gets when a client sends x.
func clientIDSeen(t *testing.T, ns string) string {
	t.Helper()
	r := send(t, ns, "-H", "X-Client-Id: x", "http://shop/")
	var a struct{ Headers map[string]string }
	if err := json.Unmarshal([]byte(r[0].Body), &a); err != nil || r[0].Status != 200 {
		return strings.TrimSpace(fmt.Sprint("status ", r[0].Status, r[0].Error))
	}
	return a.Headers["X-Client-Id"]
}
