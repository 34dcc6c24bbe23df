// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/controllers/inject"
)

func genPort(t *rapid.T, i int) corev1.ContainerPort {
	return corev1.ContainerPort{
		Name:          rapid.SampledFrom([]string{"", "http", "grpc", "metrics", fmt.Sprintf("p%d", i)}).Draw(t, "name"),
		ContainerPort: rapid.Int32Range(1, 40000).Draw(t, "port"),
		HostPort:      rapid.SampledFrom([]int32{0, 0, 0, 80}).Draw(t, "hostPort"),
		Protocol:      rapid.SampledFrom([]corev1.Protocol{"", corev1.ProtocolTCP, corev1.ProtocolUDP}).Draw(t, "protocol"),
	}
}

func genRef(t *rapid.T) intstr.IntOrString {
	return rapid.SampledFrom([]intstr.IntOrString{
		intstr.FromInt32(8080), intstr.FromInt32(9090), intstr.FromString("http"), intstr.FromString("metrics"), intstr.FromString("nowhere"),
	}).Draw(t, "ref")
}

func genHandler(t *rapid.T) corev1.ProbeHandler {
	host := rapid.SampledFrom([]string{"", "", "other.example"}).Draw(t, "host")
	switch rapid.IntRange(0, 3).Draw(t, "handler") {
	case 0:
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/x", Port: genRef(t), Host: host,
			HTTPHeaders: []corev1.HTTPHeader{{Name: "a", Value: "b"}}}}
	case 1:
		return corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: genRef(t), Host: host}}
	case 2:
		return corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 9000, Service: rapid.SampledFrom([]*string{nil, new("s")}).Draw(t, "service")}}
	default:
		return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}
	}
}

func genContainer(t *rapid.T, name string, native bool) corev1.Container {
	c := corev1.Container{Name: name, Image: "app"}
	for i := range rapid.IntRange(0, 3).Draw(t, "ports") {
		c.Ports = append(c.Ports, genPort(t, i))
	}
	if native {
		c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	}
	for _, p := range []**corev1.Probe{&c.StartupProbe, &c.ReadinessProbe, &c.LivenessProbe} {
		if rapid.Bool().Draw(t, "probe") {
			*p = &corev1.Probe{ProbeHandler: genHandler(t), TimeoutSeconds: rapid.Int32Range(0, 5).Draw(t, "timeout")}
		}
	}
	if rapid.Bool().Draw(t, "hook") {
		h := genHandler(t)
		c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: h.HTTPGet, TCPSocket: h.TCPSocket, Exec: h.Exec}}
	}
	return c
}

func genPod(t *rapid.T) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Name = "p"
	annotate := func(name string, values ...string) {
		if v := rapid.SampledFrom(append(values, "")).Draw(t, name); v != "" {
			if pod.Annotations == nil {
				pod.Annotations = map[string]string{}
			}
			pod.Annotations[name] = v
		}
	}
	annotate(podspec.AnnotationCapture, "Auto", "Redirect", "NamedPort", "wrong")
	annotate(podspec.AnnotationExcludeInboundPorts, "9090", "8080,80")
	annotate(podspec.AnnotationKeepPorts, "http", "metrics,grpc")
	annotate(podspec.AnnotationCPU, "1", "wrong")
	annotate("other.example/x", "1")
	if v := rapid.SampledFrom([]string{"", "enabled", "disabled"}).Draw(t, "label"); v != "" {
		pod.Labels = map[string]string{podspec.LabelInject: v}
	}
	names := []string{"app", "b", "istio-proxy", "weir-sidecar"}
	for _, name := range names[:rapid.SampledFrom([]int{1, 2, 2, 3, 4}).Draw(t, "containers")] {
		pod.Spec.Containers = append(pod.Spec.Containers, genContainer(t, name, false))
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "inits") {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers,
			genContainer(t, fmt.Sprintf("init-%d", i), rapid.Bool().Draw(t, "native")))
	}
	if rapid.Bool().Draw(t, "volume") {
		pod.Spec.Volumes = []corev1.Volume{{Name: "data"}}
	}
	if rapid.Bool().Draw(t, "secret") {
		pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "regcred"}}
	}
	pod.Spec.HostNetwork = rapid.IntRange(0, 9).Draw(t, "hostNetwork") == 0
	return pod
}

