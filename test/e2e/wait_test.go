// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"testing"
	"time"
)

// What a test does next depends on something that comes by itself, later than the
// command that caused it: here is how to wait for each of those.

// patience is how long a condition is waited for. It bounds a failure and is no
// expectation: a machine that is busy takes the time it takes.
const patience = 2 * time.Minute

// timeout is patience, for the commands of kubectl that wait.
var timeout = "--timeout=" + patience.String()

// eventually calls check until it returns nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// rolledOut waits until all pods of a workload are ready and until the client pod
// reaches each HOST:PORT.
func rolledOut(t *testing.T, ns, workload string, addresses ...string) {
	t.Helper()
	kubectl(t, "rollout", "status", "-n", ns, workload, timeout)
	reached(t, ns, addresses...)
}

// awaitReady waits until a pod is ready.
func awaitReady(t *testing.T, ns, pod string) {
	t.Helper()
	kubectl(t, "wait", "--for=condition=Ready", timeout, "-n", ns, "pod/"+pod)
}

// reached waits until the client pod can connect to each HOST:PORT. A Service has
// no endpoint, and refuses, for as long as a second and more after its pods are
// ready: kube-proxy gathers changes before it acts.
func reached(t *testing.T, ns string, addresses ...string) {
	t.Helper()
	if len(addresses) == 0 {
		return
	}
	eventually(t, "the client pod connects", func() error {
		_, err := tryKubectl("", append([]string{"exec", "-n", ns, "client", "--", "/app/echo", "reach"}, addresses...)...)
		return err
	})
}

// operatorAnswers waits until the operator is there and the API server reaches its
// webhook, which is behind a Service too; ns is a namespace that is injected.
func operatorAnswers(t *testing.T, ns string) {
	t.Helper()
	kubectl(t, "rollout", "status", "-n", systemNamespace, "deployment/weir-operator", timeout)
	const pod = `
apiVersion: v1
kind: Pod
metadata: {name: dry-run}
spec:
  containers:
  - name: app
    image: none
    securityContext:
      runAsNonRoot: true
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL]}
      seccompProfile: {type: RuntimeDefault}
`
	eventually(t, "the operator's webhook answers", func() error {
		_, err := tryKubectl(pod, "create", "--dry-run=server", "-n", ns, "-f", "-")
		return err
	})
}

// waitProgrammed waits as a user would.
func waitProgrammed(t *testing.T, namespace, policy string) {
	t.Helper()
	if out, err := tryKubectl("", "wait", "--for=condition=Programmed", timeout, "-n", namespace, "rlp/"+policy); err != nil {
		status, _ := tryKubectl("", "get", "rlp", policy, "-n", namespace, "-o", "yaml")
		t.Fatalf("%v\n%s\n%s", err, out, status)
	}
}
