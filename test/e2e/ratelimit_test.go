// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

var inject = "weir.dev/inject=enabled"

// The main job: a Service with a numeric targetPort, pods under Redirect.
func TestLimitThroughNumericTargetPort(t *testing.T) {
	ns := namespace(t, "e2e-redirect", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 2, port: 8080, targetPort: "8080"})
	apply(t, ns, policy("payments", "shop", 5, ""))
	waitProgrammed(t, ns, "payments")

	var all []response
	eventually(t, "8 payments of one client over 2 pods", func() error {
		var count map[int]int
		count, all = pay(t, ns, "shop", unique(t), 8)
		if count[200] != 5 || count[429] != 3 {
			return fmt.Errorf("got %v, want 5 times 200 and 3 times 429", count)
		}
		return nil
	})
	if got := all[0].header("Ratelimit-Policy"); got != `"per-client";q=5;w=60` {
		t.Errorf("RateLimit-Policy of a 200: %q", got)
	}
	if got := all[0].header("Ratelimit"); !strings.HasPrefix(got, `"per-client";r=4;t=`) {
		t.Errorf("RateLimit of the first 200: %q", got)
	}
	denied := all[7]
	if denied.header("Retry-After") == "" || denied.header("Content-Type") != "application/problem+json" {
		t.Errorf("fields of a 429: %v", denied.Header)
	}
	var problem struct {
		Type     string   `json:"type"`
		Status   int      `json:"status"`
		Violated []string `json:"violated-policies"`
	}
	if err := json.Unmarshal([]byte(denied.Body), &problem); err != nil || problem.Status != 429 || len(problem.Violated) != 1 {
		t.Errorf("body of a 429: %v %s", err, denied.Body)
	}
	if count, _ := pay(t, ns, "shop", unique(t), 5); count[200] != 5 {
		t.Errorf("another client: got %v, want 5 times 200", count)
	}
}

// An edit takes effect in the same pods.
func TestPolicyEditWithoutRestart(t *testing.T) {
	ns := namespace(t, "e2e-edit", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 1, port: 8080, targetPort: "8080"})
	before := restarts(t, ns)
	apply(t, ns, policy("payments", "shop", 3, ""))
	waitProgrammed(t, ns, "payments")
	limited(t, ns, "shop", 3)
	start := time.Now()
	apply(t, ns, policy("payments", "shop", 6, ""))
	eventually(t, "status of the new generation", func() error { return programmedNow(t, ns, "payments") })
	t.Logf("edit to Programmed, with kubectl's own time: %v", time.Since(start))
	limited(t, ns, "shop", 6)
	kubectl(t, "delete", "rlp", "payments", "-n", ns)
	eventually(t, "no limit after the delete", func() error {
		if count, _ := pay(t, ns, "shop", unique(t), 10); count[200] != 10 {
			return fmt.Errorf("got %v", count)
		}
		return nil
	})
	if after := restarts(t, ns); after != before {
		t.Errorf("pods changed: %q, then %q", before, after)
	}
}

// A Service with a named targetPort where NET_ADMIN is forbidden.
func TestNamedPortUnderRestrictedPodSecurity(t *testing.T) {
	ns := namespace(t, "e2e-restricted", inject, "pod-security.kubernetes.io/enforce=restricted")
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 2, port: 8080, targetPort: "http"})
	apply(t, ns, policy("payments", "shop", 5, ""))
	waitProgrammed(t, ns, "payments")
	limited(t, ns, "shop", 5)
}

// What the kubelet asks is never limited, whatever the policy says.
func TestProbesAreNeverLimited(t *testing.T) {
	ns := namespace(t, "e2e-probes", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 1, port: 8080, targetPort: "8080"})
	apply(t, ns, `
apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: everything}
spec:
  targetRefs: [{group: "", kind: Service, name: shop}]
  limits: [{name: all, limit: 1, window: 3600s}]
`)
	waitProgrammed(t, ns, "everything")
	if count, _ := pay(t, ns, "shop", "x", 4); count[429] < 3 {
		t.Fatalf("got %v, want at most one 200", count)
	}
	before := restarts(t, ns)
	pod := kubectl(t, "get", "pods", "-n", ns, "-l", "app=shop", "-o", "jsonpath={.items[0].metadata.name}")
	probes := func() int {
		// From inside, where no limit is: the app's own count.
		out := kubectl(t, "exec", "-n", ns, pod, "-c", "app", "--", "/app/echo", "get", "http://127.0.0.1:8080/healthz/count")
		all, err := responses(out)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(all[0].Body))
		if err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		return n
	}
	seen := probes()
	eventually(t, "six periods of both probes", func() error {
		if n := probes() - seen; n < 12 {
			return fmt.Errorf("%d probes", n)
		}
		return nil
	})
	if after := restarts(t, ns); after != before {
		t.Errorf("pods changed: %q, then %q", before, after)
	}
	if ready := kubectl(t, "get", "deploy", "shop", "-n", ns, "-o", "jsonpath={.status.readyReplicas}"); ready != "1" {
		t.Errorf("ready replicas: %q, want 1", ready)
	}
}

