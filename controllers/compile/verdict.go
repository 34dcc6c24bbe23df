// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
)

// AcceptedMessage is what Accepted says where there is nothing else to say.
const AcceptedMessage = "The policy is accepted."

// refuse gives every target the policy's own reason.
func (v *Verdict) refuse(why problem, refs []v1alpha1.TargetRef) {
	v.Reason, v.Message = why.reason, why.message
	for _, r := range refs {
		v.Targets = append(v.Targets, attach.Target{
			Name: string(r.Name), SectionName: string(r.SectionName), Reason: why.reason, Message: why.message,
		})
	}
	slices.SortFunc(v.Targets, func(a, b attach.Target) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.SectionName, b.SectionName))
	})
}

// later are the kinds that this version does not enforce.
func later(in *Input) []Verdict {
	var out []Verdict
	add := func(kind string, m *metav1.ObjectMeta, refs []v1alpha1.TargetRef) {
		v := Verdict{Policy: attach.PolicyID{Kind: kind, Name: m.Name}, UID: m.UID, Generation: m.Generation}
		v.refuse(problem{v1alpha1.ReasonUnsupported, fmt.Sprintf(
			"spec: This version of Weir does not support %s: nothing of it is enforced.", kind)}, refs)
		out = append(out, v)
	}
	for i := range in.CallbackRoutes {
		p := &in.CallbackRoutes[i]
		add(v1alpha1.KindCallbackRoute, &p.ObjectMeta, sourceTargets(&p.Spec.Source))
	}
	return out
}

func sourceTargets(s *v1alpha1.Source) []v1alpha1.TargetRef {
	switch {
	case s.Request != nil:
		return []v1alpha1.TargetRef{s.Request.TargetRef}
	case s.Webhook != nil:
		return []v1alpha1.TargetRef{s.Webhook.TargetRef}
	case s.Event != nil:
		return []v1alpha1.TargetRef{s.Event.TargetRef}
	}
	return nil
}

// settle draws the policy's own reason from those of its targets.
func (v *Verdict) settle(d *draft, targets []attach.Target) {
	v.Targets = targets
	yes, no := 0, 0
	var messages []string
	worst := v1alpha1.ReasonAccepted
	for i := range targets {
		t := &targets[i]
		if t.Accepted() {
			yes++
		} else {
			no++
		}
		if t.Message != "" && !slices.Contains(messages, t.Message) {
			messages = append(messages, t.Message)
		}
		if rank(t.Reason) > rank(worst) {
			worst = t.Reason
		}
	}
	switch {
	case no == 0 && worst == v1alpha1.ReasonAccepted:
		v.Reason = v1alpha1.ReasonAccepted
		messages = append(messages, AcceptedMessage)
	case yes > 0:
		v.Reason = v1alpha1.ReasonPartiallyAccepted
	default:
		v.Reason = worst
	}
	if v.Accepted() {
		messages = append(messages, d.allWarnings(targets)...)
	}
	v.Message = strings.Join(messages, " ")
}

// rank is how much a reason needs the policy's author.
func rank(r v1alpha1.ConditionReason) int {
	return slices.Index([]v1alpha1.ConditionReason{
		v1alpha1.ReasonAccepted, v1alpha1.ReasonPartiallyAccepted, v1alpha1.ReasonConflicted, v1alpha1.ReasonTargetNotFound,
		v1alpha1.ReasonUnsupported, v1alpha1.ReasonInvalid,
	}, r)
}

// allWarnings are those that depend on where the policy is attached, and the others.
func (d *draft) allWarnings(targets []attach.Target) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(d.headers)) {
		if at := strangers(name, targets); len(at) > 0 {
			out = append(out, fmt.Sprintf("Warning: Any client of %s can choose the value of %s, which %s %s: behind a proxy that sets it, "+
				"list it in identity.identityHeaders of the operator's configuration or in the Service's annotation %s.",
				enumerate(at), name, enumerate(d.headers[name]), d.by, attach.AnnotationIdentityHeaders))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.exempt)) {
		if at := strangers(name, targets); len(at) > 0 {
			out = append(out, fmt.Sprintf("Warning: %s has no effect at %s, where any client can send %s: behind a proxy that sets it, "+
				"list it in identity.identityHeaders of the operator's configuration or in the Service's annotation %s.",
				enumerate(d.exempt[name]), enumerate(at), name, attach.AnnotationIdentityHeaders))
		}
	}
	out = append(out, d.warnings...)
	return append(out, d.keylessWarnings()...)
}

// strangers are the targets at which any client can send the header.
func strangers(header string, targets []attach.Target) []string {
	var at []string
	for i := range targets {
		t := &targets[i]
		if t.Accepted() && !slices.Contains(t.IdentityHeaders, header) && !slices.Contains(at, t.Name) {
			at = append(at, t.Name)
		}
	}
	return at
}
