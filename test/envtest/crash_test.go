// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/config"
)

// crash is an operator that dies at its nth write of a status, before the API server
// has it or, when it is applied, before the operator learns of it.
type crash struct {
	at      int
	applied bool

	mu     sync.Mutex
	writes int
	dead   chan struct{}
}

var errDead = errors.New("the operator is dead")

func (c *crash) patch(ctx context.Context, cl client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	if c.at == 0 || c.writes < c.at {
		return cl.SubResource(sub).Patch(ctx, o, p, opts...)
	}
	if c.writes == c.at {
		defer close(c.dead)
		if c.applied {
			_ = cl.SubResource(sub).Patch(ctx, o, p, opts...)
		}
	}
	return errDead
}

// follow takes a policy from its creation over an edit to its last status. An operator
// that dies on the way is followed by one that does not.
func (c *crash) follow(t *testing.T) (v1alpha1.RateLimitPolicyStatus, int) {
	t.Helper()
	c.dead = make(chan struct{})
	cl := newCluster(t, config.Default())
	watching, err := client.NewWithWatch(server.config, client.Options{Scheme: server.scheme})
	if err != nil {
		t.Fatal(err)
	}
	cl.statuses = interceptor.NewClient(watching, interceptor.Funcs{SubResourcePatch: c.patch})
	ns := cl.namespace
	newService(t, ns)
	pod := newPod(t, ns, "p1", true)
	r := cl.alone()
	s := cl.connect(r, pod, features, nil)
	restart := func() {
		select {
		case <-c.dead:
		default:
			return
		}
		if cl.statuses == nil {
			return
		}
		cl.statuses = nil
		s.close()
		r.kill()
		r = cl.alone()
		s = cl.connect(r, pod, features, nil)
	}
	p := limitPolicy(ns, "payments")
	create(t, p)
	settled := func(generation int64) *v1alpha1.RateLimitPolicy {
		got := &v1alpha1.RateLimitPolicy{}
		eventually(t, fmt.Sprintf("generation %d is not programmed", generation), func() error {
			restart()
			if err := server.client.Get(t.Context(), client.ObjectKeyFromObject(p), got); err != nil {
				return err
			}
			return hasCondition(got.Status.Conditions, generation, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
		})
		return got
	}
	settled(1)
	edit(t, p, func(s *v1alpha1.RateLimitPolicySpec) { s.Limits[0].Limit = 6 })
	got := settled(2)
	if err := s.governs("payments@2"); err != nil {
		t.Error(err)
	}
	for i := range got.Status.Conditions {
		got.Status.Conditions[i].LastTransitionTime = metav1.Time{}
	}
	for i := range got.Status.Targets {
		for j := range got.Status.Targets[i].Conditions {
			got.Status.Targets[i].Conditions[j].LastTransitionTime = metav1.Time{}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return got.Status, c.writes
}

// Wherever the operator dies between a policy and its status, the next one ends where
// it would have ended.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	want, writes := (&crash{}).follow(t)
	if writes < 3 {
		t.Fatalf("%d writes: this test looks in the wrong place", writes)
	}
	t.Logf("%d writes", writes)
	for at := 1; at <= writes; at++ {
		for _, applied := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d, applied %v", at, applied), func(t *testing.T) {
				t.Parallel()
				got, _ := (&crash{at: at, applied: applied}).follow(t)
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
			})
		}
	}
}
