// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"weir.dev/weir/api/podspec"
)

// Namespaces that are labelled have the ConfigMap, and the one that is Own.
func TestTrustOfNamespaces(t *testing.T) {
	for name, tc := range map[string]struct {
		labels map[string]string
		own    string
		want   bool
	}{
		"labelled":    {map[string]string{podspec.LabelInject: podspec.InjectEnabled}, "", true},
		"unlabelled":  {nil, "", false},
		"its own":     {nil, "pay", true},
		"another one": {nil, "weir-system", false},
	} {
		t.Run(name, func(t *testing.T) {
			ns := &corev1.Namespace{}
			ns.Name, ns.Labels = "pay", tc.labels
			store := fake.NewClientBuilder().WithObjects(ns).Build()
			trust := &Trust{Bundler: bundle("x"), Reader: store, Writer: store, Own: tc.own}
			if _, err := trust.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Name: "pay"}}); err != nil {
				t.Fatal(err)
			}
			err := store.Get(t.Context(), client.ObjectKey{Namespace: "pay", Name: podspec.ConfigMapCA}, &corev1.ConfigMap{})
			if got := err == nil; got != tc.want {
				t.Errorf("there: %v (%v), want %v", got, err, tc.want)
			}
		})
	}
}
