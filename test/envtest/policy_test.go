// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/config"
	"weir.dev/weir/controllers/keys"
	"weir.dev/weir/controllers/status"
)

// Streams are split over two replicas; the leader writes what both know, is killed,
// and the other goes on.
func TestTwoReplicas(t *testing.T) {
	t.Parallel()
	c := newCluster(t, config.Default())
	leader, others := c.leader(c.start("a"), c.start("b"))
	ns := c.namespace
	newService(t, ns)
	first, second := newPod(t, ns, "p1", true), newPod(t, ns, "p2", true)
	one := c.connect(leader, first, features, nil)
	two := c.connect(others[0], second, features, nil)
	eventually(t, "pods that nothing governs get an empty snapshot", func() error { return one.governs() })

	p := limitPolicy(ns, "payments")
	start := time.Now()
	create(t, p)
	got := wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed, "All 2 ready pods")
	t.Logf("apply to Programmed: %v", time.Since(start).Round(time.Millisecond))
	if r := got.Status.Rollout; r == nil || r.Pods != 2 || r.Current != 2 {
		t.Errorf("rollout %+v, want 2 of 2", r)
	}
	if len(got.Status.Targets) != 1 || got.Status.Targets[0].Pods != 2 {
		t.Errorf("targets %+v, want one with 2 pods", got.Status.Targets)
	}

	leader.kill()
	one = c.connect(others[0], first, features, nil)
	edit(t, p, func(s *v1alpha1.RateLimitPolicySpec) { s.Limits[0].Limit = 6 })
	eventually(t, "the survivor does not publish", func() error { return two.governs("payments@2") })
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed, "All 2 ready pods")
	if err := one.governs("payments@2"); err != nil {
		t.Error(err)
	}
}

// A new leader that has not heard of all streams yet does not take Programmed back.
func TestLeaderTakesOverQuietly(t *testing.T) {
	t.Parallel()
	c := newCluster(t, config.Default())
	leader, others := c.leader(c.start("a"), c.start("b"))
	ns := c.namespace
	newService(t, ns)
	pod := newPod(t, ns, "p1", true)
	c.connect(leader, pod, features, nil)
	p := limitPolicy(ns, "payments")
	create(t, p)
	before := wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	leader.kill()
	c.leader(others...)
	time.Sleep(time.Second) // The pod is nowhere connected meanwhile.
	c.connect(others[0], pod, features, nil)
	time.Sleep(time.Second)
	after := wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	if before.ResourceVersion != after.ResourceVersion {
		t.Errorf("the status was written:\n%+v\n%+v", before.Status, after.Status)
	}
}

func TestPodsComeAndGo(t *testing.T) {
	t.Parallel()
	c := newCluster(t, config.Default())
	r := c.alone()
	ns := c.namespace
	p := limitPolicy(ns, "payments")
	create(t, p)
	wantCondition(t, p, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonTargetNotFound, "no Service payments")
	newService(t, ns)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionUnknown, v1alpha1.ReasonNoPods)
	bare := newPod(t, ns, "bare", false)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonNoSidecars, "weir.dev/inject=enabled", "kubectl rollout restart")
	pod := newPod(t, ns, "p1", true)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonReconciling)
	one := c.connect(r, pod, features, nil)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonPartiallyProgrammed, "1 of 2 pods", "1 pod has no sidecar")
	if err := server.client.Delete(t.Context(), bare, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed, "The 1 ready pod")

	// A scaled-up pod counts only once it has acked.
	more := newPod(t, ns, "p2", true)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonReconciling, "1 of 2 pods")
	two := c.connect(r, more, features, nil)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed, "All 2 ready pods")
	eventually(t, "the pods learn of each other", func() error {
		one.mu.Lock()
		defer one.mu.Unlock()
		if n := one.peers.GetPolicies(); len(n) != 1 || n[0].GetReadyPods() != 2 {
			return fmt.Errorf("peers are %v", n)
		}
		return nil
	})

	if err := server.client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a deleted policy is still served", func() error { return two.governs() })
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	c := newCluster(t, config.Default())
	r := c.alone()
	ns := c.namespace
	newService(t, ns)
	pod := newPod(t, ns, "p1", true)
	s := c.connect(r, pod, features, func(s *snapshot.Snapshot) *stream.Nack {
		for _, p := range s.GetRateLimitPolicies() {
			if p.GetLimits()[0].GetLimit() == 13 {
				return &stream.Nack{Policy: "RateLimitPolicy/" + p.GetName(), Reason: "Thirteen is unlucky."}
			}
		}
		return nil
	})
	p := limitPolicy(ns, "payments")
	create(t, p)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	edit(t, p, func(s *v1alpha1.RateLimitPolicySpec) { s.Limits[0].Limit = 13 })
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonRejected, "Thirteen is unlucky.")
	if err := s.governs("payments@1"); err != nil {
		t.Errorf("the old policy does not go on: %v", err)
	}
	edit(t, p, func(s *v1alpha1.RateLimitPolicySpec) { s.Limits[0].Limit = 14 })
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	if err := s.governs("payments@3"); err != nil {
		t.Error(err)
	}
}

