// SPDX-License-Identifier: Apache-2.0

package status

import (
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/v1alpha1"
)

// maxMessage keeps statuses small; the API allows 32 KiB.
const maxMessage = 4 << 10

// Document is the part of a status that this package writes.
type Document struct {
	v1alpha1.PolicyStatus
	Shadow []Count
}

// document renders a report; before has the times of conditions that stay.
func document(r Report, before Document, generation int64, now time.Time) Document {
	out := Document{Shadow: r.Shadow}
	out.Conditions = conditions(r.Conditions, before.Conditions, generation, now)
	for _, t := range r.Targets {
		var old []metav1.Condition
		for _, b := range before.Targets {
			if b.Name == t.Name && b.SectionName == t.SectionName {
				old = b.Conditions
			}
		}
		out.Targets = append(out.Targets, v1alpha1.TargetStatus{
			Name: t.Name, SectionName: t.SectionName, Pods: t.Pods, Conditions: conditions(t.Conditions, old, generation, now),
		})
	}
	if len(r.Targets) > 0 {
		rollout := r.Rollout
		out.Rollout = &rollout
	}
	return out
}

func conditions(list []Condition, before []metav1.Condition, generation int64, now time.Time) []metav1.Condition {
	var out []metav1.Condition
	for _, c := range list {
		made := metav1.Condition{
			Type: string(c.Type), Status: c.Status, Reason: string(c.Reason), Message: cut(c.Message),
			ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(now.Truncate(time.Second)),
		}
		for _, b := range before {
			if b.Type == made.Type && b.Status == made.Status {
				made.LastTransitionTime = b.LastTransitionTime
			}
		}
		out = append(out, made)
	}
	return out
}

func cut(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	end := maxMessage
	for end > 0 && s[end]&0xc0 == 0x80 {
		end-- // inside a rune
	}
	return s[:end] + " …"
}

// change is how two documents differ.
type change int

const (
	same change = iota
	// counts differ, or the words of a message.
	counts
	// decided: a status, reason or generation of a condition is another, or why a
	// policy is accepted or not.
	decided
)

func compare(a, b Document) change {
	if !sameConditions(a.Conditions, b.Conditions) || len(a.Targets) != len(b.Targets) {
		return decided
	}
	for i := range a.Targets {
		x, y := &a.Targets[i], &b.Targets[i]
		if x.Name != y.Name || x.SectionName != y.SectionName || !sameConditions(x.Conditions, y.Conditions) {
			return decided
		}
	}
	if equality.Semantic.DeepEqual(a, b) {
		return same
	}
	return counts
}

func sameConditions(a, b []metav1.Condition) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if x.Type != y.Type || x.Status != y.Status || x.Reason != y.Reason || x.ObservedGeneration != y.ObservedGeneration {
			return false
		}
		// What Accepted says has no counts: who won a conflict is news.
		if x.Type == string(v1alpha1.ConditionAccepted) && x.Message != y.Message {
			return false
		}
	}
	return true
}
