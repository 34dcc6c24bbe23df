// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/config"
)

// gatewayAccount is the ServiceAccount of rate limit services, in a test's namespace.
const gatewayAccount = "gateway"

// fleet opens a stream with the token of a pod.
func (c *cluster) fleet(r *replica, pod *corev1.Pod) (stream.Config_FleetClient, func()) {
	c.Helper()
	conn, err := grpc.NewClient("passthrough:///"+r.address,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{ServerName: serverName, RootCAs: c.roots, MinVersion: tls.VersionTLS13})))
	if err != nil {
		c.Fatal(err)
	}
	token := requestToken(c.T, pod.Namespace, pod.Spec.ServiceAccountName, pod)
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(c.Context(), "authorization", "Bearer "+token))
	s, err := stream.NewConfigClient(conn).Fleet(ctx, &stream.FleetHello{Version: "test", Features: features})
	if err != nil {
		c.Fatal(err)
	}
	return s, func() { cancel(); _ = conn.Close() }
}

// A rate limit service gets policies of pods that have no sidecar; their status does
// not count it.
func TestGateway(t *testing.T) {
	t.Parallel()
	c := newCluster(t, config.Default())
	r := c.alone()
	ns := c.namespace
	newService(t, ns)
	bare := newPod(t, ns, "bare", false)
	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: gatewayAccount, Namespace: ns}})
	service := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "rls", Namespace: ns},
		Spec:       corev1.PodSpec{ServiceAccountName: gatewayAccount, Containers: []corev1.Container{{Name: "rls", Image: "weir"}}},
	}
	create(t, service)
	p := limitPolicy(ns, "payments")
	create(t, p)

	eventually(t, "the service is not told of the policy", func() error {
		s, stop := c.fleet(r, service)
		defer stop()
		u, err := s.Recv()
		snap := u.GetSnapshot()
		switch {
		case err != nil:
			return err
		case u.GetNamespace() != ns || len(snap.GetPorts()) != 1 || len(snap.GetRateLimitPolicies()) != 1 ||
			!slices.Equal(snap.GetPorts()[0].GetNames(), []string{"payments/80", "payments/http"}):
			return fmt.Errorf("the first update is %v", u)
		}
		return nil
	})
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonNoSidecars)

	// A pod of another ServiceAccount gets nothing, whatever its namespace.
	s, stop := c.fleet(r, bare)
	defer stop()
	if _, err := s.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("another ServiceAccount: %v, want PermissionDenied", err)
	}
}
