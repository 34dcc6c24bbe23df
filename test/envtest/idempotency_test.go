// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/config"
	"weir.dev/weir/controllers/keys"
)

var idempotent = []string{stream.FeatureIdempotency, stream.FeatureRateLimit}

// withStores is a configuration with stores of these names.
func withStores(names ...string) config.Config {
	c := config.Default()
	for _, name := range names {
		c.Stores = append(c.Stores, config.Store{
			Name: name, KeyPrefix: "weir", AllowedNamespaces: config.AllowedNamespaces{From: config.FromAll},
			Redis: &config.Redis{Mode: config.RedisStandalone, Addresses: []string{"redis:6379"}},
		})
	}
	return c
}

// oncePolicy is an IdempotencyPolicy for the Service payments.
func oncePolicy(ns, name string) *v1alpha1.IdempotencyPolicy {
	return &v1alpha1.IdempotencyPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns},
		Spec: v1alpha1.IdempotencyPolicySpec{
			TargetRefs: []v1alpha1.TargetRef{{Kind: "Service", Name: "payments"}},
			Scope:      []v1alpha1.KeyMember{{Cookie: "session"}},
		},
	}
}

// wantOnce is wantCondition of an IdempotencyPolicy; it looks at the target too.
func wantOnce(t *testing.T, p *v1alpha1.IdempotencyPolicy, kind v1alpha1.ConditionType, status metav1.ConditionStatus,
	reason v1alpha1.ConditionReason, words ...string,
) *v1alpha1.IdempotencyPolicy {
	t.Helper()
	got := &v1alpha1.IdempotencyPolicy{}
	eventually(t, fmt.Sprintf("%s of %s is not %s %s", kind, p.Name, status, reason), func() error {
		if err := server.client.Get(t.Context(), client.ObjectKeyFromObject(p), got); err != nil {
			return err
		}
		return hasCondition(got.Status.Conditions, got.Generation, kind, status, reason, words...)
	})
	return got
}

func editOnce(t *testing.T, p *v1alpha1.IdempotencyPolicy, change func(*v1alpha1.IdempotencyPolicySpec)) {
	t.Helper()
	eventually(t, "edit "+p.Name, func() error {
		if err := server.client.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		change(&p.Spec)
		return server.client.Update(t.Context(), p)
	})
}

// From its creation to its end: it governs a port beside a limit, and each kind is acked
// by itself. The namespace's key comes before the snapshot that needs it, and goes with it.
func TestIdempotencyPolicy(t *testing.T) {
	t.Parallel()
	c := newCluster(t, withStores("default"))
	r := c.alone()
	ns := c.namespace
	newService(t, ns)
	early := make(chan string, 16)
	var s *sidecar
	s = c.connect(r, newPod(t, ns, "p1", true), idempotent, func(snap *snapshot.Snapshot) *stream.Nack {
		// take holds the lock that guards secrets.
		if v := snap.GetNamespaceKeyVersion(); v != s.secrets.GetNamespaceKey().GetVersion() && v != "" {
			early <- v
		}
		return nil
	})
	eventually(t, "nothing governs at first", func() error { return s.governs() })
	p := oncePolicy(ns, "once")
	create(t, p)
	got := wantOnce(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed, "The 1 ready pod")
	wantOnce(t, p, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted, compile.AcceptedMessage)
	if got.Status.Rollout == nil || got.Status.Rollout.Current != 1 || len(got.Status.Targets) != 1 {
		t.Errorf("status %+v", got.Status)
	}
	l := limitPolicy(ns, "limits")
	create(t, l)
	wantCondition(t, l, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	if err := s.governs("IdempotencyPolicy/once@1", "limits@1"); err != nil {
		t.Error(err)
	}
	var root corev1.Secret
	if err := server.client.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: keys.SecretName}, &root); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	want := stream.DeriveNamespaceKey(root.Data[keys.MemberCurrent], root.Data[keys.MemberPrevious], "test", ns)
	if key := s.secrets.GetNamespaceKey(); !bytes.Equal(key.GetCurrent(), want.GetCurrent()) || key.GetVersion() != want.GetVersion() {
		t.Error("the namespace's key is not the one that is derived from the root key")
	}
	if err := snapshot.Validate(s.serving.GetSnapshot()); err != nil {
		t.Error(err)
	}
	s.mu.Unlock()

	editOnce(t, p, func(spec *v1alpha1.IdempotencyPolicySpec) { spec.Retention = "48h" })
	wantOnce(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed, "generation 2")
	if err := server.client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the limit alone is left", func() error {
		if err := s.governs("limits@1"); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if v := s.serving.GetSnapshot().GetNamespaceKeyVersion(); v != "" {
			return fmt.Errorf("the snapshot names the key %s", v)
		}
		return nil
	})
	select {
	case v := <-early:
		t.Errorf("a snapshot named the key %s before it came", v)
	default:
	}
}

