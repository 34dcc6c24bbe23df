// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/compile"
)

// Observation is all that a policy's status follows from.
type Observation struct {
	Verdict compile.Verdict
	// Pods are what is known of the namespace's pods, by uid.
	Pods map[string]*stream.PodState
	// Since is when this generation was first seen here.
	Since time.Time
	Now   time.Time
	// Leading is when this replica began to lead. Of pods that were ready before,
	// the other replicas still have to tell it.
	Leading time.Time
	// Encrypted are ports at which TLS was seen lately, by the pod's uid.
	Encrypted map[string][]uint16
	// Counts is what the verdict's Shadow names counted within the last hour.
	Counts map[string]int64
}

// Condition is one without its times and generation.
type Condition struct {
	Type    v1alpha1.ConditionType
	Status  metav1.ConditionStatus
	Reason  v1alpha1.ConditionReason
	Message string
}

// Target is what the status says of one targetRef.
type Target struct {
	Name, SectionName string
	Conditions        []Condition
	Pods              int32
}

// Count is how often something would have happened within the last hour.
type Count struct {
	// Name of the limit, or of what an IdempotencyPolicy would have done.
	Name string
	N    int64
}

// Report is what the status says.
type Report struct {
	Conditions []Condition
	Targets    []Target
	Rollout    v1alpha1.RolloutStatus
	Shadow     []Count
	// Unheard says that all that is waited for are pods of which another replica may
	// know more.
	Unheard bool
	// Next is when it changes by the mere passing of time; zero: never.
	Next time.Time
}

// Conditions says what the status of a policy is.
func Conditions(o Observation) Report {
	v := &o.Verdict
	out := Report{}
	var pods []attach.Pod
	all := reach{}
	var bypass []string
	encrypted, crowded := map[uint16]bool{}, map[uint16]bool{}
	for i := range v.Targets {
		t := &v.Targets[i]
		target := Target{Name: t.Name, SectionName: t.SectionName, Conditions: []Condition{accepted(t.Reason, t.Message)}}
		at := o.encrypted(t)
		tally := o.tally(t.Pods, t.PortsIn)
		target.Pods = int32(tally.ready)
		if t.Accepted() {
			target.Conditions = append(target.Conditions, o.programmed(tally, t.Bypass, at))
			pods = append(pods, t.Pods...)
			all.add(t.PortsIn)
			bypass = append(bypass, t.Bypass...)
			for _, port := range at {
				encrypted[port] = true
			}
			for _, port := range o.crowded(t) {
				crowded[port] = true
			}
		} else {
			target.Conditions = append(target.Conditions, notProgrammed(t.Reason))
		}
		out.Targets = append(out.Targets, target)
	}
	out.Conditions = []Condition{accepted(v.Reason, v.Message)}
	if !v.Accepted() {
		out.Conditions = append(out.Conditions, notProgrammed(v.Reason))
		return out
	}
	if len(crowded) > 0 {
		out.Conditions[0].Message += " " + o.crowdWarning(sorted(crowded))
	}
	if warning := o.evictionWarning(distinct(pods)); warning != "" {
		out.Conditions[0].Message += " " + warning
	}
	slices.Sort(bypass)
	total := o.tally(distinct(pods), all)
	out.Conditions = append(out.Conditions, o.programmed(total, slices.Compact(bypass), sorted(encrypted)))
	out.Rollout = v1alpha1.RolloutStatus{
		Pods:           int32(total.ready),
		Current:        int32(total.acked()),
		MissingSidecar: int32(total.by[missing]),
		Stale:          int32(total.sidecars() - total.acked()),
	}
	for _, name := range v.Shadow {
		out.Shadow = append(out.Shadow, Count{name, o.Counts[name]})
	}
	out.Next = total.next
	out.Unheard = total.unheard > 0 && total.unheard == total.by[waiting]
	return out
}

// Pending is what the status of a policy says that has only just been seen.
func Pending() Report {
	const message = "The operator has seen the policy and is working on it."
	var out Report
	for _, t := range []v1alpha1.ConditionType{v1alpha1.ConditionAccepted, v1alpha1.ConditionProgrammed} {
		out.Conditions = append(out.Conditions, Condition{t, metav1.ConditionUnknown, v1alpha1.ReasonPending, message})
	}
	return out
}

