// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/compile"
)

const policy = "RateLimitPolicy/pay"

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// pod is one line of a table: what is known of a pod at generation 2.
type pod struct {
	attach.Pod
	state *stream.PodState
}

func ready(state *stream.PodState) pod {
	return pod{attach.Pod{Ready: true, Sidecar: true, ReadySince: now.Add(-time.Hour)}, state}
}

func unready(state *stream.PodState) pod {
	p := ready(state)
	p.Ready = false
	return p
}

func bare() pod { return pod{attach.Pod{Ready: true}, nil} }

func acked(generation int64) *stream.PodState {
	return &stream.PodState{
		Connected: true, Since: timestamppb.New(now.Add(-time.Hour)),
		Acked: []*stream.PolicyGeneration{{Policy: "RateLimitPolicy/other", Generation: 2}, {Policy: policy, Generation: generation}},
	}
}

func gone(ago time.Duration) *stream.PodState {
	s := acked(2)
	s.Connected, s.Since = false, timestamppb.New(now.Add(-ago))
	return s
}

func refused(by string) *stream.PodState {
	s := acked(1)
	s.Nack = &stream.Nack{Policy: by, Reason: "The limit is odd."}
	if by != "" {
		s.Refused = []*stream.Nack{s.Nack}
	}
	return s
}

func tooOld() *stream.PodState {
	return &stream.PodState{Connected: true, Unsupported: []string{policy}}
}

