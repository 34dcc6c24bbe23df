// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// systemNamespace is where the chart is installed.
const systemNamespace = "weir-system"

func appImage() string { return os.Getenv("E2E_APP_IMAGE") }

// app is a Deployment and a Service of an HTTP server that knows nothing of
// Weir, and what differs between tests.
type app struct {
	name       string
	replicas   int
	listen     string // of the server, comma separated
	port       int    // container port
	targetPort string // of the Service: a number or the port's name
	labels     map[string]string
	readiness  string // path, "" for /healthz
}

func (a app) manifest() string {
	if a.listen == "" {
		a.listen = fmt.Sprintf(":%d", a.port)
	}
	if a.readiness == "" {
		a.readiness = "/healthz"
	}
	labels := ""
	for k, v := range a.labels {
		labels += fmt.Sprintf(", %s: %q", k, v)
	}
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec:
  selector: {app: %[1]s}
  ports: [{name: http, port: 80, targetPort: %[5]s}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  template:
    metadata: {labels: {app: %[1]s%[6]s}}
    spec:
      terminationGracePeriodSeconds: 40
      containers:
      - name: app
        image: %[7]s
        imagePullPolicy: %[9]s
        args: ["-listen", %[3]q]
        ports: [{name: http, containerPort: %[4]d}]
        readinessProbe: {httpGet: {path: %[8]s, port: http}, periodSeconds: 1, timeoutSeconds: 10}
        livenessProbe: {httpGet: {path: /healthz, port: %[4]d}, periodSeconds: 1, timeoutSeconds: 10}
        lifecycle: {preStop: {sleep: {seconds: 10}}}
        securityContext:
          runAsNonRoot: true
          runAsUser: 65532
          allowPrivilegeEscalation: false
          capabilities: {drop: [ALL]}
          seccompProfile: {type: RuntimeDefault}
`, a.name, a.replicas, a.listen, a.port, a.targetPort, labels, appImage(), a.readiness, pullPolicy())
}

// pullPolicy is Never on the cluster of hack/cluster, which has no registry.
func pullPolicy() string {
	if p := os.Getenv("E2E_PULL_POLICY"); p != "" {
		return p
	}
	return "Never"
}

// deploy applies an app and waits until all of its pods are ready, and the client
// pod, if there is one, reaches its Service.
func deploy(t *testing.T, ns string, a app) {
	t.Helper()
	apply(t, ns, a.manifest())
	var reach []string
	if out := kubectl(t, "get", "pod", "client", "-n", ns, "--ignore-not-found", "-o", "name"); out != "" {
		reach = []string{a.name + ":80"}
	}
	rolledOut(t, ns, "deployment/"+a.name, reach...)
}

// client makes a pod without sidecar that requests are sent from.
func client(t *testing.T, ns string) {
	t.Helper()
	apply(t, ns, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client, weir.dev/inject: disabled}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: client
    image: %s
    imagePullPolicy: %s
    args: ["sleep", "3600"]
    securityContext:
      runAsNonRoot: true
      runAsUser: 65532
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL]}
      seccompProfile: {type: RuntimeDefault}
`, appImage(), pullPolicy()))
	awaitReady(t, ns, "client")
}

// response is one line that the client prints.
type response struct {
	Status int                 `json:"status"`
	Count  int                 `json:"count"` // with -summary
	Error  string              `json:"error"`
	Header map[string][]string `json:"header"`
	Body   string              `json:"body"`
}

func (r response) header(name string) string { return strings.Join(r.Header[name], ", ") }

// send lets the client pod send requests; args are those of `echo get`.
func send(t *testing.T, ns string, args ...string) []response {
	t.Helper()
	out, err := trySend(ns, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func trySend(ns string, args ...string) ([]response, error) {
	out, err := tryKubectl("", append([]string{"exec", "-n", ns, "client", "--", "/app/echo", "get"}, args...)...)
	if err != nil {
		return nil, err
	}
	return responses(out)
}

// responses decodes what `echo get` prints.
func responses(out string) ([]response, error) {
	var all []response
	d := json.NewDecoder(strings.NewReader(out))
	for d.More() {
		var r response
		if err := d.Decode(&r); err != nil {
			return nil, fmt.Errorf("%w in %q", err, out)
		}
		all = append(all, r)
	}
	return all, nil
}

// pay sends n payments as one client and returns how often each status came.
func pay(t *testing.T, ns, host, who string, n int) (map[int]int, []response) {
	t.Helper()
	all := send(t, ns, "-n", strconv.Itoa(n), "-X", "POST", "-H", "X-Client-Id: "+who, "http://"+host+"/users/1/payments")
	count := map[int]int{}
	for _, r := range all {
		count[r.Status]++
		if r.Status == 0 {
			t.Logf("no answer: %s", r.Error)
		}
	}
	return count, all
}

// limited lets a new client send three payments more than a limit of its
// policy. A Service that kube-proxy has just heard of, or a store that was slow
// once on a machine that is busy, gets another chance.
func limited(t *testing.T, ns, host string, limit int) {
	t.Helper()
	eventually(t, "limit of "+host, func() error {
		count, _ := pay(t, ns, host, unique(t), limit+3)
		if count[200] != limit || count[429] != 3 {
			return fmt.Errorf("got %v, want %d times 200 and 3 times 429", count, limit)
		}
		return nil
	})
}

// unique is a client id that no test has used before.
func unique(t *testing.T) string {
	return fmt.Sprintf("%s-%d", t.Name(), time.Now().UnixNano())
}

// policy is a RateLimitPolicy of one limit: per X-Client-Id in any 60 s.
func policy(name, service string, limit int, more string) string {
	return fmt.Sprintf(`
apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: %s}
spec:
  targetRefs: [{group: "", kind: Service, name: %s}]
%s
  limits:
  - name: per-client
    key: [{header: X-Client-Id}]
    limit: %d
    window: 60s
`, name, service, more, limit)
}
