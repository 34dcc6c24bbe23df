// SPDX-License-Identifier: Apache-2.0

package local

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
)

// TestProtocols: a listener's protocol is what a policy of its port finds.
func TestProtocols(t *testing.T) {
	for flags, want := range map[string]snapshot.Protocol{
		"name=s/http":                 snapshot.Protocol_PROTOCOL_HTTP,
		"name=s/80":                   snapshot.Protocol_PROTOCOL_HTTP,
		"name=s/web":                  snapshot.Protocol_PROTOCOL_HTTP,
		"name=s/grpc":                 snapshot.Protocol_PROTOCOL_GRPC,
		"name=s/grpc-admin":           snapshot.Protocol_PROTOCOL_GRPC,
		"name=s/h2c":                  snapshot.Protocol_PROTOCOL_H2C,
		"name=s/grpcweb":              snapshot.Protocol_PROTOCOL_HTTP,
		"name=s/grpc,protocol=http":   snapshot.Protocol_PROTOCOL_HTTP,
		"name=s/http,protocol=grpc":   snapshot.Protocol_PROTOCOL_GRPC,
		"name=s/web,protocol=h2c":     snapshot.Protocol_PROTOCOL_H2C,
		"name=s/web,protocol=ws":      snapshot.Protocol_PROTOCOL_WEBSOCKET,
		"name=s/web,protocol=auto":    snapshot.Protocol_PROTOCOL_AUTO,
		"name=s/9000,protocol=auto":   snapshot.Protocol_PROTOCOL_AUTO,
		"name=s/grpc-a,protocol=auto": snapshot.Protocol_PROTOCOL_GRPC,
	} {
		t.Run(flags, func(t *testing.T) {
			l, err := ParseListener(flags + ",listen=127.0.0.1:0,upstream=127.0.0.1:9")
			if err != nil {
				t.Fatal(err)
			}
			p := &v1alpha1.RateLimitPolicy{Spec: v1alpha1.RateLimitPolicySpec{
				TargetRefs: []v1alpha1.TargetRef{{Name: "s"}},
				Limits:     []v1alpha1.Limit{{Name: "a", Limit: 1, Window: "1s"}},
			}}
			p.Name, p.Namespace = "p", corev1.NamespaceDefault
			out, err := Compile(Policies{Namespace: corev1.NamespaceDefault, Objects: []client.Object{p}}, []Listener{l}, Settings{})
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Snapshot.GetPorts()) != 1 || out.Snapshot.GetPorts()[0].GetProtocol() != want {
				t.Errorf("ports %v, want protocol %s; %v", out.Snapshot.GetPorts(), want, out.Verdicts)
			}
		})
	}
}
