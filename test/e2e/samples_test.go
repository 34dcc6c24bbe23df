// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every sample is taken as it is, but for its namespace: what this version enforces is
// programmed in pods, the rest is refused in words.
func TestSamples(t *testing.T) {
	files, err := filepath.Glob("../../config/samples/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("samples %v, error %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			ns := namespace(t, "e2e-"+name, inject)
			manifest := strings.Replace(string(text), "namespace: shop", "namespace: "+ns, 1)
			if !strings.Contains(manifest, "namespace: "+ns) {
				t.Fatal("the sample is of another namespace than shop")
			}
			if strings.Contains(manifest, "kind: CallbackRoute") {
				apply(t, ns, manifest)
				kubectl(t, "wait", `--for=jsonpath={.status.conditions[?(@.type=="Accepted")].reason}=Unsupported`, timeout, "-n", ns, "cbr", "--all")
				return
			}
			kind := "rlp"
			if strings.Contains(manifest, "kind: IdempotencyPolicy") {
				kind = "idp"
			}
			service := "payments"
			if strings.Contains(manifest, "sectionName: grpc") {
				service = "ledger"
				apply(t, ns, rpcApp(service))
				rolledOut(t, ns, "deployment/"+service)
			} else if strings.Contains(manifest, "sectionName: thrift") {
				// Nothing has to answer: the sidecar says what it enforces.
				apply(t, ns, deployment(service, "{name: thrift, port: 9090, targetPort: 9090}", "",
					"containers: ["+container("", "-listen, ':8080', -tcp, ':9090'", ready)+"]"))
				rolledOut(t, ns, "deployment/"+service)
			} else {
				deploy(t, ns, app{name: service, replicas: 1, port: 8080, targetPort: "http"})
			}
			apply(t, ns, manifest)
			for _, condition := range []string{"Accepted", "Programmed"} {
				kubectl(t, "wait", "--for=condition="+condition, timeout, "-n", ns, kind, "--all")
			}
		})
	}
}
