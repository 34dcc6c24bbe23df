// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/controllers/inject"
)

func tcpProbe(port intstr.IntOrString) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: port}}}
}

func shop() *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Spec.Containers = []corev1.Container{{
		Name: "app", Image: "shop", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		LivenessProbe: tcpProbe(intstr.FromString("http")), ReadinessProbe: tcpProbe(intstr.FromString("http")),
	}}
	return pod
}

// What somebody has changed after the injection stays as they made it, and the
// next injection starts from there.
func TestChangesOfOthersStay(t *testing.T) {
	for name, tc := range map[string]struct {
		capture string
		change  func(*corev1.Pod)
		want    func(*corev1.Pod) // applied to the pod as it was before
	}{
		"probe under Redirect": {
			podspec.CaptureRedirect,
			func(p *corev1.Pod) { p.Spec.Containers[0].LivenessProbe = tcpProbe(intstr.FromInt32(9000)) },
			func(p *corev1.Pod) { p.Spec.Containers[0].LivenessProbe = tcpProbe(intstr.FromInt32(9000)) },
		},
		"probe under NamedPort": {
			podspec.CaptureNamedPort,
			func(p *corev1.Pod) { p.Spec.Containers[0].LivenessProbe = tcpProbe(intstr.FromInt32(9000)) },
			func(p *corev1.Pod) { p.Spec.Containers[0].LivenessProbe = tcpProbe(intstr.FromInt32(9000)) },
		},
		"port of another number": {
			podspec.CaptureNamedPort,
			func(p *corev1.Pod) {
				p.Spec.Containers[0].Ports[0] = corev1.ContainerPort{Name: "web", ContainerPort: 80}
			},
			func(p *corev1.Pod) {
				p.Spec.Containers[0].Ports[0] = corev1.ContainerPort{Name: "web", ContainerPort: 80}
			},
		},
		"a container in front and one behind": {
			podspec.CaptureRedirect,
			func(p *corev1.Pod) {
				p.Spec.InitContainers = append([]corev1.Container{{Name: "first"}}, p.Spec.InitContainers...)
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "last"})
			},
			func(p *corev1.Pod) {
				p.Spec.InitContainers = []corev1.Container{{Name: "first"}}
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "last"})
			},
		},
		"a container gone": {
			podspec.CaptureRedirect,
			func(p *corev1.Pod) { p.Spec.Containers = []corev1.Container{{Name: "other"}} },
			func(p *corev1.Pod) { p.Spec.Containers = []corev1.Container{{Name: "other"}} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := profile()
			p.Capture = tc.capture
			pod, _ := inject.Inject(shop(), p)
			tc.change(pod)
			want := shop()
			tc.want(want)
			got, reasons := inject.Uninject(pod)
			if len(reasons) > 0 {
				t.Fatal(reasons)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("uninjected (-want +got):\n%s", d)
			}
			wantAgain, _ := inject.Inject(want, p)
			again, _ := inject.Inject(pod, p)
			if d := cmp.Diff(wantAgain, again); d != "" {
				t.Errorf("injected again (-want +got):\n%s", d)
			}
		})
	}
}
