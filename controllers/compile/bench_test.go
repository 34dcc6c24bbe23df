// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/config"
)

// A namespace of 50 Services with a policy each, and 2,000 pods.
func BenchmarkCompile(b *testing.B) {
	in := Input{Cluster: "c", Namespace: "shop", Config: config.Default()}
	for i := range 50 {
		name := fmt.Sprint("s", i)
		in.Services = append(in.Services, corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.ServiceSpec{
				Selector: map[string]string{"app": name},
				Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}},
			},
		})
		in.RateLimitPolicies = append(in.RateLimitPolicies, v1alpha1.RateLimitPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: v1alpha1.RateLimitPolicySpec{
				TargetRefs: []v1alpha1.TargetRef{{Name: v1alpha1.ObjectName(name)}},
				Limits:     []v1alpha1.Limit{{Name: "l", Limit: 1, Window: "1s", Scope: v1alpha1.LimitScopePod}},
			},
		})
		for j := range 40 {
			pod := fmt.Sprint(name, "-", j)
			in.Pods = append(in.Pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Name: pod, UID: types.UID(pod), Labels: map[string]string{"app": name, "x": "y"},
			}})
		}
	}
	for b.Loop() {
		Compile(in)
	}
}
