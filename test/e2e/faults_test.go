// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Sidecars go on enforcing while there is no operator, also in a sidecar
// container that is killed meanwhile and starts from its last good state.
func TestOperatorGoneAndSidecarRestarted(t *testing.T) {
	ns := namespace(t, "e2e-outage", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 1, port: 8080, targetPort: "8080"})
	apply(t, ns, policy("payments", "shop", 5, ""))
	waitProgrammed(t, ns, "payments")

	kubectl(t, "scale", "-n", systemNamespace, "deployment/weir-operator", "--replicas=0")
	t.Cleanup(func() {
		kubectl(t, "scale", "-n", systemNamespace, "deployment/weir-operator", "--replicas=2")
		kubectl(t, "rollout", "status", "-n", systemNamespace, "deployment/weir-operator", "--timeout=90s")
	})
	eventually(t, 60*time.Second, "no operator", func() error {
		if out := kubectl(t, "get", "pods", "-n", systemNamespace, "-l", "app.kubernetes.io/component=operator", "-o", "name"); out != "" {
			return fmt.Errorf("still there: %s", out)
		}
		return nil
	})
	if count, _ := pay(t, ns, "shop", unique(t), 8); count[200] != 5 {
		t.Fatalf("without an operator: got %v, want 5 times 200", count)
	}

	if os.Getenv("E2E_NODE") == "" {
		t.Skip("E2E_NODE does not say how to run a command on the node; killing the sidecar's process is left out")
	}
	pod := strings.TrimSpace(kubectl(t, "get", "pods", "-n", ns, "-l", "app=shop", "-o", "jsonpath={.items[0].metadata.name}"))
	crashSidecar(t, ns, pod)
	eventually(t, 60*time.Second, "ready again", func() error {
		return podReady(t, ns, pod)
	})
	eventually(t, 20*time.Second, "limit from the last good state", func() error {
		count, _ := pay(t, ns, "shop", unique(t), 8)
		if count[200] != 5 || count[429] != 3 {
			return fmt.Errorf("got %v, want 5 times 200 and 3 times 429", count)
		}
		return nil
	})
}

// crashSidecar kills the sidecar's process on the node, as the kernel does when
// memory runs out, and waits until the kubelet has counted a restart.
func crashSidecar(t *testing.T, ns, pod string) {
	t.Helper()
	read := func(field string) string {
		return kubectl(t, "get", "pod", pod, "-n", ns, "-o",
			`jsonpath={.status.initContainerStatuses[?(@.name=="weir-sidecar")].`+field+`}`)
	}
	before := read("restartCount")
	id := strings.TrimPrefix(read("containerID"), "containerd://")
	if out, err := command("E2E_NODE", "", "ctr", "-a", "/run/containerd/containerd.sock", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", id); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	eventually(t, 60*time.Second, "a restart of the sidecar container", func() error {
		if now := read("restartCount"); now == before {
			return fmt.Errorf("restart count is still %s", now)
		}
		return nil
	})
}

func podReady(t *testing.T, ns, pod string) error {
	t.Helper()
	out := kubectl(t, "get", "pod", pod, "-n", ns, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
	if out != "True" {
		return fmt.Errorf("pod %s: Ready is %q", pod, out)
	}
	return nil
}

// A rolling update under load fails no request.
func TestRollingUpdateUnderLoad(t *testing.T) {
	ns := namespace(t, "e2e-rollout", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 2, port: 8080, targetPort: "8080"})
	apply(t, ns, policy("payments", "shop", 1000000, ""))
	waitProgrammed(t, ns, "payments")

	type result struct {
		all []response
		err error
	}
	done := make(chan result, 1)
	go func() {
		all, err := trySend(ns, "-summary", "-c", "4", "-d", "30s", "-H", "X-Client-Id: load", "http://shop/")
		done <- result{all, err}
	}()
	time.Sleep(2 * time.Second)
	kubectl(t, "rollout", "restart", "-n", ns, "deployment/shop")
	kubectl(t, "rollout", "status", "-n", ns, "deployment/shop", "--timeout=120s")
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	total := 0
	for _, x := range r.all {
		total += x.Count
		if x.Status != 200 {
			t.Errorf("%d requests with status %d %s", x.Count, x.Status, x.Error)
		}
	}
	if total < 100 {
		t.Errorf("only %d requests were sent", total)
	}
	t.Logf("%d requests during the rolling update", total)
}

// Redis gone: LocalFallback divides the limit among the ready pods; Redis back:
// the pods share one limit again.
func TestRedisGoneAndBack(t *testing.T) {
	ns := namespace(t, "e2e-redis", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 2, port: 8080, targetPort: "8080"})
	apply(t, ns, policy("payments", "shop", 10, "  failurePolicy: LocalFallback"))
	waitProgrammed(t, ns, "payments")
	if count, _ := pay(t, ns, "shop", unique(t), 14); count[200] != 10 {
		t.Fatalf("with Redis: got %v, want 10 times 200", count)
	}

	kubectl(t, "scale", "-n", systemNamespace, "deployment/weir-dev-backends", "--replicas=0")
	back := func() {
		kubectl(t, "scale", "-n", systemNamespace, "deployment/weir-dev-backends", "--replicas=1")
		kubectl(t, "rollout", "status", "-n", systemNamespace, "deployment/weir-dev-backends", "--timeout=60s")
	}
	restored := false
	t.Cleanup(func() {
		if !restored {
			back()
		}
	})
	eventually(t, 60*time.Second, "no Redis", func() error {
		if out := kubectl(t, "get", "pods", "-n", systemNamespace, "-l", "app.kubernetes.io/component=dev-backends", "-o", "name"); out != "" {
			return fmt.Errorf("still there: %s", out)
		}
		return nil
	})
	// One pod alone admits its share; which pod answers is the Service's choice.
	ip := kubectl(t, "get", "pods", "-n", ns, "-l", "app=shop", "-o", "jsonpath={.items[0].status.podIP}")
	count, _ := pay(t, ns, ip+":8080", unique(t), 14)
	if count[200] != 5 || count[429] != 9 {
		t.Errorf("without Redis, one of two pods: got %v, want 5 times 200 and 9 times 429", count)
	}

	back()
	restored = true
	eventually(t, 60*time.Second, "one limit for both pods again", func() error {
		if count, _ := pay(t, ns, "shop", unique(t), 14); count[200] != 10 || count[429] != 4 {
			return fmt.Errorf("got %v, want 10 times 200", count)
		}
		return nil
	})
}
