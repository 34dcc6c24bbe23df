// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/config"
)

// status.shadow sums over pods and replicas, goes on over a sidecar's restart and a pod's
// end, and a new leader takes it over.
func TestShadowOutlivesPodsAndLeaders(t *testing.T) {
	t.Parallel()
	c := newCluster(t, config.Default())
	leader, others := c.leader(c.start("a"), c.start("b"))
	ns := c.namespace
	newService(t, ns)
	first, second := newPod(t, ns, "p1", true), newPod(t, ns, "p2", true)
	one := c.connect(leader, first, features, nil)
	two := c.connect(others[0], second, features, nil)
	p := limitPolicy(ns, "payments")
	p.Spec.Mode = v1alpha1.ModeShadow
	create(t, p)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed, "All 2 ready pods")
	wouldDeny := func(what string, want int64) {
		t.Helper()
		eventually(t, what, func() error {
			var got v1alpha1.RateLimitPolicy
			if err := server.client.Get(t.Context(), client.ObjectKeyFromObject(p), &got); err != nil {
				return err
			}
			if s := got.Status.Shadow; len(s) != 1 || s[0].Limit != "all" || s[0].WouldDeny != want {
				return fmt.Errorf("shadow %+v, want %d", s, want)
			}
			return nil
		})
	}
	count := func(n uint64) *stream.Report {
		return &stream.Report{Shadow: []*stream.ShadowCount{{Policy: "payments", Limit: "all", WouldDeny: n}}}
	}
	// A stream's second report would come too early: sidecars wait 10 s.
	again := func(s *sidecar, r *replica, pod *corev1.Pod, n uint64) *sidecar {
		t.Helper()
		s.close()
		s = c.connect(r, pod, features, nil)
		s.report(t, count(n))
		return s
	}
	one.report(t, count(7))
	two.report(t, count(5))
	wouldDeny("two pods at two replicas", 12)
	again(one, leader, first, 2)
	wouldDeny("a sidecar that has started again", 14)
	if err := server.client.Delete(t.Context(), first, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	two = again(two, others[0], second, 6)
	wouldDeny("a pod that is gone", 15)

	leader.kill()
	c.leader(others...)
	again(two, others[0], second, 9)
	wouldDeny("a new leader", 18)
}
