// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/v1alpha1"
)

// newService makes the Service payments, which selects the pods of newPod.
func newService(t *testing.T, ns string) *corev1.Service {
	t.Helper()
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "payments", Namespace: ns},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "payments"},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
	create(t, s)
	return s
}

// newPod makes a Ready pod, with a sidecar or without.
func newPod(t *testing.T, ns, name string, injected bool) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns, Labels: map[string]string{"app": "payments"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: "default",
			Containers:         []corev1.Container{{Name: "app", Image: "app", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}},
		},
	}
	if injected {
		always := corev1.ContainerRestartPolicyAlways
		p.Annotations = map[string]string{podspec.AnnotationInjected: "test"}
		p.Spec.InitContainers = []corev1.Container{{
			Name: podspec.ContainerSidecar, Image: "weir", RestartPolicy: &always,
			Env: []corev1.EnvVar{{Name: podspec.EnvCapture, Value: podspec.CaptureRedirect}},
		}}
	}
	create(t, p)
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	if err := server.client.Status().Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return p
}

// limitPolicy is a policy for the Service payments.
func limitPolicy(ns, name string) *v1alpha1.RateLimitPolicy {
	return &v1alpha1.RateLimitPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns},
		Spec: v1alpha1.RateLimitPolicySpec{
			TargetRefs: []v1alpha1.TargetRef{{Kind: "Service", Name: "payments"}},
			Limits:     []v1alpha1.Limit{{Name: "all", Limit: 5, Window: "60s", Scope: v1alpha1.LimitScopePod}},
		},
	}
}

// edit changes the spec of a policy.
func edit(t *testing.T, p *v1alpha1.RateLimitPolicy, change func(*v1alpha1.RateLimitPolicySpec)) {
	t.Helper()
	eventually(t, "edit "+p.Name, func() error {
		if err := server.client.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		change(&p.Spec)
		return server.client.Update(t.Context(), p)
	})
}

// wantCondition waits for a condition of the policy's generation, with words in its
// message. It returns the policy.
func wantCondition(t *testing.T, p *v1alpha1.RateLimitPolicy, kind v1alpha1.ConditionType, status metav1.ConditionStatus,
	reason v1alpha1.ConditionReason, words ...string,
) *v1alpha1.RateLimitPolicy {
	t.Helper()
	got := &v1alpha1.RateLimitPolicy{}
	eventually(t, fmt.Sprintf("%s of %s is not %s %s", kind, p.Name, status, reason), func() error {
		if err := server.client.Get(t.Context(), client.ObjectKeyFromObject(p), got); err != nil {
			return err
		}
		return hasCondition(got.Status.Conditions, got.Generation, kind, status, reason, words...)
	})
	return got
}

func hasCondition(list []metav1.Condition, generation int64, kind v1alpha1.ConditionType, status metav1.ConditionStatus,
	reason v1alpha1.ConditionReason, words ...string,
) error {
	c := meta.FindStatusCondition(list, string(kind))
	if c == nil {
		return fmt.Errorf("there is none among %d", len(list))
	}
	if c.Status != status || c.Reason != string(reason) || c.ObservedGeneration != generation {
		return fmt.Errorf("it is %s %s at generation %d: %s", c.Status, c.Reason, c.ObservedGeneration, c.Message)
	}
	for _, w := range words {
		if !strings.Contains(c.Message, w) {
			return fmt.Errorf("its message has no %q: %s", w, c.Message)
		}
	}
	return nil
}