func TestProgrammed(t *testing.T) {
	const long, short = -time.Minute, -time.Second
	cases := map[string]struct {
		since     time.Duration
		pods      []pod
		bypass    []string
		encrypted []uint16
		status    string
		reason    v1alpha1.ConditionReason
		message   string
		rollout   v1alpha1.RolloutStatus
		next      time.Duration
	}{
		"no pods": {
			status: "Unknown", reason: v1alpha1.ReasonNoPods, message: "The targets select no ready pod.",
		},
		"no ready pod": {
			pods:   []pod{unready(nil)},
			status: "Unknown", reason: v1alpha1.ReasonNoPods, message: "The targets select no ready pod; 1 pod is not ready.",
		},
		"not ready because they refuse": {
			pods:   []pod{unready(refused(policy)), unready(nil)},
			status: "False", reason: v1alpha1.ReasonRejected, message: "1 pod refuses the policy: The limit is odd.",
		},
		"all acked": {
			pods:   []pod{ready(acked(2)), ready(acked(2))},
			status: "True", reason: v1alpha1.ReasonProgrammed, message: "All 2 ready pods acknowledged generation 2.",
			rollout: v1alpha1.RolloutStatus{Pods: 2, Current: 2},
		},
		"the one acked": {
			pods:   []pod{ready(acked(2)), unready(acked(1))},
			status: "True", reason: v1alpha1.ReasonProgrammed, message: "The 1 ready pod acknowledged generation 2.",
			rollout: v1alpha1.RolloutStatus{Pods: 1, Current: 1},
		},
		"none yet": {
			since: short, pods: []pod{ready(acked(1)), ready(nil)},
			status: "False", reason: v1alpha1.ReasonReconciling, message: "0 of 2 pods acknowledged generation 2.",
			rollout: v1alpha1.RolloutStatus{Pods: 2, Stale: 2}, next: 29 * time.Second,
		},
		"one waits": {
			since: short, pods: []pod{ready(acked(2)), ready(acked(1))},
			status: "False", reason: v1alpha1.ReasonReconciling, message: "1 of 2 pods acknowledged generation 2.",
			rollout: v1alpha1.RolloutStatus{Pods: 2, Current: 1, Stale: 1}, next: 29 * time.Second,
		},
		"one lags": {
			since: long, pods: []pod{ready(acked(2)), ready(acked(1))},
			status: "True", reason: v1alpha1.ReasonPartiallyProgrammed,
			message: "1 of 2 pods acknowledged generation 2. 1 pod has not answered for 30s: see the logs of the container weir-sidecar.",
			rollout: v1alpha1.RolloutStatus{Pods: 2, Current: 1, Stale: 1},
		},
		"all lag": {
			since: long, pods: []pod{ready(acked(1))},
			status: "False", reason: v1alpha1.ReasonReconciling,
			message: "0 of 1 pod acknowledged generation 2. 1 pod has not answered for 30s: see the logs of the container weir-sidecar.",
			rollout: v1alpha1.RolloutStatus{Pods: 1, Stale: 1},
		},
		"scaled up": {
			since: long, pods: []pod{ready(acked(2)), {attach.Pod{Ready: true, Sidecar: true, ReadySince: now.Add(-10 * time.Second)}, nil}},
			status: "False", reason: v1alpha1.ReasonReconciling, message: "1 of 2 pods acknowledged generation 2.",
			rollout: v1alpha1.RolloutStatus{Pods: 2, Current: 1, Stale: 1}, next: 20 * time.Second,
		},
		"disconnected a moment ago": {
			pods:   []pod{ready(gone(10 * time.Second))},
			status: "True", reason: v1alpha1.ReasonProgrammed, message: "The 1 ready pod acknowledged generation 2.",
			rollout: v1alpha1.RolloutStatus{Pods: 1, Current: 1}, next: 20 * time.Second,
		},
		"disconnected for long": {
			pods:   []pod{ready(gone(time.Minute)), ready(acked(2))},
			status: "True", reason: v1alpha1.ReasonPartiallyProgrammed,
			message: "2 of 2 pods acknowledged generation 2. 1 pod has been disconnected for 30s; what they had, they go on enforcing.",
			rollout: v1alpha1.RolloutStatus{Pods: 2, Current: 2},
		},
		"one refuses": {
			since: short, pods: []pod{ready(acked(2)), ready(refused(policy))},
			status: "True", reason: v1alpha1.ReasonPartiallyProgrammed,
			message: "1 of 2 pods acknowledged generation 2. 1 pod refuses it: The limit is odd.",
			rollout: v1alpha1.RolloutStatus{Pods: 2, Current: 1, Stale: 1},
		},
		"all refuse": {
			since: short, pods: []pod{ready(refused(policy)), ready(refused("")), bare()},
			status: "False", reason: v1alpha1.ReasonRejected, message: "Every pod refuses the policy: The limit is odd.",
			rollout: v1alpha1.RolloutStatus{Pods: 3, Stale: 2, MissingSidecar: 1},
		},
		"a predecessor of the same name was acked": {
			since: short, pods: []pod{ready(func() *stream.PodState { s := acked(2); s.Acked[1].Uid = "before"; return s }())},
			status: "False", reason: v1alpha1.ReasonReconciling, message: "0 of 1 pod acknowledged generation 2.",
			rollout: v1alpha1.RolloutStatus{Pods: 1, Stale: 1}, next: 29 * time.Second,
		},
		"another policy is refused": {
			pods:   []pod{ready(func() *stream.PodState { s := refused("RateLimitPolicy/other"); s.Acked = acked(2).Acked; return s }())},
			status: "True", reason: v1alpha1.ReasonProgrammed, message: "The 1 ready pod acknowledged generation 2.",
			rollout: v1alpha1.RolloutStatus{Pods: 1, Current: 1},
		},
		"too old": {
			since: short, pods: []pod{ready(tooOld()), ready(acked(2))},
			status: "True", reason: v1alpha1.ReasonPartiallyProgrammed,
			message: "1 of 2 pods acknowledged generation 2. 1 pod has a sidecar too old for it: restart them.",
			rollout: v1alpha1.RolloutStatus{Pods: 2, Current: 1, Stale: 1},
		},
		"no sidecars": {
			pods:   []pod{bare(), bare()},
			status: "False", reason: v1alpha1.ReasonNoSidecars,
			message: "2 pods have no sidecar: label the namespace `weir.dev/inject=enabled` and restart the pods, as with `kubectl rollout restart`.",
			rollout: v1alpha1.RolloutStatus{Pods: 2, MissingSidecar: 2},
		},
		"one without sidecar": {
			pods:   []pod{bare(), ready(acked(2))},
			status: "True", reason: v1alpha1.ReasonPartiallyProgrammed,
			message: "1 of 2 pods acknowledged generation 2. 1 pod has no sidecar: " + howToInject,
			rollout: v1alpha1.RolloutStatus{Pods: 2, Current: 1, MissingSidecar: 1},
		},
		"bypass": {
			pods: []pod{ready(acked(2))}, bypass: []string{"A.", "B."},
			status: "False", reason: v1alpha1.ReasonTrafficBypassesSidecar, message: "A. B.",
			rollout: v1alpha1.RolloutStatus{Pods: 1, Current: 1},
		},
		"TLS": {
			pods: []pod{ready(acked(2))}, encrypted: []uint16{8080},
			status: "False", reason: v1alpha1.ReasonEncryptedTraffic,
			message: "TLS came to container port 8080, where the sidecar cannot read it: end TLS before the pod (ingress, gateway or mesh), or take the port out of the policy.",
			rollout: v1alpha1.RolloutStatus{Pods: 1, Current: 1},
		},
		"TLS at another port": {
			pods: []pod{ready(acked(2))}, encrypted: []uint16{9090},
			status: "True", reason: v1alpha1.ReasonProgrammed, message: "The 1 ready pod acknowledged generation 2.",
			rollout: v1alpha1.RolloutStatus{Pods: 1, Current: 1},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := Observation{
				Verdict: compile.Verdict{
					Policy: attach.PolicyID{Kind: "RateLimitPolicy", Name: "pay"}, Generation: 2, Reason: v1alpha1.ReasonAccepted,
					Targets: []attach.Target{{Name: "pay", Reason: v1alpha1.ReasonAccepted, Ports: []uint16{8080}, Bypass: c.bypass}},
				},
				Pods: map[string]*stream.PodState{}, Since: now.Add(c.since), Now: now, Encrypted: map[string][]uint16{},
			}
			for i, p := range c.pods {
				p.UID = fmt.Sprint("u", i)
				o.Pods[p.UID] = p.state
				o.Encrypted[p.UID] = c.encrypted
				o.Verdict.Targets[0].Pods = append(o.Verdict.Targets[0].Pods, p.Pod)
			}
			r := Conditions(o)
			want := Condition{v1alpha1.ConditionProgrammed, "", c.reason, c.message}
			want.Status = r.Conditions[1].Status
			if string(want.Status) != c.status {
				t.Errorf("status %s, want %s", want.Status, c.status)
			}
			if d := cmp.Diff(want, r.Conditions[1]); d != "" {
				t.Errorf("Programmed (-want +got):\n%s", d)
			}
			if d := cmp.Diff(r.Conditions[1], r.Targets[0].Conditions[1]); d != "" {
				t.Errorf("of the only target (-policy +target):\n%s", d)
			}
			if d := cmp.Diff(c.rollout, r.Rollout); d != "" {
				t.Errorf("rollout (-want +got):\n%s", d)
			}
			var next time.Time
			if c.next > 0 {
				next = now.Add(c.next)
			}
			if !r.Next.Equal(next) {
				t.Errorf("next %v, want %v", r.Next, next)
			}
		})
	}
}

