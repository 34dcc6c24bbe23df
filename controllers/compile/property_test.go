// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/config"
)

// The order of lists changes neither snapshots nor verdicts, and every snapshot is
// valid.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		in := anyInput(r)
		before := printOutput(t, Compile(in))
		out := Compile(shuffled(r, in))
		if d := cmp.Diff(string(before), string(printOutput(t, out))); d != "" {
			r.Fatalf("another order gives another result:\n%s", d)
		}
		for _, w := range out.Workloads {
			if err := snapshot.Validate(w.Snapshot); err != nil {
				r.Fatalf("snapshot: %v", err)
			}
		}
	})
}

// Whoever governs a port was accepted at a target, and a pod behind an accepted
// target is in a workload that the policy governs.
func TestVerdictsAgreeWithSnapshots(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		out := Compile(anyInput(r))
		governed := map[attach.PolicyID]map[string]bool{} // policy, pod
		for _, w := range out.Workloads {
			for _, port := range w.Snapshot.GetPorts() {
				for _, id := range snapshot.Governing(port) {
					for _, pod := range w.Pods {
						if governed[id] == nil {
							governed[id] = map[string]bool{}
						}
						governed[id][pod.Name] = true
					}
				}
			}
		}
		for _, v := range out.Verdicts {
			behind := map[string]bool{}
			accepted := false
			for _, target := range v.Targets {
				accepted = accepted || target.Accepted()
				if !target.Accepted() && len(target.Pods) > 0 {
					r.Fatalf("%s: %s is not accepted and has pods", v.Policy, target.Name)
				}
				for _, pod := range target.Pods {
					behind[pod.Name] = true
				}
			}
			if accepted != v.Accepted() {
				r.Fatalf("%s: accepted %v, but at a target %v", v.Policy, v.Accepted(), accepted)
			}
			want := governed[v.Policy]
			if len(behind) == 0 && len(want) == 0 {
				continue
			}
			if d := cmp.Diff(want, behind); d != "" {
				r.Fatalf("%s: pods of snapshots and of targets (-snapshots +targets):\n%s", v.Policy, d)
			}
		}
	})
}

// Adding a younger policy without sectionName takes nothing from anybody.
func TestYoungerPolicyTakesNothing(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		in := anyInput(r)
		before := verdictsByPolicy(Compile(in))
		young := anyPolicy(r, "zz-young")
		young.CreationTimestamp = metav1.NewTime(epoch.Add(1000 * time.Hour))
		for i := range young.Spec.TargetRefs {
			young.Spec.TargetRefs[i].SectionName = ""
		}
		in.RateLimitPolicies = append(in.RateLimitPolicies, young)
		after := verdictsByPolicy(Compile(in))
		delete(after, attach.PolicyID{Kind: v1alpha1.KindRateLimitPolicy, Name: "zz-young"})
		if d := cmp.Diff(before, after); d != "" {
			r.Fatalf("(-before +after):\n%s", d)
		}
	})
}

func verdictsByPolicy(out Output) map[attach.PolicyID]Verdict {
	all := map[attach.PolicyID]Verdict{}
	for _, v := range out.Verdicts {
		all[v.Policy] = v
	}
	return all
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func anyInput(r *rapid.T) Input {
	in := Input{Cluster: "c", Namespace: "shop", Config: config.Default()}
	in.Config.Stores = []config.Store{{Name: "default", KeyPrefix: "weir"}, {Name: "other", KeyPrefix: "weir"}}
	for i := range rapid.IntRange(1, 4).Draw(r, "services") {
		in.Services = append(in.Services, anyService(r, fmt.Sprintf("s%d", i)))
	}
	for i := range rapid.IntRange(0, 5).Draw(r, "pods") {
		in.Pods = append(in.Pods, anyPod(r, fmt.Sprintf("p%d", i)))
	}
	for i := range rapid.IntRange(0, 5).Draw(r, "policies") {
		in.RateLimitPolicies = append(in.RateLimitPolicies, anyPolicy(r, fmt.Sprintf("p%d", i)))
	}
	in.NamespaceKey = "1"
	in.Secrets = map[string]Secret{"keys": {Labelled: true, Version: "1", Bytes: map[string]int{"secret": 32}}, "private": {}}
	for i := range rapid.IntRange(0, 3).Draw(r, "idempotency") {
		in.IdempotencyPolicies = append(in.IdempotencyPolicies, anyIdempotency(r, fmt.Sprintf("p%d", i)))
	}
	return in
}

func anyService(r *rapid.T, name string) corev1.Service {
	s := corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{}}}
	s.Spec.Selector = rapid.SampledFrom([]map[string]string{
		{"app": "a"}, {"app": "b"}, {"app": "a", "tier": "x"}, {"tier": "x"}, nil,
	}).Draw(r, "selector")
	names := rapid.Permutation([]string{"http", "grpc", "thrift-a", "web", ""}).Draw(r, "port names")
	for i := range rapid.IntRange(0, 3).Draw(r, "ports") {
		p := corev1.ServicePort{Name: names[i], Port: int32(80 + i)}
		p.TargetPort = rapid.SampledFrom([]intstr.IntOrString{
			intstr.FromInt32(8080), intstr.FromInt32(8081), intstr.FromString("http"), intstr.FromString("web"), {},
		}).Draw(r, "target port")
		s.Spec.Ports = append(s.Spec.Ports, p)
	}
	for k, values := range map[string][]string{
		attach.AnnotationTrustedProxies:  {"10.0.0.0/8", "192.168.0.0/16,10.1.0.0/16", ""},
		attach.AnnotationIdentityHeaders: {"X-A", "x-b, X-a"},
		attach.AnnotationOpaquePorts:     {"80", "web", "99"},
		attach.AnnotationResponseTimeout: {"30s", "0s,/a=1m", "/a=2m, /b=0s,10s", "soon"},
		attach.AnnotationMaxBody:         {"1Ki", "2M", "much"},
	} {
		if rapid.IntRange(0, 3).Draw(r, k) == 0 {
			s.Annotations[k] = rapid.SampledFrom(values).Draw(r, "value")
		}
	}
	return s
}

