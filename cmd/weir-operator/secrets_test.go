// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/keys"
)

// readsSecrets: with the rights of the chart the operator makes its root key and gets a
// Secret that a policy names; without weir-secrets it says so.
func (c cluster) readsSecrets() {
	c.Helper()
	var root corev1.Secret
	if err := c.admin.Get(c.Context(), client.ObjectKey{Namespace: system, Name: keys.SecretName}, &root); err != nil {
		c.Fatal(err)
	}
	c.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "idem-keys", Labels: map[string]string{keys.LabelUse: keys.UseTrue}},
		StringData: map[string]string{"secret": strings.Repeat("k", 32)},
	})
	policy := &v1alpha1.IdempotencyPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "payments"},
		Spec: v1alpha1.IdempotencyPolicySpec{
			TargetRefs: []v1alpha1.TargetRef{{Kind: "Service", Name: "payments"}},
			Scope:      []v1alpha1.KeyMember{{Cookie: "session"}},
			Encryption: &v1alpha1.Encryption{SecretRef: v1alpha1.SecretRef{Name: "idem-keys"}},
		},
	}
	c.create(policy)
	accepted := func(reason v1alpha1.ConditionReason) func() error {
		return func() error {
			if err := c.admin.Get(c.Context(), client.ObjectKeyFromObject(policy), policy); err != nil {
				return err
			}
			cond := meta.FindStatusCondition(policy.Status.Conditions, string(v1alpha1.ConditionAccepted))
			if cond == nil || cond.Reason != string(reason) {
				return fmt.Errorf("conditions %+v", policy.Status.Conditions)
			}
			return nil
		}
	}
	c.eventually("the Secret is read", accepted(v1alpha1.ReasonAccepted))
	binding := &unstructured.Unstructured{}
	binding.SetAPIVersion("rbac.authorization.k8s.io/v1")
	binding.SetKind("ClusterRoleBinding")
	binding.SetName("weir-secrets")
	if err := c.admin.Delete(c.Context(), binding); err != nil {
		c.Fatal(err)
	}
	c.eventually("the right is gone", accepted(v1alpha1.ReasonRefNotPermitted))
}
