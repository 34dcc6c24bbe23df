// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// container is the app's image as a container in YAML's flow style, which goes
// into any kind of workload; more are further fields, with commas before them.
func container(command, args, more string) string {
	return fmt.Sprintf(`{name: app, image: %s, imagePullPolicy: %s, command: [/app/echo%s], args: [%s]%s}`,
		appImage(), pullPolicy(), command, args, more)
}

const ready = `, readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, timeoutSeconds: 10}`

// deployment of one replica, with a Service of the same name.
func deployment(name, ports, annotations, spec string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {selector: {app: %[1]s}, ports: [%[2]s]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}, annotations: {%[3]s}}
    spec: {terminationGracePeriodSeconds: 5, %[4]s}
`, name, ports, annotations, spec)
}

const webPort = "{name: http, port: 80, targetPort: 8080}"

// Whatever kind a workload is of, and however its ports are declared.
func TestWorkloadKinds(t *testing.T) {
	ns := namespace(t, "e2e-kinds", inject)
	client(t, ns)
	plain := "containers: [" + container("", "-listen, ':8080'", ready) + "]"
	apply(t, ns, deployment("undeclared", webPort, "", plain)+
		deployment("named", "{name: http, port: 80, targetPort: web}", "weir.dev/capture: Redirect",
			"containers: ["+container("", "-listen, ':8080'", ", ports: [{name: web, containerPort: 8080}]"+ready)+"]")+
		deployment("mixed", webPort+", {name: tcp, port: 6379, targetPort: 6379}", "",
			"containers: ["+container("", "-listen, ':8080', -tcp, ':6379'", ready)+"]")+
		statefulSet()+cronJob())
	for workload, addresses := range map[string][]string{
		"deployment/undeclared": {"undeclared:80"},
		"deployment/named":      {"named:80"},
		"deployment/mixed":      {"mixed:80", "mixed:6379"},
		"statefulset/db":        {"db:8080", "db-1.db:8080"},
	} {
		rolledOut(t, ns, workload, addresses...)
	}
	for _, name := range []string{"undeclared", "named", "db"} {
		apply(t, ns, policy(name, name, 2, ""))
	}
	apply(t, ns, strings.Replace(policy("mixed", "mixed", 2, ""), "name: mixed}]", "name: mixed, sectionName: http}]", 1))
	for _, name := range []string{"undeclared", "named", "db", "mixed"} {
		waitProgrammed(t, ns, name)
	}

	// Ports 80 are those of Services; a headless one has only the pods' own.
	for name, host := range map[string]string{
		"port that no container declares":        "undeclared",
		"targetPort by name under Redirect":      "named",
		"governed port beside an opaque one":     "mixed",
		"headless Service of a StatefulSet":      "db:8080",
		"another pod of the StatefulSet by name": "db-1.db:8080",
	} {
		t.Run(name, func(t *testing.T) {
			limited(t, ns, host, 2)
		})
	}
	t.Run("a port without policy is passed on byte by byte", func(t *testing.T) {
		out := kubectl(t, "exec", "-n", ns, "client", "--", "/app/echo", "dial", "mixed:6379", "how are you")
		if want := "hello\nhow are you\n"; out != want {
			t.Errorf("got %q, want %q", out, want)
		}
	})
	t.Run("an init container that calls a Service", func(t *testing.T) {
		apply(t, ns, deployment("waits", webPort, "", `initContainers: [{name: before, image: `+appImage()+`, imagePullPolicy: `+pullPolicy()+
			`, command: [/app/echo, get], args: [-fail, "http://undeclared/"]}], `+plain))
		rolledOut(t, ns, "deployment/waits")
	})
	t.Run("a Job of a CronJob completes", func(t *testing.T) { jobCompletes(t, ns) })
}

// statefulSet is two pods behind a headless Service.
func statefulSet() string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: http, port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {terminationGracePeriodSeconds: 5, containers: [%s]}
`, container("", "-listen, ':8080'", ready))
}

// cronJob is suspended: the test makes a Job of it as a user would.
func cronJob() string {
	return fmt.Sprintf(`
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: report}
spec:
  schedule: "0 0 * * *"
  suspend: true
  jobTemplate:
    spec:
      backoffLimit: 2
      template:
        metadata: {labels: {app: report}}
        spec: {restartPolicy: Never, containers: [%s]}
`, container(", get", `-fail, "http://undeclared/healthz"`, ""))
}

// jobCompletes: the sidecar ends with the work, and is no failure.
func jobCompletes(t *testing.T, ns string) {
	kubectl(t, "create", "job", "-n", ns, "report-1", "--from=cronjob/report")
	kubectl(t, "wait", "--for=condition=Complete", timeout, "-n", ns, "job/report-1")
	out := kubectl(t, "get", "pods", "-n", ns, "-l", "app=report", "-o",
		`jsonpath={range .items[*]}{.status.phase} {.status.initContainerStatuses[?(@.name=="weir-sidecar")].state.terminated.exitCode}{"\n"}{end}`)
	if out != "Succeeded 0\n" {
		t.Errorf("phase of the pods and exit code of their sidecars: got %q, want \"Succeeded 0\"", out)
	}
}