func anyPod(r *rapid.T, name string) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("u-" + name)}}
	p.Labels = rapid.SampledFrom([]map[string]string{
		{"app": "a"}, {"app": "b"}, {"app": "a", "tier": "x"}, {"app": "b", "tier": "x"}, nil,
	}).Draw(r, "labels")
	c := corev1.Container{Name: "app"}
	for _, port := range []string{"http", "web"} {
		if rapid.Bool().Draw(r, port) {
			c.Ports = append(c.Ports, corev1.ContainerPort{
				Name: port, ContainerPort: rapid.SampledFrom([]int32{8080, 8081, 8082}).Draw(r, "container port"),
			})
		}
	}
	p.Spec.Containers = []corev1.Container{c}
	if rapid.Bool().Draw(r, "ready") {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	return p
}

func anyPolicy(r *rapid.T, name string) v1alpha1.RateLimitPolicy {
	p := v1alpha1.RateLimitPolicy{ObjectMeta: metav1.ObjectMeta{
		Name: name, Generation: 1,
		CreationTimestamp: metav1.NewTime(epoch.Add(time.Duration(rapid.IntRange(0, 2).Draw(r, "age")) * time.Hour)),
	}}
	p.Spec.StoreRef.Name = rapid.SampledFrom([]v1alpha1.ObjectName{"default", "other", "missing"}).Draw(r, "store")
	targets := rapid.SliceOfNDistinct(rapid.SampledFrom([]v1alpha1.TargetRef{
		{Name: "s0"}, {Name: "s1"}, {Name: "s2"}, {Name: "s3"}, {Name: "s9"},
		{Name: "s0", SectionName: "http"}, {Name: "s0", SectionName: "80"}, {Name: "s1", SectionName: "81"}, {Name: "s2", SectionName: "web"},
	}), 1, 4, func(t v1alpha1.TargetRef) v1alpha1.TargetRef { return t })
	p.Spec.TargetRefs = targets.Draw(r, "targets")
	for i := range rapid.IntRange(1, 3).Draw(r, "limits") {
		p.Spec.Limits = append(p.Spec.Limits, anyLimit(r, fmt.Sprintf("l%d", i)))
	}
	return p
}

// anyIdempotency is attached as any limit is.
func anyIdempotency(r *rapid.T, name string) v1alpha1.IdempotencyPolicy {
	like := anyPolicy(r, name)
	p := v1alpha1.IdempotencyPolicy{ObjectMeta: like.ObjectMeta}
	p.Spec.TargetRefs, p.Spec.StoreRef = like.Spec.TargetRefs, like.Spec.StoreRef
	p.Spec.Mode = rapid.SampledFrom([]v1alpha1.Mode{"", v1alpha1.ModeShadow}).Draw(r, "mode")
	p.Spec.Scope = rapid.SampledFrom([][]v1alpha1.KeyMember{
		{{Cookie: "c"}, {QueryParam: "q"}}, {{ClientIP: &v1alpha1.ClientIPKey{}}}, {{ThriftField: "1"}},
	}).Draw(r, "scope")
	if secret := rapid.SampledFrom([]string{"", "keys", "private", "missing"}).Draw(r, "secret"); secret != "" {
		p.Spec.Encryption = &v1alpha1.Encryption{SecretRef: v1alpha1.SecretRef{Name: secret}}
	}
	p.Spec.Response.DenyHeaders = []v1alpha1.HeaderName{"X-A", "x-b"}
	return p
}