// Programmed is True only after an ack, and as soon as every ready pod acked.
func TestProgrammedOnlyFromAcks(t *testing.T) {
	kinds := map[string]func() pod{
		"current": func() pod { return ready(acked(2)) }, "before": func() pod { return ready(acked(1)) }, "unknown": func() pod { return ready(nil) },
		"refused": func() pod { return ready(refused(policy)) }, "old": func() pod { return ready(tooOld()) }, "bare": bare,
		"away": func() pod { return ready(gone(time.Minute)) }, "unready": func() pod { return unready(acked(2)) },
	}
	rapid.Check(t, func(r *rapid.T) {
		names := rapid.SliceOfN(rapid.SampledFrom(slices.Sorted(maps.Keys(kinds))), 0, 5).Draw(r, "pods")
		o := Observation{
			Verdict: compile.Verdict{
				Policy: attach.PolicyID{Kind: "RateLimitPolicy", Name: "pay"}, Generation: 2, Reason: v1alpha1.ReasonAccepted,
				Targets: []attach.Target{{Name: "pay", Reason: v1alpha1.ReasonAccepted}},
			},
			Pods: map[string]*stream.PodState{}, Now: now, Since: now.Add(-time.Duration(rapid.IntRange(0, 60).Draw(r, "age")) * time.Second),
		}
		enforcing, all := 0, 0
		for i, name := range names {
			p := kinds[name]()
			p.UID = fmt.Sprint("u", i)
			o.Pods[p.UID] = p.state
			o.Verdict.Targets[0].Pods = append(o.Verdict.Targets[0].Pods, p.Pod)
			if p.Ready {
				all++
				if name == "current" || name == "away" {
					enforcing++
				}
			}
		}
		got := Conditions(o)
		c := got.Conditions[1]
		if c.Status == "True" && enforcing == 0 {
			r.Fatalf("True without an ack: %+v", c)
		}
		if all > 0 && enforcing == all && c.Status != "True" {
			r.Fatalf("every pod acked: %+v", c)
		}
		if n := got.Rollout; all > 0 && n.Pods != n.Current+n.Stale+n.MissingSidecar {
			r.Fatalf("counts do not add up: %+v", n)
		}
		if c.Reason == v1alpha1.ReasonProgrammed && (int(got.Rollout.Current) != all || enforcing != all) {
			r.Fatalf("Programmed with %d of %d", got.Rollout.Current, all)
		}
	})
}

