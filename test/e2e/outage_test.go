// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// stopOperator takes all replicas away until the test ends or start is called.
func stopOperator(t *testing.T) (start func()) {
	t.Helper()
	kubectl(t, "scale", "-n", systemNamespace, "deployment/weir-operator", "--replicas=0")
	running := false
	start = func() {
		if running {
			return
		}
		running = true
		kubectl(t, "scale", "-n", systemNamespace, "deployment/weir-operator", "--replicas=2")
		rolledOut(t, systemNamespace, "deployment/weir-operator")
	}
	t.Cleanup(start)
	eventually(t, "no operator", func() error {
		if out := kubectl(t, "get", "pods", "-n", systemNamespace, "-l", "app.kubernetes.io/component=operator", "-o", "name"); out != "" {
			return fmt.Errorf("still there: %s", out)
		}
		return nil
	})
	return start
}

// While there is no operator, sidecars go on enforcing, also in a container that
// is killed meanwhile; new pods wait or are not created; and when it is back
// everything is as if it had never been away.
func TestOperatorGoneAndBack(t *testing.T) {
	ns := namespace(t, "e2e-outage", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 1, port: 8080, targetPort: "8080"})
	// These are injected now, and start when there is no operator.
	apply(t, ns, gated("deny", "")+gated("pass", "weir.dev/on-missing-config: PassThrough"))
	apply(t, ns, policy("payments", "shop", 5, ""))
	waitProgrammed(t, ns, "payments")
	start := stopOperator(t)

	limited(t, ns, "shop", 5)
	for _, name := range []string{"deny", "pass"} {
		kubectl(t, "patch", "pod", name, "-n", ns, "--type=json", "-p", `[{"op": "remove", "path": "/spec/schedulingGates"}]`)
	}
	apply(t, ns, deployment("late", webPort, "", "containers: ["+container("", "-listen, ':8080'", ready)+"]"))

	t.Run("a sidecar that crashes has its last good state", func(t *testing.T) { crashAndEnforce(t, ns) })
	t.Run("a pod without policies denies", func(t *testing.T) {
		noConfiguration(t, ns, "deny")
		if err := podReady(t, ns, "deny"); err == nil {
			t.Error("the pod is ready, though it has no policies")
		}
	})
	t.Run("a pod without policies passes if told to", func(t *testing.T) {
		eventually(t, "ready after the wait", func() error { return podReady(t, ns, "pass") })
		if count, _ := pay(t, ns, podIP(t, ns, "pass")+":8080", unique(t), 8); count[200] != 8 {
			t.Errorf("got %v, want 8 times 200", count)
		}
	})
	t.Run("a labelled pod is not created, and the event names the webhook", func(t *testing.T) {
		eventually(t, "FailedCreate", func() error {
			out := kubectl(t, "get", "events", "-n", ns, "--field-selector", "reason=FailedCreate", "-o",
				`jsonpath={range .items[*]}{.involvedObject.name} {.message}{"\n"}{end}`)
			if !strings.Contains(out, "late-") || !strings.Contains(out, `failed calling webhook "namespace.inject.weir.dev"`) {
				return fmt.Errorf("got %q", out)
			}
			return nil
		})
		if out := kubectl(t, "get", "pods", "-n", ns, "-l", "app=late", "-o", "name"); out != "" {
			t.Errorf("got %s, want no pod", out)
		}
	})

	start()
	for _, name := range []string{"deny", "pass"} {
		eventually(t, name+" is ready", func() error { return podReady(t, ns, name) })
		limited(t, ns, podIP(t, ns, name)+":8080", 5)
	}
	// The ReplicaSet's controller tries again with growing pauses, minutes in the
	// end, and at once when its object changes.
	operatorAnswers(t, ns)
	kubectl(t, "annotate", "replicaset", "-n", ns, "-l", "app=late", "e2e.weir.dev/try=again")
	rolledOut(t, ns, "deployment/late")
	eventually(t, "a status that counts all", func() error { return rollout(t, ns, "payments", 3, 3, 0) })
}

// gated is a pod of Service shop that is not scheduled until its gate is removed.
func gated(name, annotations string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: shop}, annotations: {%s}}
spec:
  schedulingGates: [{name: weir.dev/e2e}]
  terminationGracePeriodSeconds: 2
  containers: [%s]
`, name, annotations, container("", "-listen, ':8080'", ", ports: [{name: http, containerPort: 8080}]"))
}

func podIP(t *testing.T, ns, pod string) string {
	t.Helper()
	return kubectl(t, "get", "pod", pod, "-n", ns, "-o", "jsonpath={.status.podIP}")
}

// noConfiguration waits for the answer of a pod that never had policies.
func noConfiguration(t *testing.T, ns, pod string) {
	t.Helper()
	eventually(t, "503", func() error {
		ip := podIP(t, ns, pod)
		if ip == "" {
			return fmt.Errorf("no address yet")
		}
		r, err := trySend(ns, "-timeout", "20s", "http://"+ip+":8080/")
		if err != nil {
			return err
		}
		if r[0].Status != 503 || r[0].header("Content-Type") != "application/problem+json" ||
			!strings.Contains(r[0].Body, "no-configuration") {
			return fmt.Errorf("got %+v, want 503, problem+json, no-configuration", r[0])
		}
		return nil
	})
}

// rollout compares the counts in a policy's status.
func rollout(t *testing.T, ns, name string, pods, current, missing int) error {
	t.Helper()
	var p struct {
		Status struct {
			Rollout struct{ Pods, Current, MissingSidecar int }
		}
	}
	get(t, &p, "rlp", name, "-n", ns)
	r := p.Status.Rollout
	if r.Pods != pods || r.Current != current || r.MissingSidecar != missing {
		return fmt.Errorf("rollout %+v, want %d pods, %d current, %d without sidecar", r, pods, current, missing)
	}
	return nil
}

func crashAndEnforce(t *testing.T, ns string) {
	if os.Getenv("E2E_NODE") == "" {
		t.Skip("E2E_NODE does not say how to run a command on the node; killing the sidecar's process is left out")
	}
	pod := strings.Fields(kubectl(t, "get", "pods", "-n", ns, "-l", "app=shop,pod-template-hash", "-o", "jsonpath={.items[*].metadata.name}"))[0]
	crashSidecar(t, ns, pod)
	eventually(t, "ready again", func() error { return podReady(t, ns, pod) })
	limited(t, ns, podIP(t, ns, pod)+":8080", 5)
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
	eventually(t, "a restart of the sidecar container", func() error {
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