func genProfile(t *rapid.T) inject.Profile {
	p := profile()
	p.Version = rapid.SampledFrom([]string{"v1", "v2"}).Draw(t, "version")
	p.Capture = rapid.SampledFrom([]string{"", "Auto", "Redirect", "NamedPort"}).Draw(t, "capture")
	p.LogLevel = rapid.SampledFrom([]string{"", "debug"}).Draw(t, "log")
	if rapid.Bool().Draw(t, "pullSecrets") {
		p.PullSecrets = []string{"regcred", "more"}
	}
	if rapid.Bool().Draw(t, "cpu") {
		p.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m")}
	}
	p.NamespaceLabels = map[string]string{
		podspec.LabelInject:                  rapid.SampledFrom([]string{"enabled", "enabled", "disabled"}).Draw(t, "ns"),
		"pod-security.kubernetes.io/enforce": rapid.SampledFrom([]string{"", "privileged", "restricted"}).Draw(t, "psa"),
	}
	return p
}

// diff compares pods as the API server would see them.
func diff(t *rapid.T, what string, want, got *corev1.Pod) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

func TestInjectTwiceIsInjectOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pod, p := genPod(t), genProfile(t)
		once, reasons := inject.Inject(pod, p)
		twice, again := inject.Inject(once, p)
		diff(t, "second injection", once, twice)
		_, ok := inject.Outcome(reasons)
		_, okAgain := inject.Outcome(again)
		if ok != okAgain {
			t.Fatalf("outcomes %v, then %v", reasons, again)
		}
		already := slices.ContainsFunc(again, func(r inject.Reason) bool { return r.Code == inject.AlreadyInjected })
		if already != ok {
			t.Fatalf("AlreadyInjected is %v in %v", already, again)
		}
	})
}

func TestUninjectIsTheInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pod := genPod(t)
		injected, _ := inject.Inject(pod, genProfile(t))
		back, reasons := inject.Uninject(injected)
		if len(reasons) > 0 {
			t.Fatal(reasons)
		}
		diff(t, "uninjected", pod, back)
	})
}

// A pod that another profile has injected comes out as if that had never been.
func TestTheLastProfileWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pod, p := genPod(t), genProfile(t)
		first, _ := inject.Inject(pod, genProfile(t))
		want, wantReasons := inject.Inject(pod, p)
		if r, ok := inject.Outcome(wantReasons); !ok && r.Code.Effect() == inject.EffectRefuse {
			return // comes back as it was given, which differs
		}
		got, _ := inject.Inject(first, p)
		diff(t, "injected over another profile", want, got)
	})
}

// What is not Weir's is the same, in the same order, but for ports' names, probes
// and hooks.
func TestForeignEntriesStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pod, p := genPod(t), genProfile(t)
		out, reasons := inject.Inject(pod, p)
		if _, ok := inject.Outcome(reasons); !ok {
			diff(t, "pod without sidecar", pod, out)
			return
		}
		if out.Spec.InitContainers[0].Name != podspec.ContainerSidecar {
			t.Fatalf("first init container is %s", out.Spec.InitContainers[0].Name)
		}
		own := 1
		if out.Spec.InitContainers[1:] != nil && len(out.Spec.InitContainers) > 1 && out.Spec.InitContainers[1].Name == podspec.ContainerCapture {
			own = 2
		}
		strip := func(in *corev1.Pod, inits []corev1.Container) *corev1.Pod {
			s := in.DeepCopy()
			s.Spec.InitContainers = nil
			for _, list := range [][]corev1.Container{inits, s.Spec.Containers} {
				for _, c := range list {
					c = *c.DeepCopy()
					for i := range c.Ports {
						c.Ports[i].Name = ""
					}
					c.StartupProbe, c.ReadinessProbe, c.LivenessProbe, c.Lifecycle = nil, nil, nil, nil
					s.Spec.InitContainers = append(s.Spec.InitContainers, c)
				}
			}
			s.Spec.Containers, s.Labels, s.Annotations = nil, nil, nil
			s.Spec.Volumes = slices.DeleteFunc(s.Spec.Volumes, func(v corev1.Volume) bool { return strings.HasPrefix(v.Name, "weir-") })
			s.Spec.ImagePullSecrets = nil
			if len(s.Spec.Volumes) == 0 {
				s.Spec.Volumes = nil
			}
			return s
		}
		diff(t, "what is not Weir's", strip(pod, pod.Spec.InitContainers), strip(out, out.Spec.InitContainers[own:]))
		for k, v := range pod.Annotations {
			if out.Annotations[k] != v {
				t.Fatalf("annotation %s was %q and is %q", k, v, out.Annotations[k])
			}
		}
	})
}