func TestNotAccepted(t *testing.T) {
	r := Conditions(Observation{Now: now, Verdict: compile.Verdict{
		Reason: v1alpha1.ReasonUnsupported, Message: "Why.",
		Targets: []attach.Target{{Name: "pay", Reason: v1alpha1.ReasonUnsupported, Message: "Why."}},
	}})
	want := []Condition{
		{v1alpha1.ConditionAccepted, "False", v1alpha1.ReasonUnsupported, "Why."},
		{v1alpha1.ConditionProgrammed, "False", v1alpha1.ReasonUnsupported, "It is not accepted, so no pod enforces it."},
	}
	if d := cmp.Diff(want, r.Conditions); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff(want, r.Targets[0].Conditions); d != "" {
		t.Errorf("target (-want +got):\n%s", d)
	}
}

// A pod behind two targets is one pod; only accepted targets count.
func TestRolloutCountsPodsOnce(t *testing.T) {
	p := attach.Pod{UID: "u", Ready: true, Sidecar: true}
	r := Conditions(Observation{
		Now: now, Pods: map[string]*stream.PodState{"u": acked(2)},
		Verdict: compile.Verdict{
			Policy: attach.PolicyID{Kind: "RateLimitPolicy", Name: "pay"}, Generation: 2, Reason: v1alpha1.ReasonPartiallyAccepted,
			Targets: []attach.Target{
				{Name: "a", Reason: v1alpha1.ReasonAccepted, Pods: []attach.Pod{p}},
				{Name: "b", Reason: v1alpha1.ReasonPartiallyAccepted, Pods: []attach.Pod{p}},
				{Name: "c", Reason: v1alpha1.ReasonTargetNotFound},
			},
		},
	})
	if d := cmp.Diff(v1alpha1.RolloutStatus{Pods: 1, Current: 1}, r.Rollout); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got := r.Conditions[1].Reason; got != v1alpha1.ReasonProgrammed {
		t.Errorf("Programmed is %s", got)
	}
}

func TestCut(t *testing.T) {
	long := strings.Repeat("ä", maxMessage)
	if got := cut(long); len(got) > maxMessage+len(" …") || !strings.HasSuffix(got, "ä …") {
		t.Errorf("cut to %d bytes, ending in %q", len(got), got[len(got)-8:])
	}
}
