// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/config"
)

// Limits on calls at a port that is Thrift are accepted, and programmed where sidecars
// read it; one that does not is stale, and told of nothing.
func TestThrift(t *testing.T) {
	t.Parallel()
	c := newCluster(t, config.Default())
	r := c.alone()
	ns := c.namespace
	s := newService(t, ns)
	s.Spec.Ports[0].AppProtocol = new("weir.dev/thrift")
	if err := server.client.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	old := c.connect(r, newPod(t, ns, "p1", true), features, nil)
	p := limitPolicy(ns, "calls")
	p.Spec.Limits[0].Match = []v1alpha1.Match{{Thrift: &v1alpha1.ThriftMatch{Service: "Payments", Methods: []v1alpha1.ThriftMethod{"charge"}}}}
	p.Spec.Limits[0].Key = []v1alpha1.KeyMember{{ThriftField: "1.3"}, {ThriftHeader: "X-Tenant"}}
	p.Spec.Response.Thrift = &v1alpha1.RateLimitThriftResponse{ThriftException: v1alpha1.ThriftException{ExceptionField: 2, OnewayMethods: []v1alpha1.ThriftMethod{"audit"}}}
	create(t, p)
	wantCondition(t, p, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonReconciling, "0 of 1 pod acknowledged", "a sidecar too old for it")
	if err := old.governs(); err != nil {
		t.Error(err)
	}
	young := c.connect(r, newPod(t, ns, "p2", true), []string{stream.FeatureRateLimit, stream.FeatureThrift}, nil)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonPartiallyProgrammed, "1 of 2 pods", "a sidecar too old for it")
	if err := young.governs("calls@1"); err != nil {
		t.Error(err)
	}

	edit(t, p, func(s *v1alpha1.RateLimitPolicySpec) {
		s.Limits[0].Match, s.Limits[0].Key = []v1alpha1.Match{{HTTP: &v1alpha1.HTTPMatch{}}}, nil
	})
	wantCondition(t, p, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid, "speaks Thrift, and RateLimitPolicy/calls matches nothing of it")
}
