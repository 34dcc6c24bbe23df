// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/config"
)

func wholePod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "p", Namespace: "shop", UID: "u", ResourceVersion: "7", Labels: map[string]string{"app": "a"},
			Annotations: map[string]string{
				podspec.AnnotationInjected: "v1", podspec.AnnotationOriginal: "long", "someone.else/x": "y",
			},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}},
		},
		Spec: corev1.PodSpec{
			NodeName: "n",
			Volumes:  []corev1.Volume{{Name: "v"}},
			InitContainers: []corev1.Container{
				{
					Name: podspec.ContainerSidecar, Image: "weir", RestartPolicy: new(corev1.ContainerRestartPolicyAlways),
					Env: []corev1.EnvVar{
						{Name: podspec.EnvCapture, Value: podspec.CaptureNamedPort},
						{Name: podspec.EnvNamedPorts, Value: `[{"name":"http","listen":16010,"port":8080}]`},
						{Name: podspec.EnvProbes, Value: "[]"},
					},
				},
				{Name: podspec.ContainerCapture, Env: []corev1.EnvVar{{Name: podspec.EnvExcludePorts, Value: "1"}}},
				{Name: "init", Image: "i", Ports: []corev1.ContainerPort{{Name: "x", ContainerPort: 1}}},
				{Name: "other", RestartPolicy: new(corev1.ContainerRestartPolicyAlways), Ports: []corev1.ContainerPort{{Name: "y", ContainerPort: 2}}},
			},
			Containers: []corev1.Container{{
				Name: "app", Image: "app", Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "secret"}},
				Ports: []corev1.ContainerPort{{Name: "weir-app-0", ContainerPort: 8080}},
			}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.0.1",
			Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled}, {Type: corev1.PodReady, Status: corev1.ConditionTrue, Message: "m"}},
		},
	}
}

// What the cache leaves out changes no snapshot and no verdict.
func TestTrimmedPodsCompileAlike(t *testing.T) {
	in := compile.Input{Cluster: "c", Namespace: "shop", Config: config.Default(), Pods: []corev1.Pod{*wholePod()}}
	for i, target := range []intstr.IntOrString{intstr.FromString("http"), intstr.FromString("x"), intstr.FromString("y"), intstr.FromInt32(1)} {
		name := string(rune('a' + i))
		in.Services = append(in.Services, corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"},
			Spec: corev1.ServiceSpec{
				Selector: map[string]string{"app": "a"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: target}},
			},
		})
		in.RateLimitPolicies = append(in.RateLimitPolicies, v1alpha1.RateLimitPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"},
			Spec: v1alpha1.RateLimitPolicySpec{
				TargetRefs: []v1alpha1.TargetRef{{Name: v1alpha1.ObjectName(name)}},
				Limits:     []v1alpha1.Limit{{Name: "l", Limit: 1, Window: "1s", Scope: v1alpha1.LimitScopePod}},
			},
		})
	}
	want := compile.Compile(in)
	in.Pods = []corev1.Pod{*trim(wholePod())}
	got := compile.Compile(in)
	if d := cmp.Diff(want.Verdicts, got.Verdicts); d != "" {
		t.Errorf("verdicts (-whole +trimmed):\n%s", d)
	}
	for i := range want.Workloads {
		if want.Workloads[i].Key != got.Workloads[i].Key {
			t.Errorf("workload %s became %s", want.Workloads[i].Key, got.Workloads[i].Key)
		}
	}
}

func TestTrimKeepsLittle(t *testing.T) {
	p := trim(wholePod())
	if p.Spec.NodeName != "" || p.Spec.Volumes != nil || p.ManagedFields != nil || p.Status.PodIP != "" || len(p.Annotations) != 1 ||
		len(p.Spec.InitContainers) != 3 || p.Spec.Containers[0].Env != nil || len(p.Spec.InitContainers[0].Env) != 2 {
		t.Errorf("too much is left: %+v", p)
	}
}

func TestPodChanged(t *testing.T) {
	cases := map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"nothing":    {func(*corev1.Pod) {}, false},
		"version":    {func(p *corev1.Pod) { p.ResourceVersion = "8" }, false},
		"image":      {func(p *corev1.Pod) { p.Spec.Containers[0].Image = "b" }, false},
		"address":    {func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.2" }, false},
		"heartbeat":  {func(p *corev1.Pod) { p.Status.Conditions[1].LastProbeTime = metav1.Now() }, false},
		"readiness":  {func(p *corev1.Pod) { p.Status.Conditions[1].Status = corev1.ConditionFalse }, true},
		"label":      {func(p *corev1.Pod) { p.Labels = nil }, true},
		"end":        {func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, true},
		"deletion":   {func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }, true},
		"annotation": {func(p *corev1.Pod) { p.Annotations["weir.dev/capture"] = "x" }, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			changed := wholePod()
			c.change(changed)
			if got := podChanged(wholePod(), changed); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestCredentialsAreOfTheSnapshotsStores(t *testing.T) {
	c := config.Default()
	c.Stores = []config.Store{{Name: "a"}, {Name: "b", Redis: &config.Redis{Credentials: config.Credentials{Secret: "all"}}, NamespaceCredentials: map[string]string{"shop": "own"}}}
	r := New(Options{Config: c})
	for secret, want := range map[string]bool{"all": true, "own": true, "other": false} {
		if got := r.names(secret); got != want {
			t.Errorf("names %s: got %v, want %v", secret, got, want)
		}
	}
}
