// SPDX-License-Identifier: Apache-2.0

package status

import (
	"strings"
	"testing"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/compile"
)

// Few peers that speak for others are a warning at policies that count by address,
// and change nothing else.
func TestCrowdWarning(t *testing.T) {
	problem := func(kind stream.PortProblem_Kind, port uint32) []*stream.PortProblem {
		return []*stream.PortProblem{{Kind: kind, Port: port}}
	}
	const message = "The policy is accepted. Warning: Over 90 % of the requests to container port 8080 come from three peers or fewer and carry " +
		"X-Forwarded-For. Limit by-ip counts by clientIP, and so everybody behind such a peer as one client: "
	for name, c := range map[string]struct {
		problems  []*stream.PortProblem
		byAddress []string
		ready     bool
		want      string
		kind      string
	}{
		"a crowd":            {problem(stream.PortProblem_KIND_FEW_PEERS, 8080), []string{"by-ip"}, true, message, "RateLimitPolicy"},
		"two limits":         {problem(stream.PortProblem_KIND_FEW_PEERS, 8080), []string{"a", "b"}, true, "Limits a, b count by clientIP, ", "RateLimitPolicy"},
		"no such limit":      {problem(stream.PortProblem_KIND_FEW_PEERS, 8080), nil, true, "", "RateLimitPolicy"},
		"at another port":    {problem(stream.PortProblem_KIND_FEW_PEERS, 9090), []string{"by-ip"}, true, "", "RateLimitPolicy"},
		"another problem":    {problem(stream.PortProblem_KIND_UNSPECIFIED, 8080), []string{"by-ip"}, true, "", "RateLimitPolicy"},
		"of a pod not ready": {problem(stream.PortProblem_KIND_FEW_PEERS, 8080), []string{"by-ip"}, false, "", "RateLimitPolicy"},
		"a scope": {problem(stream.PortProblem_KIND_FEW_PEERS, 8080), []string{compile.ByScope}, true,
			"The policy's scope has clientIP, and so everybody behind such a peer is one client, who is answered what others have been: if it is your ingress", "IdempotencyPolicy"},
		"nothing is reported": {nil, []string{"by-ip"}, true, "", "RateLimitPolicy"},
	} {
		t.Run(name, func(t *testing.T) {
			p := ready(acked(2)).Pod
			p.UID, p.Ready = "u", c.ready
			state := acked(2)
			state.Acked[0].Policy = c.kind + "/pay"
			state.Report = &stream.Report{Problems: c.problems}
			r := Conditions(Observation{
				Now: now, Since: now,
				Verdict: compile.Verdict{
					Policy: attach.PolicyID{Kind: c.kind, Name: "pay"}, Generation: 2,
					Reason: v1alpha1.ReasonAccepted, Message: compile.AcceptedMessage, ByAddress: c.byAddress,
					Targets: []attach.Target{{Name: "s", Reason: v1alpha1.ReasonAccepted, Ports: []uint16{8080}, Pods: []attach.Pod{p}}},
				},
				Pods: map[string]*stream.PodState{"u": state},
			})
			got := r.Conditions[0]
			if got.Reason != v1alpha1.ReasonAccepted || got.Status != "True" {
				t.Errorf("Accepted is %s, %s", got.Status, got.Reason)
			}
			if c.want == "" && got.Message != compile.AcceptedMessage || !strings.Contains(got.Message, c.want) {
				t.Errorf("got %q, want %q", got.Message, c.want)
			}
		})
	}
}

// A store that forgets is a warning at policies that keep records there.
func TestEvictionWarning(t *testing.T) {
	eviction := func(store, detail string) []*stream.StoreProblem {
		return []*stream.StoreProblem{{Store: store, Kind: stream.StoreProblem_KIND_EVICTION, Detail: detail}}
	}
	for name, c := range map[string]struct {
		stores []*stream.StoreProblem
		kind   string
		want   string
	}{
		"it forgets": {eviction("default", "allkeys-lru"), "IdempotencyPolicy",
			`The policy is accepted. Warning: Store "default" removes keys when its memory is full (maxmemory-policy allkeys-lru). `},
		"nobody says how":  {eviction("default", ""), "IdempotencyPolicy", "memory is full. With a record"},
		"another store":    {eviction("other", "allkeys-lru"), "IdempotencyPolicy", ""},
		"another problem":  {[]*stream.StoreProblem{{Store: "default"}}, "IdempotencyPolicy", ""},
		"counts are not":   {eviction("default", "allkeys-lru"), "RateLimitPolicy", ""},
		"nothing is wrong": {nil, "IdempotencyPolicy", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := ready(acked(2)).Pod
			p.UID = "u"
			state := acked(2)
			state.Acked[0].Policy = c.kind + "/pay"
			state.Report = &stream.Report{Stores: c.stores}
			r := Conditions(Observation{
				Now: now, Since: now,
				Verdict: compile.Verdict{
					Policy: attach.PolicyID{Kind: c.kind, Name: "pay"}, Generation: 2, Store: "default",
					Reason: v1alpha1.ReasonAccepted, Message: compile.AcceptedMessage,
					Targets: []attach.Target{{Name: "s", Reason: v1alpha1.ReasonAccepted, Ports: []uint16{8080}, Pods: []attach.Pod{p}}},
				},
				Pods: map[string]*stream.PodState{"u": state},
			})
			got := r.Conditions[0]
			if got.Reason != v1alpha1.ReasonAccepted || got.Status != "True" {
				t.Errorf("Accepted is %s, %s", got.Status, got.Reason)
			}
			if c.want == "" && got.Message != compile.AcceptedMessage || !strings.Contains(got.Message, c.want) {
				t.Errorf("got %q, want %q", got.Message, c.want)
			}
			if programmed := r.Conditions[1]; programmed.Reason != v1alpha1.ReasonProgrammed {
				t.Errorf("Programmed is %s", programmed.Reason)
			}
		})
	}
}
