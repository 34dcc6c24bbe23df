// SPDX-License-Identifier: Apache-2.0

package attach

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

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
)

// Golden files of attachment are with controllers/compile, which needs it; here is
// what they do not show.

func makeService(name string, ports ...corev1.ServicePort) corev1.Service {
	return corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "a"}, Ports: ports},
	}
}

func makePort(name string, number int32, target intstr.IntOrString) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Port: number, TargetPort: target}
}

func makePod(name string, ports ...corev1.ContainerPort) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: map[string]string{"app": "a"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Ports: ports}}},
	}
}

func TestWorkloadKey(t *testing.T) {
	named := makeService("s", makePort("http", 80, intstr.FromString("http")))
	key := func(change func(s *corev1.Service, p *corev1.Pod, in *Input)) string {
		in := Input{Services: []corev1.Service{*named.DeepCopy()}, Pods: []corev1.Pod{makePod("p", corev1.ContainerPort{Name: "http", ContainerPort: 8080})}}
		change(&in.Services[0], &in.Pods[0], &in)
		out := Attach(in)
		if len(out.Workloads) != 1 {
			t.Fatalf("%d workloads", len(out.Workloads))
		}
		return out.Workloads[0].Key
	}
	base := key(func(*corev1.Service, *corev1.Pod, *Input) {})
	cases := map[string]struct {
		change func(s *corev1.Service, p *corev1.Pod, in *Input)
		same   bool
	}{
		"another pod's name": {func(_ *corev1.Service, p *corev1.Pod, _ *Input) { p.Name = "q" }, true},
		"a policy": {func(_ *corev1.Service, _ *corev1.Pod, in *Input) {
			in.Policies = []Policy{{ID: PolicyID{Kind: "RateLimitPolicy", Name: "x"}, Targets: []v1alpha1.TargetRef{{Name: "s"}}}}
		}, true},
		"a label that nothing selects": {func(_ *corev1.Service, p *corev1.Pod, _ *Input) { p.Labels["x"] = "y" }, true},
		"an annotation of others":      {func(s *corev1.Service, _ *corev1.Pod, _ *Input) { s.Annotations = map[string]string{"x": "y"} }, true},
		"the sidecar":                  {func(_ *corev1.Service, p *corev1.Pod, _ *Input) { inject(p, podspec.CaptureNamedPort) }, true},
		"another container port":       {func(_ *corev1.Service, p *corev1.Pod, _ *Input) { p.Spec.Containers[0].Ports[0].ContainerPort++ }, false},
		"an appProtocol": {func(s *corev1.Service, _ *corev1.Pod, _ *Input) {
			s.Spec.Ports[0].AppProtocol = new("kubernetes.io/h2c")
		}, false},
		"an annotation of Weir": {func(s *corev1.Service, _ *corev1.Pod, _ *Input) {
			s.Annotations = map[string]string{AnnotationTrustedProxies: "10.0.0.0/8"}
		}, false},
		"another Service": {func(_ *corev1.Service, _ *corev1.Pod, in *Input) {
			in.Services = append(in.Services, makeService("t", makePort("", 1, intstr.FromInt32(1))))
		}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := key(c.change); (got == base) != c.same {
				t.Errorf("key %s, was %s", got, base)
			}
		})
	}
}