// Ports that the annotations leave with the app: their traffic is the app's, and
// a policy that names one is told that it holds for nothing.
func TestPortsLeftAlone(t *testing.T) {
	ns := namespace(t, "e2e-left-alone", inject)
	client(t, ns)
	const two = `, ports: [{name: http, containerPort: 8080}, {name: admin, containerPort: 9090}]`
	ports := webPort + ", {name: admin, port: 9090, targetPort: admin}"
	app := "containers: [" + container("", "-listen, ':8080,:9090'", two+ready) + "]"
	apply(t, ns, deployment("excluded", ports, `weir.dev/exclude-inbound-ports: "9090"`, app)+
		deployment("kept", strings.Replace(ports, "targetPort: 8080", "targetPort: http", 1),
			"weir.dev/capture: NamedPort, weir.dev/keep-ports: admin", app))
	for _, name := range []string{"excluded", "kept"} {
		rolledOut(t, ns, "deployment/"+name, name+":80", name+":9090")
		apply(t, ns, strings.Replace(policy(name, name, 2, ""), "name: "+name+"}]", "name: "+name+", sectionName: http}]", 1))
		waitProgrammed(t, ns, name)
		t.Run(name, func(t *testing.T) {
			limited(t, ns, name, 2)
			if count, _ := pay(t, ns, name+":9090", unique(t), 4); count[200] != 4 {
				t.Errorf("port admin: got %v, want 4 times 200", count)
			}
			apply(t, ns, strings.Replace(policy(name, name, 2, ""), "name: "+name+"}]", "name: "+name+", sectionName: admin}]", 1))
			eventually(t, "TrafficBypassesSidecar", func() error {
				return condition(t, ns, name, "Programmed", "False", "TrafficBypassesSidecar", "9090")
			})
		})
	}
}

// condition compares a condition of a policy's present generation; words have to
// be in its message.
func condition(t *testing.T, ns, name, kind, status, reason string, words ...string) error {
	t.Helper()
	var p struct {
		Metadata struct{ Generation int64 }
		Status   struct {
			Conditions []struct {
				Type, Status, Reason, Message string
				ObservedGeneration            int64
			}
		}
	}
	get(t, &p, "rlp", name, "-n", ns)
	for _, c := range p.Status.Conditions {
		if c.Type != kind || c.Status != status || c.Reason != reason || c.ObservedGeneration != p.Metadata.Generation {
			continue
		}
		for _, w := range words {
			if !strings.Contains(c.Message, w) {
				return fmt.Errorf("%q is not in the message %q", w, c.Message)
			}
		}
		return nil
	}
	b, _ := json.Marshal(p.Status.Conditions)
	return fmt.Errorf("%s is not %s, %s of generation %d: %s", kind, status, reason, p.Metadata.Generation, b)
}

// A pod on the node's network runs as it is, and everybody is told.
func TestHostNetworkPodIsSkipped(t *testing.T) {
	ns := namespace(t, "e2e-hostnet", inject)
	client(t, ns)
	const count = `weir_injection_total{reason="HostNetwork",result="skipped"}`
	before := operatorMetric(t, ns, count)
	apply(t, ns, deployment("host", "{port: 80, targetPort: 18080}", "",
		"hostNetwork: true, containers: ["+container("", "-listen, ':18080'", "")+"]"))
	rolledOut(t, ns, "deployment/host")
	if out := kubectl(t, "get", "pods", "-n", ns, "-l", "app=host", "-o", "jsonpath={.items[*].spec.initContainers[*].name}"); out != "" {
		t.Errorf("init containers %q, want none", out)
	}
	eventually(t, "an event on the ReplicaSet", func() error {
		out := kubectl(t, "get", "events", "-n", ns, "--field-selector", "reason=HostNetwork", "-o",
			`jsonpath={range .items[*]}{.type} {.involvedObject.kind} {.message}{"\n"}{end}`)
		if !strings.Contains(out, "Warning ReplicaSet spec.hostNetwork: ") {
			return fmt.Errorf("got %q", out)
		}
		return nil
	})
	// The API server asks again when it takes an answer for late.
	if after := operatorMetric(t, ns, count); after <= before {
		t.Errorf("%s: got %d, then %d; want one more", count, before, after)
	}
	if n := operatorMetric(t, ns, `weir_injection_total{reason="",result="injected"}`); n < 0 {
		t.Errorf("injected pods are not counted: %d", n)
	}
}

// operatorMetric is the sum of a counter over the operator's replicas.
func operatorMetric(t *testing.T, ns, series string) int {
	t.Helper()
	const which = "app.kubernetes.io/component=operator"
	eventually(t, "two operators, and none that is ending", func() error {
		if pods := strings.Fields(kubectl(t, "get", "pods", "-n", systemNamespace, "-l", which, "-o", "name")); len(pods) != 2 {
			return fmt.Errorf("there are %v", pods)
		}
		return nil
	})
	sum := 0
	for _, ip := range strings.Fields(kubectl(t, "get", "pods", "-n", systemNamespace, "-l", which, "-o", "jsonpath={.items[*].status.podIP}")) {
		r := send(t, ns, "http://"+ip+":8080/metrics")
		if r[0].Status != 200 {
			t.Fatalf("metrics of %s: %+v", ip, r)
		}
		for line := range strings.Lines(r[0].Body) {
			var n int
			if rest, ok := strings.CutPrefix(line, series+" "); ok {
				if _, err := fmt.Sscan(rest, &n); err != nil {
					t.Fatal(err)
				}
				sum += n
			}
		}
	}
	return sum
}