func accepted(reason v1alpha1.ConditionReason, message string) Condition {
	c := Condition{v1alpha1.ConditionAccepted, metav1.ConditionFalse, reason, message}
	if reason == v1alpha1.ReasonAccepted || reason == v1alpha1.ReasonPartiallyAccepted {
		c.Status = metav1.ConditionTrue
	}
	if c.Message == "" {
		c.Message = "The target is accepted."
	}
	return c
}

// notProgrammed has the reason of Accepted: there is no other.
func notProgrammed(reason v1alpha1.ConditionReason) Condition {
	return Condition{v1alpha1.ConditionProgrammed, metav1.ConditionFalse, reason, "It is not accepted, so no pod enforces it."}
}

func (o *Observation) programmed(t tally, bypass []string, encrypted []uint16) Condition {
	is := func(status metav1.ConditionStatus, reason v1alpha1.ConditionReason, format string, args ...any) Condition {
		return Condition{v1alpha1.ConditionProgrammed, status, reason, fmt.Sprintf(format, args...)}
	}
	now := t.acked()
	switch {
	case t.ready == 0 && t.notReadyRejecting > 0:
		return is(metav1.ConditionFalse, v1alpha1.ReasonRejected, "%s the policy: %s", refuse(t.notReadyRejecting), t.reason)
	case t.ready == 0 && t.notReady > 0:
		return is(metav1.ConditionUnknown, v1alpha1.ReasonNoPods, "The targets select no ready pod; %s not ready.", are(t.notReady))
	case t.ready == 0:
		return is(metav1.ConditionUnknown, v1alpha1.ReasonNoPods, "The targets select no ready pod.")
	case t.sidecars() == 0:
		return is(metav1.ConditionFalse, v1alpha1.ReasonNoSidecars, "%s no sidecar: %s", have(t.ready), howToInject)
	case t.by[rejecting] == t.sidecars():
		return is(metav1.ConditionFalse, v1alpha1.ReasonRejected, "Every pod refuses the policy: %s", t.reason)
	case len(bypass) > 0:
		return is(metav1.ConditionFalse, v1alpha1.ReasonTrafficBypassesSidecar, "%s", strings.Join(bypass, " "))
	case len(encrypted) > 0:
		return is(metav1.ConditionFalse, v1alpha1.ReasonEncryptedTraffic,
			"TLS came to container port %s, where the sidecar cannot read it: end TLS before the pod (ingress, gateway or mesh), "+
				"or take the port out of the policy.", numbers(encrypted))
	case now == 0, t.by[waiting] > 0:
		return is(metav1.ConditionFalse, v1alpha1.ReasonReconciling, "%d of %s acknowledged generation %d.%s",
			now, pods(t.ready), o.Verdict.Generation, others(&t))
	case t.by[current] == t.ready:
		return is(metav1.ConditionTrue, v1alpha1.ReasonProgrammed, "%s acknowledged generation %d.", all(t.ready), o.Verdict.Generation)
	default:
		return is(metav1.ConditionTrue, v1alpha1.ReasonPartiallyProgrammed, "%d of %s acknowledged generation %d.%s",
			now, pods(t.ready), o.Verdict.Generation, others(&t))
	}
}

const howToInject = "label the namespace `weir.dev/inject=enabled` and restart the pods, as with `kubectl rollout restart`."

// others says what is with the pods that are not current.
func others(t *tally) string {
	var out strings.Builder
	if n := t.by[lagging]; n > 0 {
		fmt.Fprintf(&out, " %s not answered for %s: see the logs of the container weir-sidecar.", have(n), Patience)
	}
	if n := t.by[disconnected]; n > 0 {
		fmt.Fprintf(&out, " %s been disconnected for %s; what they had, they go on enforcing.", have(n), Patience)
	}
	if n := t.by[rejecting]; n > 0 {
		fmt.Fprintf(&out, " %s it: %s", refuse(n), t.reason)
	}
	if n := t.by[outdated]; n > 0 {
		fmt.Fprintf(&out, " %s a sidecar too old for it: restart them.", have(n))
	}
	if n := t.by[missing]; n > 0 {
		fmt.Fprintf(&out, " %s no sidecar: %s", have(n), howToInject)
	}
	return out.String()
}

// encrypted are the ports of the target at which pods of it saw TLS.
func (o *Observation) encrypted(t *attach.Target) []uint16 {
	seen := map[uint16]bool{}
	for i := range t.Pods {
		for _, port := range o.Encrypted[t.Pods[i].UID] {
			if t.Pods[i].Ready && slices.Contains(t.Ports, port) {
				seen[port] = true
			}
		}
	}
	return sorted(seen)
}