// An ack of a policy says nothing of its successor of the same name, whose first
// generation has the same number.
func TestSuccessor(t *testing.T) {
	t.Parallel()
	c := newCluster(t, config.Default())
	r := c.alone()
	ns := c.namespace
	newService(t, ns)
	pod := newPod(t, ns, "p1", true)
	s := c.connect(r, pod, features, nil)
	p := limitPolicy(ns, "payments")
	create(t, p)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	s.close()
	if err := server.client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	p = limitPolicy(ns, "payments")
	create(t, p)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonReconciling, "0 of 1 pod")
	c.connect(r, pod, features, nil)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
}

func TestOldSidecar(t *testing.T) {
	t.Parallel()
	c := newCluster(t, config.Default())
	r := c.alone()
	ns := c.namespace
	newService(t, ns)
	s := c.connect(r, newPod(t, ns, "p1", true), []string{"something/v9"}, nil)
	p := limitPolicy(ns, "payments")
	create(t, p)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonReconciling, "a sidecar too old for it")
	if err := s.governs(); err != nil {
		t.Error(err)
	}
}

// A sidecar that cannot read gRPC goes on limiting the ports that it can read, and the
// status says that it is too old.
func TestSidecarTooOldForAPort(t *testing.T) {
	t.Parallel()
	c := newCluster(t, config.Default())
	r := c.alone()
	ns := c.namespace
	service := newService(t, ns)
	service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{Name: "grpc", Port: 81, TargetPort: intstr.FromInt32(9090)})
	if err := server.client.Update(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	old := c.connect(r, newPod(t, ns, "p1", true), features, nil)
	p := limitPolicy(ns, "payments")
	create(t, p)
	wantCondition(t, p, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonReconciling, "a sidecar too old for it")
	eventually(t, "the old sidecar does not govern its port", func() error { return old.governs("payments@1") })
	old.mu.Lock()
	if got := len(old.serving.GetSnapshot().GetPorts()); got != 1 {
		t.Errorf("%d ports, want the one of HTTP", got)
	}
	old.mu.Unlock()
	young := c.connect(r, newPod(t, ns, "p2", true), []string{stream.FeatureH2C, stream.FeatureRateLimit}, nil)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonPartiallyProgrammed, "1 of 2 pods", "a sidecar too old for it")
	if err := young.governs("payments@1"); err != nil {
		t.Error(err)
	}
}

// What sidecars count reaches the status: shadow denials, TLS at a governed port, and
// that few peers speak for all clients.
func TestReports(t *testing.T) {
	t.Parallel()
	c := newCluster(t, config.Default())
	r := c.alone()
	ns := c.namespace
	newService(t, ns)
	s := c.connect(r, newPod(t, ns, "p1", true), features, nil)
	p := limitPolicy(ns, "payments")
	p.Spec.Mode = v1alpha1.ModeShadow
	p.Spec.Limits[0].Key = []v1alpha1.KeyMember{{ClientIP: &v1alpha1.ClientIPKey{}}}
	create(t, p)
	wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	s.report(t, &stream.Report{
		Shadow: []*stream.ShadowCount{{Policy: "payments", Limit: "all", WouldDeny: 7}},
		Problems: []*stream.PortProblem{
			{Kind: stream.PortProblem_KIND_ENCRYPTED_TRAFFIC, Port: 8080, Count: 1}, {Kind: stream.PortProblem_KIND_FEW_PEERS, Port: 8080},
		},
	})
	wantCondition(t, p, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "Warning: Over 90 % of the requests to container port 8080")
	got := wantCondition(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonEncryptedTraffic, "8080")
	if len(got.Status.Shadow) != 1 || got.Status.Shadow[0].WouldDeny != 7 {
		t.Errorf("shadow %+v, want 7", got.Status.Shadow)
	}
}

