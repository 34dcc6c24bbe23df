// SPDX-License-Identifier: Apache-2.0

package attach

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"weir.dev/weir/api/v1alpha1"
)

type servicePort = corev1.ServicePort

// targets says what became of each targetRef of a policy.
func (a *attachment) targets(p *Policy) []Target {
	var out []Target
	for _, ref := range p.Targets {
		t := Target{Name: string(ref.Name), SectionName: string(ref.SectionName)}
		a.judge(p, &t)
		out = append(out, t)
	}
	slices.SortFunc(out, func(x, y Target) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.SectionName, y.SectionName))
	})
	return out
}

func (a *attachment) judge(p *Policy, t *Target) {
	s := a.services[t.Name]
	if s == nil {
		t.refuse(problem{v1alpha1.ReasonTargetNotFound, fmt.Sprintf(
			"There is no Service %s in the namespace: create it, or correct targetRefs.", t.Name)})
		return
	}
	if why := s.target(t.SectionName); why.reason != "" {
		t.refuse(why)
		return
	}
	slots := a.slots(s, t.SectionName)
	if len(slots) == 0 {
		t.refuse(problem{v1alpha1.ReasonTargetNotFound, fmt.Sprintf(
			"No pod that Service %s selects has a container port named %s: correct targetPort.", s.name, targetNames(s.section(t.SectionName)))})
		return
	}
	var won []*slot
	var lost []problem
	for _, sl := range slots {
		if a.governing[sl][p.ID.Kind] != nil && a.governing[sl][p.ID.Kind].ID == p.ID {
			won = append(won, sl)
			continue
		}
		if why := a.verdicts[sl][p.ID]; !slices.Contains(lost, why) {
			lost = append(lost, why)
		}
	}
	t.settle(won, lost)
	a.describe(t, s, won)
}

// settle chooses the reason; among several the one that needs the policy's author
// most.
func (t *Target) settle(won []*slot, lost []problem) {
	if len(lost) == 0 {
		t.Reason = v1alpha1.ReasonAccepted
		return
	}
	order := []v1alpha1.ConditionReason{v1alpha1.ReasonInvalid, v1alpha1.ReasonUnsupported, v1alpha1.ReasonConflicted}
	slices.SortFunc(lost, func(x, y problem) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, x.reason), slices.Index(order, y.reason)),
			strings.Compare(x.message, y.message),
		)
	})
	messages := make([]string, len(lost))
	for i, l := range lost {
		messages[i] = l.message
	}
	t.refuse(problem{lost[0].reason, strings.Join(slices.Compact(messages), " ")})
	if len(won) > 0 {
		t.Reason = v1alpha1.ReasonPartiallyAccepted
	}
}

func (t *Target) refuse(why problem) { t.Reason, t.Message = why.reason, why.message }

// describe tells what is behind the accepted slots.
func (a *attachment) describe(t *Target, s *service, won []*slot) {
	if len(won) == 0 {
		return
	}
	t.PortsIn = map[string][]uint16{}
	pods := map[*podView]bool{}
	believed := map[string]int{}
	for _, sl := range won {
		if sl.workload == nil {
			continue
		}
		t.Ports = append(t.Ports, sl.number)
		t.PortsIn[sl.workload.key] = append(t.PortsIn[sl.workload.key], sl.number)
		for _, h := range sl.workload.identity(a.identity).IdentityHeaders {
			believed[h]++
		}
		for _, p := range sl.workload.pods {
			pods[p] = true
			for _, w := range sl.ways {
				if b := p.bypass(w.service, w.port, sl.number); b != "" && p.Ready {
					t.Bypass = append(t.Bypass, b)
				}
			}
		}
	}
	slices.Sort(t.Ports)
	t.Ports = slices.Compact(t.Ports)
	slices.Sort(t.Bypass)
	t.Bypass = slices.Compact(t.Bypass)
	for p := range pods {
		t.Pods = append(t.Pods, p.Pod)
	}
	slices.SortFunc(t.Pods, func(x, y Pod) int { return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.UID, y.UID)) })
	if len(pods) == 0 {
		alone := &workload{services: []*service{s}}
		t.IdentityHeaders = alone.identity(a.identity).IdentityHeaders
		return
	}
	for h, n := range believed {
		if n == len(won) {
			t.IdentityHeaders = append(t.IdentityHeaders, h)
		}
	}
	slices.Sort(t.IdentityHeaders)
}

func targetNames(ports []corev1.ServicePort) string {
	var out []string
	for i := range ports {
		out = append(out, fmt.Sprintf("%q", ports[i].TargetPort.String()))
	}
	return strings.Join(out, " or ")
}