// Redirect captures IPv6 as it does IPv4.
func TestBothIPFamilies(t *testing.T) {
	ns := namespace(t, "e2e-families", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 1, port: 8080, targetPort: "8080"})
	ips := strings.Fields(kubectl(t, "get", "pods", "-n", ns, "-l", "app=shop", "-o", "jsonpath={.items[0].status.podIPs[*].ip}"))
	if len(ips) < 2 {
		t.Skip("the cluster is not dual-stack")
	}
	apply(t, ns, strings.Replace(policy("payments", "shop", 4, ""), "limit: 4", "limit: 4\n    scope: Pod", 1))
	waitProgrammed(t, ns, "payments")
	eventually(t, "one limit for both families", func() error {
		who := unique(t)
		for _, ip := range ips {
			if count, _ := pay(t, ns, net.JoinHostPort(ip, "8080"), who, 2); count[200] != 2 {
				return fmt.Errorf("%s: got %v, want 2 times 200", ip, count)
			}
		}
		for _, ip := range ips {
			if count, _ := pay(t, ns, net.JoinHostPort(ip, "8080"), who, 1); count[429] != 1 {
				return fmt.Errorf("%s: got %v, want a 429", ip, count)
			}
		}
		return nil
	})
}

// A port that the app has bound to loopback stays unreachable from outside.
func TestLoopbackPortIsNotPublished(t *testing.T) {
	ns := namespace(t, "e2e-loopback", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 1, port: 8080, targetPort: "8080", listen: ":8080,127.0.0.1:9999"})
	ip := kubectl(t, "get", "pods", "-n", ns, "-l", "app=shop", "-o", "jsonpath={.items[0].status.podIP}")
	if r := send(t, ns, "http://"+ip+":8080/"); r[0].Status != 200 {
		t.Fatalf("the published port: %+v", r)
	}
	r, err := trySend(ns, "http://"+ip+":9999/")
	if err == nil && len(r) == 1 && r[0].Status == 200 {
		t.Errorf("port 9999 of the pod's loopback answered from outside: %+v", r)
	}
}

// A malformed policy is refused by the API server with the field's path.
func TestMalformedPolicyIsRefused(t *testing.T) {
	ns := namespace(t, "e2e-bad")
	for name, bad := range map[string]struct{ more, want string }{
		"unknown field": {"  modus: Enforce", "spec.modus"},
		"unknown mode":  {"  mode: Maybe", "spec.mode"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := tryKubectl(policy("bad", "shop", 5, bad.more), "apply", "-n", ns, "-f", "-")
			if err == nil || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("got %q, %v; want a refusal that names %s", out, err, bad.want)
			}
		})
	}
	apply(t, ns, policy("orphan", "nobody", 5, ""))
	eventually(t, "TargetNotFound", func() error {
		out := kubectl(t, "get", "rlp", "orphan", "-n", ns, "-o", `jsonpath={.status.conditions[?(@.type=="Accepted")].reason}`)
		if out != "TargetNotFound" {
			return fmt.Errorf("reason %q", out)
		}
		return nil
	})
}

// Pods without sidecar: the status says so and how to get one.
func TestNoSidecars(t *testing.T) {
	ns := namespace(t, "e2e-bare")
	deploy(t, ns, app{name: "shop", replicas: 1, port: 8080, targetPort: "8080"})
	apply(t, ns, policy("payments", "shop", 5, ""))
	eventually(t, "NoSidecars", func() error {
		out := kubectl(t, "get", "rlp", "payments", "-n", ns, "-o", `jsonpath={.status.conditions[?(@.type=="Programmed")]}`)
		if !strings.Contains(out, `"NoSidecars"`) || !strings.Contains(out, "rollout restart") {
			return fmt.Errorf("condition %s", out)
		}
		return nil
	})
}

// restarts is what changes when a pod is replaced or one of its containers is
// restarted.
func restarts(t *testing.T, ns string) string {
	t.Helper()
	return kubectl(t, "get", "pods", "-n", ns, "-l", "app=shop", "-o",
		`jsonpath={range .items[*]}{.metadata.uid}{range .status.containerStatuses[*]} {.restartCount}{end}{range .status.initContainerStatuses[*]} {.restartCount}{end}{"\n"}{end}`)
}

// programmedNow reports whether the policy's own generation is Programmed.
func programmedNow(t *testing.T, ns, name string) error {
	t.Helper()
	var p struct {
		Metadata struct {
			Generation int64 `json:"generation"`
		} `json:"metadata"`
		Status struct {
			Conditions []struct {
				Type               string `json:"type"`
				Status             string `json:"status"`
				ObservedGeneration int64  `json:"observedGeneration"`
			} `json:"conditions"`
		} `json:"status"`
	}
	get(t, &p, "rlp", name, "-n", ns)
	for _, c := range p.Status.Conditions {
		if c.Type == "Programmed" && c.Status == "True" && c.ObservedGeneration == p.Metadata.Generation {
			return nil
		}
	}
	return fmt.Errorf("generation %d, conditions %+v", p.Metadata.Generation, p.Status.Conditions)
}