func TestVerdictsReachStatus(t *testing.T) {
	t.Parallel()
	c := newCluster(t, config.Default())
	c.alone()
	ns := c.namespace
	newService(t, ns)

	older := limitPolicy(ns, "a-older")
	create(t, older)
	wantCondition(t, older, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	younger := limitPolicy(ns, "b-younger")
	create(t, younger)
	wantCondition(t, younger, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonConflicted, "RateLimitPolicy/a-older")
	if err := server.client.Delete(t.Context(), older); err != nil {
		t.Fatal(err)
	}
	wantCondition(t, younger, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)

	edit(t, younger, func(s *v1alpha1.RateLimitPolicySpec) {
		s.Response.Thrift = &v1alpha1.RateLimitThriftResponse{ExceptionCode: new(int32(0))}
	})
	got := wantCondition(t, younger, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonUnsupported, "spec.response.thrift.exceptionCode")
	if err := hasCondition(got.Status.Targets[0].Conditions, got.Generation, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonUnsupported); err != nil {
		t.Errorf("target: %v", err)
	}
	edit(t, younger, func(s *v1alpha1.RateLimitPolicySpec) {
		s.Response.Thrift = nil
		s.Limits[0].Scope = v1alpha1.LimitScopeCluster
	})
	wantCondition(t, younger, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid, "spec.storeRef.name")
}

// Credentials come before the snapshot that needs them, and again when they change.
func TestCredentials(t *testing.T) {
	t.Parallel()
	name := fmt.Sprintf("redis-%d", server.names.Add(1))
	settings := config.Default()
	settings.Stores = []config.Store{{
		Name: "default", KeyPrefix: "weir", AllowedNamespaces: config.AllowedNamespaces{From: config.FromAll},
		Redis: &config.Redis{Mode: config.RedisStandalone, Addresses: []string{"redis:6379"}, Credentials: config.Credentials{Secret: name}},
	}}
	c := newCluster(t, settings)
	r := c.alone()
	ns := c.namespace
	newService(t, ns)
	s := c.connect(r, newPod(t, ns, "p1", true), features, nil)
	p := limitPolicy(ns, "payments")
	p.Spec.Limits[0].Scope = v1alpha1.LimitScopeCluster
	create(t, p)
	wantCondition(t, p, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "The Secret "+name)

	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: systemNamespace, Labels: map[string]string{keys.LabelUse: keys.UseTrue}},
		StringData: map[string]string{"username": "weir", "password": "one"},
	}
	create(t, secret)
	hasPassword := func(want string) func() error {
		return func() error {
			s.mu.Lock()
			defer s.mu.Unlock()
			stores := s.secrets.GetStores()
			if len(stores) != 1 || stores[0].GetPassword() != want || stores[0].GetUsername() != "weir" {
				return fmt.Errorf("%d credentials, not the expected ones", len(stores))
			}
			if got := s.serving.GetSnapshot().GetStores(); len(got) != 1 || got[0].GetCredentialsVersion() != stores[0].GetVersion() {
				return fmt.Errorf("the snapshot is of another version")
			}
			return nil
		}
	}
	eventually(t, "credentials do not come", hasPassword("one"))
	secret.StringData = map[string]string{"password": "two"}
	if err := server.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	eventually(t, "credentials are not renewed", hasPassword("two"))
}

// A status is never written to a policy's successor of the same name.
func TestStatusKeepsOffSuccessors(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	p := limitPolicy(ns, "payments")
	create(t, p)
	store := &status.Cluster{Reader: server.client, Writer: server.client}
	id := status.ID{Namespace: ns, PolicyID: attach.PolicyID{Kind: v1alpha1.KindRateLimitPolicy, Name: p.Name}}
	doc := status.Document{PolicyStatus: v1alpha1.PolicyStatus{Rollout: &v1alpha1.RolloutStatus{Pods: 3}}}
	if err := store.Write(t.Context(), id, types.UID("another"), doc); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	if err := store.Write(t.Context(), id, p.UID, doc); err != nil {
		t.Fatal(err)
	}
	if err := store.Write(t.Context(), id, p.UID, status.Document{}); err != nil {
		t.Fatal(err)
	}
	_, got, err := store.Read(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if got.Rollout != nil {
		t.Errorf("an empty field was not removed: %+v", got.Rollout)
	}
	id.Name = "nobody"
	if err := store.Write(t.Context(), id, p.UID, doc); !apierrors.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
}