// Under NamedPort a Service finds by name the sidecar or a port that was left to
// the app, and the sidecar knows the app's number for each of its names.
func TestNamesLeadToTheSidecar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pod, p := genPod(t), genProfile(t)
		out, reasons := inject.Inject(pod, p)
		if _, ok := inject.Outcome(reasons); !ok {
			return
		}
		env := map[string]string{}
		for _, e := range out.Spec.InitContainers[0].Env {
			env[e.Name] = e.Value
		}
		named, err := podspec.DecodeNamedPorts(env[podspec.EnvNamedPorts])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := podspec.DecodeProbes(env[podspec.EnvProbes]); err != nil {
			t.Fatal(err)
		}
		if env[podspec.EnvCapture] == podspec.CaptureRedirect && named != nil {
			t.Fatalf("Redirect takes named ports %v", named)
		}
		for i, n := range named {
			if want := uint16(podspec.PortNamedFirst + i); n.Listen != want {
				t.Fatalf("%s listens on %d, want %d", n.Name, n.Listen, want)
			}
			if got := findPort(out, n.Name); got != int32(n.Listen) {
				t.Fatalf("name %s leads to %d, not to the sidecar's %d", n.Name, got, n.Listen)
			}
			if got := findPort(pod, n.Name); got != int32(n.Port) {
				t.Fatalf("name %s led to %d before, not to %d", n.Name, got, n.Port)
			}
		}
	})
}

// findPort is k8s.io/kubernetes/pkg/api/v1/pod.FindPort for TCP, less the mesh's
// containers.
func findPort(pod *corev1.Pod, name string) int32 {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for _, c := range list {
			native := c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
			inits := &list[0] != &pod.Spec.Containers[0]
			if c.Name == "istio-proxy" || inits && !native {
				continue
			}
			for _, p := range c.Ports {
				if p.Name == name && p.Protocol != corev1.ProtocolUDP {
					return p.ContainerPort
				}
			}
		}
	}
	return 0
}

func TestTooManyPorts(t *testing.T) {
	pod := &corev1.Pod{}
	var ports []corev1.ContainerPort
	for i := range 91 {
		ports = append(ports, corev1.ContainerPort{Name: fmt.Sprintf("p%d", i), ContainerPort: int32(1000 + i)})
	}
	pod.Spec.Containers = []corev1.Container{{Name: "app", Ports: ports}}
	p := profile()
	p.Capture = podspec.CaptureNamedPort
	out, reasons := inject.Inject(pod, p)
	if r, _ := inject.Outcome(reasons); r.Code != inject.TooManyPorts {
		t.Errorf("91 ports: got %v, want TooManyPorts", reasons)
	}
	if d := cmp.Diff(pod, out); d != "" {
		t.Errorf("skipped pod (-want +got):\n%s", d)
	}
	pod.Spec.Containers[0].Ports = ports[:90]
	if _, reasons := inject.Inject(pod, p); len(reasons) > 0 {
		t.Errorf("90 ports: got %v", reasons)
	}
}
