// SPDX-License-Identifier: Apache-2.0

package status

import (
	"slices"
	"time"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/attach"
)

// Patience is how long a pod may lag or be disconnected before it leaves the
// denominator.
const Patience = 30 * time.Second

// standing is what one ready pod is to a policy.
type standing int

const (
	// current pods acked this generation at all of its ports.
	current standing = iota
	// waiting pods may still do so.
	waiting
	// lagging pods have had Patience to.
	lagging
	// disconnected pods have been away for Patience, whatever they acked.
	disconnected
	// rejecting pods refuse it.
	rejecting
	// outdated pods have a sidecar that cannot enforce it.
	outdated
	// missing pods have no sidecar.
	missing
)

// tally counts pods by standing.
type tally struct {
	by [missing + 1]int
	// ready is their sum.
	ready int
	// notReady pods count nowhere else.
	notReady int
	// notReadyRejecting are those of them that refuse.
	notReadyRejecting int
	// reason is what the first pod that refuses says.
	reason string
	// disconnectedCurrent are disconnected pods that acked this generation.
	disconnectedCurrent int
	// unheard are waiting pods that another replica may know of.
	unheard int
	// next is when a pod's standing changes by the mere passing of time.
	next time.Time
}

// acked pods are those that acknowledged this generation, wherever they are now.
func (t *tally) acked() int { return t.by[current] + t.disconnectedCurrent }

func (t *tally) sidecars() int { return t.ready - t.by[missing] }

// reach is at which container ports a policy governs pods, by workload.
type reach map[string][]uint16

func (r reach) add(more reach) {
	for workload, ports := range more {
		r[workload] = append(r[workload], ports...)
	}
}

// within reports whether every port of r is one of other's, whatever the workload.
func (r reach) within(other reach) bool {
	var known []uint16
	for _, ports := range other {
		known = append(known, ports...)
	}
	for _, ports := range r {
		for _, p := range ports {
			if !slices.Contains(known, p) {
				return false
			}
		}
	}
	return true
}

func (o *Observation) tally(pods []attach.Pod, at reach) tally {
	var t tally
	for i := range pods {
		p := &pods[i]
		s, until := o.standing(p, at[p.Workload])
		if s == rejecting && t.reason == "" {
			t.reason = o.refusal(o.Pods[p.UID])
		}
		if !p.Ready {
			t.notReady++
			if s == rejecting {
				t.notReadyRejecting++
			}
			continue
		}
		t.ready++
		t.by[s]++
		if s == waiting && o.unheard(p) {
			t.unheard++
		}
		if s == disconnected && o.acked(o.Pods[p.UID], at[p.Workload]) {
			t.disconnectedCurrent++
		}
		if !until.IsZero() && (t.next.IsZero() || until.Before(t.next)) {
			t.next = until
		}
	}
	return t
}

// unheard reports whether a pod may have acked to another replica: it was ready
// before this one led, and has said nothing here. Times of pods are whole seconds.
func (o *Observation) unheard(p *attach.Pod) bool {
	return p.ReadySince.Before(o.Leading.Truncate(time.Second)) && len(o.Pods[p.UID].GetAcked()) == 0
}

// standing also returns when it ends by itself; zero: never.
func (o *Observation) standing(p *attach.Pod, ports []uint16) (standing, time.Time) {
	state := o.Pods[p.UID]
	switch {
	case !p.Sidecar:
		return missing, time.Time{}
	case o.acked(state, ports):
		if state.GetConnected() {
			return current, time.Time{}
		}
		return o.patience(current, disconnected, state.GetSince().AsTime())
	case o.refusal(state) != "":
		return rejecting, time.Time{}
	case slices.Contains(state.GetUnsupported(), o.Verdict.Policy.String()):
		return outdated, time.Time{}
	}
	since := o.Since
	if p.ReadySince.After(since) {
		since = p.ReadySince
	}
	if o.unheard(p) && o.Leading.After(since) {
		since = o.Leading
	}
	return o.patience(waiting, lagging, since)
}

// patience is before until Patience is over, then after.
func (o *Observation) patience(before, after standing, since time.Time) (standing, time.Time) {
	if end := since.Add(Patience); o.Now.Before(end) {
		return before, end
	}
	return after, time.Time{}
}

// acked reports whether a pod enforces the policy at all of its ports: they may become
// more while the generation stays, as when another policy is deleted.
func (o *Observation) acked(state *stream.PodState, ports []uint16) bool {
	policy := o.Verdict.Policy.String()
	for _, a := range state.GetAcked() {
		if a.GetPolicy() == policy {
			return a.GetGeneration() == o.Verdict.Generation && a.GetUid() == string(o.Verdict.UID) && covers(a.GetPorts(), ports)
		}
	}
	return false
}

func covers(have []uint32, want []uint16) bool {
	for _, p := range want {
		if !slices.Contains(have, uint32(p)) {
			return false
		}
	}
	return true
}

// refusal is why a pod refuses the policy; empty: it does not.
func (o *Observation) refusal(state *stream.PodState) string {
	for _, n := range state.GetRefused() {
		if n.GetPolicy() == o.Verdict.Policy.String() {
			return orNone(n.GetReason())
		}
	}
	if n := state.GetNack(); n != nil && (n.GetPolicy() == "" || n.GetPolicy() == o.Verdict.Policy.String()) {
		return orNone(n.GetReason())
	}
	return ""
}

func orNone(reason string) string {
	if reason == "" {
		return "The sidecar gave no reason."
	}
	return reason
}