// inject makes of a pod what the injector does: the sidecar takes the ports' names.
func inject(p *corev1.Pod, capture string) {
	p.Annotations = map[string]string{podspec.AnnotationInjected: "test"}
	sidecar := corev1.Container{Name: podspec.ContainerSidecar, RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}
	sidecar.Env = []corev1.EnvVar{{Name: podspec.EnvCapture, Value: capture}}
	if capture == podspec.CaptureNamedPort {
		var named []podspec.NamedPort
		app := &p.Spec.Containers[0]
		for i := range app.Ports {
			listen := uint16(podspec.PortNamedFirst + i)
			named = append(named, podspec.NamedPort{Name: app.Ports[i].Name, Listen: listen, Port: uint16(app.Ports[i].ContainerPort)})
			sidecar.Ports = append(sidecar.Ports, corev1.ContainerPort{Name: app.Ports[i].Name, ContainerPort: int32(listen)})
			app.Ports[i].Name = fmt.Sprint(podspec.PortNamePrefix, i)
		}
		text, _ := podspec.EncodeNamedPorts(named)
		sidecar.Env = append(sidecar.Env, corev1.EnvVar{Name: podspec.EnvNamedPorts, Value: text})
	}
	p.Spec.InitContainers = append([]corev1.Container{sidecar, {
		Name: podspec.ContainerCapture, Env: []corev1.EnvVar{{Name: podspec.EnvExcludePorts, Value: "9090,9091"}},
	}}, p.Spec.InitContainers...)
}

func TestBypass(t *testing.T) {
	http := corev1.ContainerPort{Name: "http", ContainerPort: 8080}
	cases := map[string]struct {
		capture  string
		port     corev1.ServicePort
		headless bool
		bypasses bool
	}{
		"redirect by number":              {podspec.CaptureRedirect, makePort("", 80, intstr.FromInt32(8080)), false, false},
		"redirect, headless":              {podspec.CaptureRedirect, makePort("", 80, intstr.FromInt32(8080)), true, false},
		"redirect, excluded":              {podspec.CaptureRedirect, makePort("", 80, intstr.FromInt32(9090)), false, true},
		"named":                           {podspec.CaptureNamedPort, makePort("", 80, intstr.FromString("http")), false, false},
		"named, headless":                 {podspec.CaptureNamedPort, makePort("", 80, intstr.FromString("http")), true, true},
		"by number":                       {podspec.CaptureNamedPort, makePort("", 80, intstr.FromInt32(8080)), false, true},
		"by default number":               {podspec.CaptureNamedPort, makePort("", 8080, intstr.IntOrString{}), false, true},
		"by the sidecar's number":         {podspec.CaptureNamedPort, makePort("", 80, intstr.FromInt32(podspec.PortNamedFirst)), false, false},
		"by the number of no known port":  {podspec.CaptureNamedPort, makePort("", 80, intstr.FromInt32(9999)), false, true},
		"without a sidecar nothing does":  {"", makePort("", 80, intstr.FromInt32(8080)), true, false},
		"redirect, port of no container":  {podspec.CaptureRedirect, makePort("", 80, intstr.FromInt32(9999)), false, false},
		"by the name the app has now too": {podspec.CaptureNamedPort, makePort("", 80, intstr.FromString("weir-app-0")), false, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			pod := makePod("p", http)
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
			if c.capture != "" {
				inject(&pod, c.capture)
			}
			s := makeService("s", c.port)
			if c.headless {
				s.Spec.ClusterIP = corev1.ClusterIPNone
			}
			out := Attach(Input{Services: []corev1.Service{s}, Pods: []corev1.Pod{pod}, Policies: []Policy{{
				ID: PolicyID{Kind: "RateLimitPolicy", Name: "x"}, Targets: []v1alpha1.TargetRef{{Name: "s"}},
				Matches: snapshot.Protocol_PROTOCOL_AUTO, Enforceable: []snapshot.Protocol{snapshot.Protocol_PROTOCOL_AUTO, snapshot.Protocol_PROTOCOL_HTTP},
			}}})
			target := out.Targets[PolicyID{Kind: "RateLimitPolicy", Name: "x"}][0]
			if target.Reason != v1alpha1.ReasonAccepted {
				t.Fatalf("not accepted: %s", target.Message)
			}
			if got := len(target.Bypass) > 0; got != c.bypasses {
				t.Errorf("bypass %q", target.Bypass)
			}
			for _, w := range out.Workloads {
				for _, p := range w.Ports {
					if podspec.Reserved(p.Number) {
						t.Errorf("the governed port is the sidecar's: %d", p.Number)
					}
				}
			}
		})
	}
}

