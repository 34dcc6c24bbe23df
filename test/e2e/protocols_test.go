// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// rpcApp speaks gRPC, WebSocket and Server-Sent Events (test/apps/rpc).
func rpcApp(name string) string {
	c := fmt.Sprintf(`{name: app, image: %s, imagePullPolicy: %s, command: [/app/rpc], args: [-grpc, ":9090", -http, ":8080"]`+
		`, readinessProbe: {grpc: {port: 9090}, periodSeconds: 1, timeoutSeconds: 10}, livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, timeoutSeconds: 10}}`,
		appImage(), pullPolicy())
	return deployment(name, "{name: grpc, port: 9090, targetPort: 9090}, {name: http, port: 80, targetPort: 8080}", "",
		"containers: ["+c+"]")
}

// rpc runs the client of test/apps/rpc in the client pod and decodes what it
// prints.
func rpc[T any](t *testing.T, ns string, args ...string) []T {
	t.Helper()
	out := kubectl(t, append([]string{"exec", "-n", ns, "client", "--", "/app/rpc"}, args...)...)
	var all []T
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var v T
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		all = append(all, v)
	}
	return all
}

type call struct {
	Code    string
	Message string
	RetryMS int64 `json:"retry_ms"`
	Header  map[string][]string
	Trailer map[string][]string
}

type socket struct {
	Status, Sent, Echoed int
	Error                string
}

// A gRPC port with a limit on one method: the calls of gRPC's interoperability
// suite go through, one too many of the method is RESOURCE_EXHAUSTED.
func TestGRPC(t *testing.T) {
	ns := namespace(t, "e2e-grpc", inject)
	client(t, ns)
	apply(t, ns, rpcApp("rpc"))
	rolledOut(t, ns, "deployment/rpc", "rpc:9090", "rpc:80")
	apply(t, ns, `
apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: calls}
spec:
  targetRefs: [{group: "", kind: Service, name: rpc, sectionName: grpc}]
  limits:
  - name: empty-calls
    match: [{http: {methods: [POST], path: {type: Exact, value: /grpc.testing.TestService/EmptyCall}}}]
    key: [{header: X-Client-Id}]
    onMissingKey: Skip
    limit: 3
    window: 60s
`)
	waitProgrammed(t, ns, "calls")

	t.Run("interoperability", func(t *testing.T) {
		out := kubectl(t, "exec", "-n", ns, "client", "--", "/app/rpc", "interop", "rpc:9090")
		if n := strings.Count(out, " ok\n"); n != 14 {
			t.Errorf("%d cases passed, want 14:\n%s", n, out)
		}
	})
	t.Run("limit", func(t *testing.T) {
		eventually(t, "3 of 5 calls", func() error {
			all := rpc[call](t, ns, "call", "-n", "5", "-H", "x-client-id: "+unique(t), "rpc:9090")
			for i, r := range all {
				want := "OK"
				if i >= 3 {
					want = "ResourceExhausted"
				}
				if r.Code != want {
					return fmt.Errorf("call %d: %+v, want %s", i, r, want)
				}
			}
			if denied := all[4]; denied.RetryMS < 1 || !strings.Contains(denied.Message, "empty-calls") {
				return fmt.Errorf("denied call: %+v, want RetryInfo and the limit's name", denied)
			}
			return nil
		})
	})
}