func anyLimit(r *rapid.T, name string) v1alpha1.Limit {
	l := v1alpha1.Limit{Name: v1alpha1.ObjectName(name), Limit: 5, Window: "60s"}
	l.Scope = rapid.SampledFrom([]v1alpha1.LimitScope{"", v1alpha1.LimitScopePod, v1alpha1.LimitScopeCluster}).Draw(r, "scope")
	l.Algorithm = rapid.SampledFrom([]v1alpha1.Algorithm{"", v1alpha1.AlgorithmTokenBucket, v1alpha1.AlgorithmFixedWindow, v1alpha1.AlgorithmConcurrency}).Draw(r, "algorithm")
	template := func(v string) v1alpha1.Match {
		return v1alpha1.Match{HTTP: &v1alpha1.HTTPMatch{
			Methods: rapid.SliceOfNDistinct(rapid.SampledFrom([]v1alpha1.HTTPMethod{"GET", "POST", "PUT"}), 0, 3, rapid.ID).Draw(r, "methods"),
			Path:    &v1alpha1.PathMatch{Type: v1alpha1.PathMatchTemplate, Value: v},
			Headers: []v1alpha1.HeaderMatch{{Name: "X-Env", Value: "prod"}, {Name: "A", Value: "b"}},
		}}
	}
	if rapid.Bool().Draw(r, "match") {
		l.Match = []v1alpha1.Match{template("/a/{id}"), template("/b/{id}/{other}")}
	}
	l.Key = rapid.SampledFrom([][]v1alpha1.KeyMember{
		nil, {{Header: "X-A"}, {ClientIP: &v1alpha1.ClientIPKey{}}}, {{PathParam: "id"}, {Header: "X-B"}}, {{ThriftField: "1"}},
	}).Draw(r, "key")
	return l
}

// shuffled is in with every list in another order. Keys and matches say the same in
// any.
func shuffled(r *rapid.T, in Input) Input {
	in.Services = permuted(r, in.Services)
	in.Pods = permuted(r, in.Pods)
	in.Config.Stores = permuted(r, in.Config.Stores)
	in.RateLimitPolicies = permuted(r, in.RateLimitPolicies)
	in.IdempotencyPolicies = permuted(r, in.IdempotencyPolicies)
	for i := range in.IdempotencyPolicies {
		p := in.IdempotencyPolicies[i].DeepCopy()
		p.Spec.TargetRefs = permuted(r, p.Spec.TargetRefs)
		p.Spec.Scope = permuted(r, p.Spec.Scope)
		p.Spec.Response.DenyHeaders = permuted(r, p.Spec.Response.DenyHeaders)
		in.IdempotencyPolicies[i] = *p
	}
	for i := range in.Services {
		in.Services[i].Spec.Ports = permuted(r, in.Services[i].Spec.Ports)
	}
	for i := range in.RateLimitPolicies {
		p := in.RateLimitPolicies[i].DeepCopy()
		p.Spec.TargetRefs = permuted(r, p.Spec.TargetRefs)
		if supported(p) {
			// Messages name paths, which have the order of the lists.
			p.Spec.Limits = permuted(r, p.Spec.Limits)
			for j := range p.Spec.Limits {
				l := &p.Spec.Limits[j]
				l.Match = permuted(r, l.Match)
				for k := range l.Match {
					l.Match[k].HTTP.Methods = permuted(r, l.Match[k].HTTP.Methods)
					l.Match[k].HTTP.Headers = permuted(r, l.Match[k].HTTP.Headers)
				}
			}
		}
		in.RateLimitPolicies[i] = *p
	}
	return in
}

// supported reports whether no message about p has a path.
func supported(p *v1alpha1.RateLimitPolicy) bool {
	for _, l := range p.Spec.Limits {
		if len(l.Key) > 0 {
			return false
		}
	}
	return true
}

func permuted[T any](r *rapid.T, list []T) []T {
	if len(list) < 2 {
		return list
	}
	return rapid.Permutation(list).Draw(r, "order")
}

// Keys and matches in another order give the same bytes.
func TestMembersHaveNoOrder(t *testing.T) {
	policy := func(turn bool) *v1alpha1.RateLimitPolicy {
		key := []v1alpha1.KeyMember{{Header: "X-A"}, {PathParam: "id"}, {ClientIP: &v1alpha1.ClientIPKey{IPv6PrefixLength: 64}}}
		match := []v1alpha1.Match{
			{HTTP: &v1alpha1.HTTPMatch{Path: &v1alpha1.PathMatch{Type: v1alpha1.PathMatchTemplate, Value: "/a/{id}"}}},
			{HTTP: &v1alpha1.HTTPMatch{Path: &v1alpha1.PathMatch{Type: v1alpha1.PathMatchTemplate, Value: "/b/{id}"}}},
		}
		if turn {
			key[0], key[2] = key[2], key[0]
			match[0], match[1] = match[1], match[0]
		}
		return &v1alpha1.RateLimitPolicy{Spec: v1alpha1.RateLimitPolicySpec{
			Limits: []v1alpha1.Limit{{Name: "l", Limit: 1, Window: "1s", Key: key, Match: match}},
		}}
	}
	var hashes []string
	for _, turn := range []bool{false, true} {
		d, errs := buildLimits(&Input{}, policy(turn))
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		made := &snapshot.Snapshot{}
		snapshot.SetPolicies(made, []snapshot.Policy{d.policy})
		hashes = append(hashes, snapshot.Hash(made))
	}
	if hashes[0] != hashes[1] {
		t.Errorf("hashes %s and %s", hashes[0], hashes[1])
	}
}
