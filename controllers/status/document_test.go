// SPDX-License-Identifier: Apache-2.0

package status

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/v1alpha1"
)

func TestCompare(t *testing.T) {
	with := func(accepted, programmed string, pods int32) Document {
		return Document{PolicyStatus: v1alpha1.PolicyStatus{
			Conditions: []metav1.Condition{
				{Type: string(v1alpha1.ConditionAccepted), Status: "False", Reason: string(v1alpha1.ReasonConflicted), Message: accepted},
				{Type: string(v1alpha1.ConditionProgrammed), Status: "False", Reason: string(v1alpha1.ReasonReconciling), Message: programmed},
			},
			Rollout: &v1alpha1.RolloutStatus{Pods: pods},
		}}
	}
	before := with("governed by a", "0 of 2", 2)
	for name, c := range map[string]struct {
		now  Document
		want change
	}{
		"nothing":            {with("governed by a", "0 of 2", 2), same},
		"another winner":     {with("governed by b", "0 of 2", 2), decided},
		"a count in words":   {with("governed by a", "1 of 2", 2), counts},
		"a count in numbers": {with("governed by a", "0 of 2", 3), counts},
	} {
		t.Run(name, func(t *testing.T) {
			if got := compare(before, c.now); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}