// WebSockets and event streams over a limited port.
func TestWebSocketAndEvents(t *testing.T) {
	ns := namespace(t, "e2e-streams", inject)
	client(t, ns)
	apply(t, ns, rpcApp("rpc"))
	rolledOut(t, ns, "deployment/rpc", "rpc:9090", "rpc:80")
	apply(t, ns, strings.Replace(policy("streams", "rpc", 3, ""), "name: rpc}]", "name: rpc, sectionName: http}]", 1))
	waitProgrammed(t, ns, "streams")
	eventually(t, "3 of 5 handshakes", func() error {
		who := unique(t)
		for i := range 5 {
			s := rpc[socket](t, ns, "ws", "-n", "20", "-H", "X-Client-Id: "+who, "ws://rpc/ws")[0]
			switch {
			case i < 3 && (s.Status != 101 || s.Echoed != 20):
				return fmt.Errorf("handshake %d: %+v, want 101 and 20 echoes", i, s)
			case i >= 3 && s.Status != 429:
				return fmt.Errorf("handshake %d: %+v, want 429", i, s)
			}
		}
		return nil
	})
	type event struct {
		Data string
		MS   int64
	}
	all := rpc[event](t, ns, "events", "-H", "X-Client-Id: "+unique(t), "http://rpc/events?n=5&ms=200")
	if len(all) != 5 || all[0].MS > all[4].MS-600 {
		t.Errorf("events %+v, want 5, each as it was sent", all)
	}
}

// What is open when a policy changes goes on, and what comes then meets the new one.
func TestPolicyEditWhileStreamsAreOpen(t *testing.T) {
	ns := namespace(t, "e2e-open", inject)
	client(t, ns)
	apply(t, ns, rpcApp("rpc"))
	rolledOut(t, ns, "deployment/rpc", "rpc:9090", "rpc:80")
	apply(t, ns, policy("streams", "rpc", 1000, ""))
	waitProgrammed(t, ns, "streams")
	who := "X-Client-Id: " + unique(t)
	endTunnel := underway(t, ns, "/app/rpc", "ws", "-until-eof", "-every", "100ms", "-H", who, "ws://rpc/ws")
	endStream := underway(t, ns, "/app/rpc", "stream", "-until-eof", "-every", "100ms", "rpc:9090")
	pod := kubectl(t, "get", "pods", "-n", ns, "-l", "app=rpc", "-o", "jsonpath={.items[0].metadata.name}")
	metrics := "http://" + podIP(t, ns, pod) + ":16000/metrics"
	eventually(t, "both are open", func() error {
		if r := send(t, ns, metrics)[0]; !strings.Contains(r.Body, "\nweir_connections 2\n") {
			return errors.New("weir_connections is not 2")
		}
		return nil
	})
	apply(t, ns, policy("streams", "rpc", 2, ""))
	waitProgrammed(t, ns, "streams")
	eventually(t, "2 of 5 requests", func() error {
		count := map[int]int{}
		for _, r := range send(t, ns, "-n", "5", "-H", "X-Client-Id: "+unique(t), "http://rpc/healthz") {
			count[r.Status]++
		}
		if count[200] != 2 || count[429] != 3 {
			return fmt.Errorf("got %v", count)
		}
		return nil
	})
	var tunnel socket
	var stream struct {
		Code, Message  string
		Sent, Answered int
	}
	for to, end := range map[any]func() (string, error){&tunnel: endTunnel, &stream: endStream} {
		out, err := end()
		if err == nil {
			err = json.Unmarshal([]byte(out), to)
		}
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	if tunnel.Status != 101 || tunnel.Echoed == 0 || tunnel.Echoed != tunnel.Sent || tunnel.Error != "" {
		t.Errorf("the WebSocket: %+v, want an echo of each message", tunnel)
	}
	if stream.Code != "OK" || stream.Answered == 0 || stream.Answered != stream.Sent {
		t.Errorf("the gRPC stream: %+v, want an answer to each message", stream)
	}
}

// TLS to a governed port is refused, and the policy says so.
func TestEncryptedTraffic(t *testing.T) {
	ns := namespace(t, "e2e-encrypted", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 1, port: 8080, targetPort: "8080"})
	apply(t, ns, policy("payments", "shop", 6, ""))
	waitProgrammed(t, ns, "payments")
	if r := send(t, ns, "-k", "https://shop:80/")[0]; r.Status != 0 {
		t.Errorf("TLS to a governed port: %+v, want the connection closed", r)
	}
	eventually(t, "EncryptedTraffic", func() error {
		return condition(t, ns, "payments", "Programmed", "False", "EncryptedTraffic", "8080")
	})
}
