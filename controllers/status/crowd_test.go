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
	}{
		"a crowd":             {problem(stream.PortProblem_KIND_FEW_PEERS, 8080), []string{"by-ip"}, true, message},
		"two limits":          {problem(stream.PortProblem_KIND_FEW_PEERS, 8080), []string{"a", "b"}, true, "Limits a, b count by clientIP, "},
		"no such limit":       {problem(stream.PortProblem_KIND_FEW_PEERS, 8080), nil, true, ""},
		"at another port":     {problem(stream.PortProblem_KIND_FEW_PEERS, 9090), []string{"by-ip"}, true, ""},
		"another problem":     {problem(stream.PortProblem_KIND_UNSPECIFIED, 8080), []string{"by-ip"}, true, ""},
		"of a pod not ready":  {problem(stream.PortProblem_KIND_FEW_PEERS, 8080), []string{"by-ip"}, false, ""},
		"nothing is reported": {nil, []string{"by-ip"}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := ready(acked(2)).Pod
			p.UID, p.Ready = "u", c.ready
			state := acked(2)
			state.Report = &stream.Report{Problems: c.problems}
			r := Conditions(Observation{
				Now: now, Since: now,
				Verdict: compile.Verdict{
					Policy: attach.PolicyID{Kind: "RateLimitPolicy", Name: "pay"}, Generation: 2,
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