// A port has one governor of each kind, kinds do not compete, and who governs does
// not depend on the order of anything.
func TestConflictsHaveOneWinner(t *testing.T) {
	kinds := []string{"RateLimitPolicy", "IdempotencyPolicy"}
	rapid.Check(t, func(r *rapid.T) {
		in := Input{
			Services: []corev1.Service{
				makeService("s", makePort("http", 80, intstr.FromInt32(8080)), makePort("more", 81, intstr.FromInt32(8081))),
				makeService("t", makePort("http", 80, intstr.FromInt32(8080))),
			},
			Pods: []corev1.Pod{makePod("p")},
		}
		for i := range rapid.IntRange(1, 6).Draw(r, "policies") {
			in.Policies = append(in.Policies, Policy{
				ID:      PolicyID{Kind: rapid.SampledFrom(kinds).Draw(r, "kind"), Name: fmt.Sprint("p", i)},
				Created: time.Unix(rapid.Int64Range(0, 2).Draw(r, "age"), 0),
				Targets: []v1alpha1.TargetRef{rapid.SampledFrom([]v1alpha1.TargetRef{
					{Name: "s"}, {Name: "t"}, {Name: "s", SectionName: "http"}, {Name: "t", SectionName: "80"}, {Name: "s", SectionName: "81"},
				}).Draw(r, "target")},
				Matches: snapshot.Protocol_PROTOCOL_HTTP, Enforceable: []snapshot.Protocol{snapshot.Protocol_PROTOCOL_HTTP},
			})
		}
		out := Attach(in)
		governs := map[string]int{}
		for _, w := range out.Workloads {
			for _, p := range w.Ports {
				for kind, name := range p.Policies {
					governs[kind+"/"+name]++
				}
			}
		}
		for id, targets := range out.Targets {
			if got := targets[0].Accepted(); got != (governs[id.String()] > 0) {
				r.Fatalf("%s: accepted %v, governs %d ports", id, got, governs[id.String()])
			}
			if got := targets[0].Reason; got == v1alpha1.ReasonAccepted && governs[id.String()] != len(targets[0].Ports) {
				r.Fatalf("%s: accepted at %v, governs %d", id, targets[0].Ports, governs[id.String()])
			}
		}
		in.Policies = rapid.Permutation(in.Policies).Draw(r, "order")
		in.Services = rapid.Permutation(in.Services).Draw(r, "service order")
		if d := cmp.Diff(out, Attach(in)); d != "" {
			r.Fatalf("another order gives another result:\n%s", d)
		}
	})
}

// DNS has one number for both: the policy is for the TCP port.
func TestSectionOfTwoProtocols(t *testing.T) {
	s := makeService("dns", makePort("dns", 53, intstr.FromInt32(53)), makePort("dns-tcp", 53, intstr.FromInt32(53)))
	s.Spec.Ports[0].Protocol = corev1.ProtocolUDP
	for section, want := range map[string]v1alpha1.ConditionReason{
		"53": v1alpha1.ReasonAccepted, "dns-tcp": v1alpha1.ReasonAccepted, "dns": v1alpha1.ReasonInvalid, "54": v1alpha1.ReasonTargetNotFound,
	} {
		id := PolicyID{Kind: "RateLimitPolicy", Name: "x"}
		out := Attach(Input{Services: []corev1.Service{s}, Pods: []corev1.Pod{makePod("p")}, Policies: []Policy{{
			ID: id, Targets: []v1alpha1.TargetRef{{Name: "dns", SectionName: v1alpha1.ObjectName(section)}},
			Matches: snapshot.Protocol_PROTOCOL_HTTP, Enforceable: []snapshot.Protocol{snapshot.Protocol_PROTOCOL_HTTP},
		}}})
		if got := out.Targets[id][0]; got.Reason != want {
			t.Errorf("%s: %s %s, want %s", section, got.Reason, got.Message, want)
		}
	}
}
