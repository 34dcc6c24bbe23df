// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// finalizer keeps a pod's object when its containers have ended, so that the
// test can look at how.
const finalizer = "e2e.weir.dev/look"

// endingPod is a pod of Service shop; more are further fields of its container.
func endingPod(name string, grace int, more string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: shop}, finalizers: [%s]}
spec: {restartPolicy: Never, terminationGracePeriodSeconds: %d, containers: [%s]}
`, name, finalizer, grace, container("", "-listen, ':8080'", ready+more))
}

// The end of a pod: what is under way is finished, what comes is answered and
// told to go elsewhere, and the sidecar is the last to leave.
func TestPodEnds(t *testing.T) {
	ns := namespace(t, "e2e-ends", inject)
	client(t, ns)
	names := []string{"sleeps", "busy", "short"}
	t.Cleanup(func() {
		for _, name := range names {
			_, _ = tryKubectl("", "patch", "pod", name, "-n", ns, "--type=merge", "-p", `{"metadata": {"finalizers": null}}`)
		}
	})
	apply(t, ns, `
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{name: http, port: 80, targetPort: 8080}]}
`+endingPod("sleeps", 240, `, lifecycle: {preStop: {exec: {command: [/app/echo, get, -timeout, 4m, "http://127.0.0.1:8080/hold"]}}}`)+
		endingPod("busy", 120, "")+endingPod("short", 1, ""))
	apply(t, ns, policy("payments", "shop", 1000, ""))
	for _, name := range names {
		awaitReady(t, ns, name)
	}
	waitProgrammed(t, ns, "payments")
	ip := map[string]string{}
	for _, name := range names {
		ip[name] = podIP(t, ns, name)
	}
	keepAlive := func() response {
		return send(t, ns, "-H", "X-Client-Id: x", "http://"+ip["sleeps"]+":8080/")[0]
	}
	if r := keepAlive(); r.Status != 200 || r.header("Connection") != "" {
		t.Fatalf("before the end: %+v", r)
	}

	held := make(chan error, 1)
	go func() {
		r, err := trySend(ns, "-H", "X-Client-Id: x", "-timeout", "4m", "http://"+ip["busy"]+":8080/hold")
		if err == nil && (len(r) != 1 || r[0].Status != 200) {
			err = fmt.Errorf("got %+v", r)
		}
		held <- err
	}()
	eventually(t, "the request is under way", func() error {
		if r := send(t, ns, "-H", "X-Client-Id: x", "http://"+ip["busy"]+":8080/waiting"); r[0].Body != "1\n" {
			return fmt.Errorf("got %+v", r)
		}
		return nil
	})
	kubectl(t, append([]string{"delete", "pod", "-n", ns, "--wait=false"}, names...)...)

	// The app of this pod stays until its preStop hook is let go.
	eventually(t, "Connection: close", func() error {
		if r := keepAlive(); r.Status != 200 || r.header("Connection") != "close" {
			return fmt.Errorf("got %d %s, Connection %q", r.Status, r.Error, r.header("Connection"))
		}
		return nil
	})
	if r := send(t, ns, "-H", "X-Client-Id: x", "http://"+ip["sleeps"]+":8080/release")[0]; r.Status != 200 {
		t.Errorf("a request to a pod that ends: %+v", r)
	}
	// That of the other answers what it holds when it is told to go.
	if err := <-held; err != nil {
		t.Errorf("the request that was under way when its pod was deleted: %v", err)
	}
	for _, name := range names {
		eventually(t, name+" has ended, the sidecar last and well", func() error { return endedInOrder(t, ns, name) })
	}
}

func endedInOrder(t *testing.T, ns, pod string) error {
	t.Helper()
	type ended struct {
		Name  string
		State struct {
			Terminated *struct {
				ExitCode   int
				FinishedAt time.Time
			}
		}
	}
	var p struct {
		Status struct{ InitContainerStatuses, ContainerStatuses []ended }
	}
	get(t, &p, "pod", pod, "-n", ns)
	if len(p.Status.InitContainerStatuses) == 0 || len(p.Status.ContainerStatuses) != 1 {
		return fmt.Errorf("statuses: %+v", p.Status)
	}
	sidecar, app := p.Status.InitContainerStatuses[0], p.Status.ContainerStatuses[0]
	if sidecar.State.Terminated == nil || app.State.Terminated == nil {
		return fmt.Errorf("%s still runs", pod)
	}
	s, a := *sidecar.State.Terminated, *app.State.Terminated
	if sidecar.Name != "weir-sidecar" || s.ExitCode != 0 || s.FinishedAt.Before(a.FinishedAt) {
		return fmt.Errorf("%s ended %+v, the app %+v", sidecar.Name, s, a)
	}
	return nil
}

// The status counts pods as they come and go, and those that have no sidecar.
func TestStatusCountsPods(t *testing.T) {
	ns := namespace(t, "e2e-counts", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 1, port: 8080, targetPort: "8080"})
	apply(t, ns, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: bare, labels: {app: shop, weir.dev/inject: disabled}}
spec: {terminationGracePeriodSeconds: 1, containers: [%s]}
`, container("", "-listen, ':8080'", ready)))
	awaitReady(t, ns, "bare")
	apply(t, ns, policy("payments", "shop", 6, ""))
	eventually(t, "one of two", func() error {
		if err := rollout(t, ns, "payments", 2, 1, 1); err != nil {
			return err
		}
		return condition(t, ns, "payments", "Programmed", "True", "PartiallyProgrammed", "1 of 2 pods", "1 pod has no sidecar")
	})
	kubectl(t, "scale", "-n", ns, "deployment/shop", "--replicas=3")
	rolledOut(t, ns, "deployment/shop", "shop:80")
	eventually(t, "three of four", func() error { return rollout(t, ns, "payments", 4, 3, 1) })
	kubectl(t, "delete", "pod", "bare", "-n", ns)
	eventually(t, "three of three", func() error {
		if err := rollout(t, ns, "payments", 3, 3, 0); err != nil {
			return err
		}
		return condition(t, ns, "payments", "Programmed", "True", "Programmed")
	})
	limited(t, ns, "shop", 6)
	kubectl(t, "scale", "-n", ns, "deployment/shop", "--replicas=1")
	eventually(t, "one of one", func() error { return rollout(t, ns, "payments", 1, 1, 0) })
}