// Why a policy is not accepted, one reason after the other.
func TestIdempotencyVerdicts(t *testing.T) {
	t.Parallel()
	settings := withStores("default", "theirs", "with-credentials")
	settings.Stores[1].AllowedNamespaces = config.AllowedNamespaces{From: config.FromNames, Names: []string{"other"}}
	settings.Stores[2].Redis.Credentials.Secret = "nobody-made-it"
	c := newCluster(t, settings)
	c.alone()
	ns := c.namespace
	p := oncePolicy(ns, "once")
	create(t, p)
	wantOnce(t, p, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonTargetNotFound, "no Service payments")
	newService(t, ns)
	wantOnce(t, p, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	wantOnce(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionUnknown, v1alpha1.ReasonNoPods)

	younger := oncePolicy(ns, "younger")
	create(t, younger)
	wantOnce(t, younger, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonConflicted, "IdempotencyPolicy/once")
	// The domain of limits is another one.
	l := limitPolicy(ns, "limits")
	create(t, l)
	wantCondition(t, l, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)

	for _, step := range []struct {
		change func(*v1alpha1.IdempotencyPolicySpec)
		reason v1alpha1.ConditionReason
		words  []string
	}{
		{func(s *v1alpha1.IdempotencyPolicySpec) {
			s.TargetRefs = append(s.TargetRefs, v1alpha1.TargetRef{Kind: "Service", Name: "nowhere"})
		}, v1alpha1.ReasonPartiallyAccepted, []string{"no Service nowhere"}},
		{func(s *v1alpha1.IdempotencyPolicySpec) { s.TargetRefs = s.TargetRefs[:1]; s.StoreRef.Name = "missing" },
			v1alpha1.ReasonInvalid, []string{"spec.storeRef.name", "default and with-credentials"}},
		{func(s *v1alpha1.IdempotencyPolicySpec) { s.StoreRef.Name = "theirs" }, v1alpha1.ReasonRefNotPermitted, []string{"allowedNamespaces"}},
		{func(s *v1alpha1.IdempotencyPolicySpec) { s.StoreRef.Name = "with-credentials" }, v1alpha1.ReasonAccepted,
			[]string{"Warning: The Secret nobody-made-it", "failurePolicy Closed holds"}},
		{func(s *v1alpha1.IdempotencyPolicySpec) {
			s.StoreRef.Name, s.Scope = "default", []v1alpha1.KeyMember{{Header: "X-Client-Id"}}
		}, v1alpha1.ReasonAccepted, []string{"Warning: Any client of payments can choose the value of x-client-id, which spec.scope[0].header tells clients apart by"}},
		{func(s *v1alpha1.IdempotencyPolicySpec) { s.Scope = []v1alpha1.KeyMember{{ThriftField: "1.3"}} },
			v1alpha1.ReasonUnsupported, []string{"spec.scope[0].thriftField"}},
		{func(s *v1alpha1.IdempotencyPolicySpec) {
			s.Scope = []v1alpha1.KeyMember{{JWTClaim: &v1alpha1.JWTClaimKey{Provider: "idp", Claim: "sub"}}}
		}, v1alpha1.ReasonInvalid, []string{"spec.scope[0].jwtClaim.provider"}},
	} {
		editOnce(t, p, step.change)
		status := metav1.ConditionFalse
		if step.reason == v1alpha1.ReasonAccepted || step.reason == v1alpha1.ReasonPartiallyAccepted {
			status = metav1.ConditionTrue
		}
		wantOnce(t, p, v1alpha1.ConditionAccepted, status, step.reason, step.words...)
	}
	// Who is not accepted competes for nothing.
	wantOnce(t, younger, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
}

// The key that encrypts: missing, not labelled, without its member, then there; a
// rotation is acked again though the generation stays.
func TestEncryptionKeys(t *testing.T) {
	t.Parallel()
	c := newCluster(t, withStores("default"))
	r := c.alone()
	ns := c.namespace
	newService(t, ns)
	s := c.connect(r, newPod(t, ns, "p1", true), idempotent, nil)
	p := oncePolicy(ns, "once")
	p.Spec.Encryption = &v1alpha1.Encryption{SecretRef: v1alpha1.SecretRef{Name: "idem-keys"}}
	create(t, p)
	wantOnce(t, p, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid, "There is no Secret idem-keys")
	one, two := strings.Repeat("1", 32), strings.Repeat("2", 32)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "idem-keys", Namespace: ns}, StringData: map[string]string{"other": one}}
	create(t, secret)
	wantOnce(t, p, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonRefNotPermitted, `weir.dev/use: "true"`, "kubectl label secret idem-keys")
	update := func(data map[string]string) {
		t.Helper()
		secret.Labels, secret.StringData = map[string]string{keys.LabelUse: keys.UseTrue}, data
		if err := server.client.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
	}
	update(nil)
	wantOnce(t, p, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid, "has no member secret")
	update(map[string]string{"secret": "short"})
	wantOnce(t, p, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid, "has 5 bytes")
	serves := func(current, previous string) func() error {
		return func() error {
			s.mu.Lock()
			defer s.mu.Unlock()
			list := s.secrets.GetKeys()
			if len(list) != 1 || list[0].GetName() != "idem-keys/secret/previous" || string(list[0].GetCurrent()) != current || string(list[0].GetPrevious()) != previous {
				return fmt.Errorf("%d keys, not the expected one", len(list))
			}
			policies := s.serving.GetSnapshot().GetIdempotencyPolicies()
			if len(policies) != 1 || policies[0].GetEncryptionKey() != list[0].GetName() || policies[0].GetEncryptionVersion() != list[0].GetVersion() {
				return fmt.Errorf("the snapshot that serves names another key")
			}
			return nil
		}
	}
	update(map[string]string{"secret": one})
	eventually(t, "the key does not come", serves(one, ""))
	wantOnce(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	update(map[string]string{"secret": two, "previous": one})
	eventually(t, "the rotation does not come", serves(two, one))
	got := wantOnce(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed, "generation 1")
	text := fmt.Sprintf("%+v", got.Status)
	if strings.Contains(text, one) || strings.Contains(text, two) {
		t.Errorf("the status has a key: %s", text)
	}
	if err := server.client.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	wantOnce(t, p, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid, "There is no Secret idem-keys")
	eventually(t, "the policy is taken away", func() error { return s.governs() })
}

// A sidecar that cannot keep the promise is not told of it, is counted as stale, and
// goes on with the limits of the port.
func TestSidecarsWithoutIdempotency(t *testing.T) {
	t.Parallel()
	c := newCluster(t, withStores("default"))
	r := c.alone()
	ns := c.namespace
	newService(t, ns)
	old := c.connect(r, newPod(t, ns, "p1", true), features, nil)
	l, p := limitPolicy(ns, "limits"), oncePolicy(ns, "once")
	create(t, l)
	create(t, p)
	got := wantOnce(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonReconciling, "0 of 1 pod acknowledged", "a sidecar too old for it")
	if got.Status.Rollout == nil || got.Status.Rollout.Stale != 1 {
		t.Errorf("rollout %+v, want one that is stale", got.Status.Rollout)
	}
	wantCondition(t, l, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	if err := old.governs("limits@1"); err != nil {
		t.Error(err)
	}
	young := c.connect(r, newPod(t, ns, "p2", true), idempotent, nil)
	wantOnce(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonPartiallyProgrammed, "1 of 2 pods", "a sidecar too old for it")
	if err := young.governs("IdempotencyPolicy/once@1", "limits@1"); err != nil {
		t.Error(err)
	}
}

// A refusal is about the policy at fault alone.
func TestIdempotencyIsRefused(t *testing.T) {
	t.Parallel()
	c := newCluster(t, withStores("default"))
	r := c.alone()
	ns := c.namespace
	newService(t, ns)
	s := c.connect(r, newPod(t, ns, "p1", true), idempotent, func(snap *snapshot.Snapshot) *stream.Nack {
		for _, p := range snap.GetIdempotencyPolicies() {
			if p.GetGeneration() == 1 {
				return &stream.Nack{Policy: stream.KindIdempotencyPolicy + "/" + p.GetName(), Reason: "It is not to my taste."}
			}
		}
		return nil
	})
	l, p := limitPolicy(ns, "limits"), oncePolicy(ns, "once")
	create(t, l)
	create(t, p)
	wantOnce(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonRejected, "It is not to my taste.")
	wantCondition(t, l, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	editOnce(t, p, func(spec *v1alpha1.IdempotencyPolicySpec) { spec.Retention = "12h" })
	wantOnce(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	if err := s.governs("IdempotencyPolicy/once@2", "limits@1"); err != nil {
		t.Error(err)
	}
}

// What sidecars report reaches the status: what Shadow would have done, over leaders, a
// store that forgets, and everybody behind one peer.
func TestIdempotencyReports(t *testing.T) {
	t.Parallel()
	c := newCluster(t, withStores("default"))
	leader, others := c.leader(c.start("a"), c.start("b"))
	ns := c.namespace
	service := newService(t, ns)
	service.Spec.Ports[0].TargetPort = intstr.FromInt32(8080)
	pod := newPod(t, ns, "p1", true)
	s := c.connect(leader, pod, idempotent, nil)
	p := oncePolicy(ns, "once")
	p.Spec.Mode = v1alpha1.ModeShadow
	p.Spec.Scope = []v1alpha1.KeyMember{{ClientIP: &v1alpha1.ClientIPKey{}}}
	create(t, p)
	wantOnce(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	counts := func(what, want string) {
		t.Helper()
		eventually(t, what, func() error {
			var got v1alpha1.IdempotencyPolicy
			if err := server.client.Get(t.Context(), client.ObjectKeyFromObject(p), &got); err != nil {
				return err
			}
			if text := fmt.Sprint(got.Status.Shadow); text != want {
				return fmt.Errorf("shadow %s, want %s", text, want)
			}
			return nil
		})
	}
	counts("nothing yet", "[{refuse 0} {replay 0} {wait 0}]")
	report := func(replay, refuse, wait uint64) *stream.Report {
		return &stream.Report{
			IdempotencyShadow: []*stream.IdempotencyShadow{{Policy: "once", WouldReplay: replay, WouldRefuse: refuse, WouldWait: wait}},
			Stores:            []*stream.StoreProblem{{Store: "default", Kind: stream.StoreProblem_KIND_EVICTION, Detail: "allkeys-lru"}},
			Problems:          []*stream.PortProblem{{Kind: stream.PortProblem_KIND_FEW_PEERS, Port: 8080}},
		}
	}
	s.report(t, report(3, 2, 1))
	counts("a first report", "[{refuse 2} {replay 3} {wait 1}]")
	wantOnce(t, p, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted,
		"maxmemory-policy allkeys-lru", "noeviction", "Over 90 % of the requests to container port 8080", "The policy's scope has clientIP")
	leader.kill()
	c.leader(others...)
	s.close()
	s = c.connect(others[0], pod, idempotent, nil)
	s.report(t, report(4, 2, 1))
	counts("a new leader", "[{refuse 2} {replay 3} {wait 1}]")
}

// Another root key is a change of every snapshot that needs one.
func TestRootKeyIsRotated(t *testing.T) {
	// Not parallel: the root key is everybody's.
	c := newCluster(t, withStores("default"))
	r := c.alone()
	ns := c.namespace
	newService(t, ns)
	s := c.connect(r, newPod(t, ns, "p1", true), idempotent, nil)
	p := oncePolicy(ns, "once")
	create(t, p)
	wantOnce(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	s.mu.Lock()
	before := s.secrets.GetNamespaceKey()
	s.mu.Unlock()
	var root corev1.Secret
	if err := server.client.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: keys.SecretName}, &root); err != nil {
		t.Fatal(err)
	}
	root.Data[keys.MemberPrevious] = root.Data[keys.MemberCurrent]
	root.Data[keys.MemberCurrent] = []byte(rand.Text() + rand.Text())
	if err := server.client.Update(t.Context(), &root); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new key does not come", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		key := s.secrets.GetNamespaceKey()
		if !bytes.Equal(key.GetPrevious(), before.GetCurrent()) || bytes.Equal(key.GetCurrent(), before.GetCurrent()) {
			return fmt.Errorf("the key is the one before")
		}
		if v := s.serving.GetSnapshot().GetNamespaceKeyVersion(); v != key.GetVersion() || v == before.GetVersion() {
			return fmt.Errorf("the snapshot that serves is of version %s", v)
		}
		return nil
	})
	wantOnce(t, p, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
}
