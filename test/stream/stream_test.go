// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/controllers/hub"
	"weir.dev/weir/sidecar/engine"
)

var workload = hub.Workload{Namespace: "shop", Key: "w1"}

func podOf(name string) hub.Pod {
	return hub.Pod{Namespace: "shop", Name: name, UID: "uid-" + name}
}

// publish gives a workload policies, one a port from 8080 on. A generation below
// zero makes one that the engine refuses.
func publish(r *replica, generations map[string]int64) {
	snap := &snapshot.Snapshot{Workload: &snapshot.Workload{Cluster: "c", Namespace: "shop", Key: "w1"}}
	for i, name := range slices.Sorted(maps.Keys(generations)) {
		gen := generations[name]
		limit := &snapshot.Limit{
			Name: "l", OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP,
			Algorithm: snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW, Limit: 5, WindowSeconds: 60, Scope: snapshot.Scope_SCOPE_POD,
		}
		if gen < 0 {
			gen, limit.Limit = -gen, 0
		}
		snap.RateLimitPolicies = append(snap.RateLimitPolicies, &snapshot.RateLimitPolicy{
			Name: name, Generation: gen, Limits: []*snapshot.Limit{limit},
			FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_OPEN, Headers: snapshot.HeaderStyle_HEADER_STYLE_IETF,
		})
		snap.Ports = append(snap.Ports, &snapshot.Port{
			Number: uint32(8080 + i), Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: name,
		})
	}
	r.hub.Publish(workload, hub.Publication{Snapshot: snap})
}

func TestPublishToAck(t *testing.T) {
	c := newCluster(t)
	r := c.start("a", "")
	s := c.sidecar("one", r.port, engine.Features())
	publish(r, map[string]int64{"pay": 1})
	eventually(t, "connected", s.source.Connected)
	if _, ready := s.engine.Port(8080); ready {
		t.Error("a pod that is not assigned has a snapshot")
	}
	r.hub.Assign(podOf("one"), workload)
	eventually(t, "generation 1 acked", func() bool { return r.acked("one", "pay") == 1 })
	if !s.governed(8080) {
		t.Error("acked, but the port is not governed")
	}
	publish(r, map[string]int64{"pay": 2})
	eventually(t, "generation 2 acked", func() bool { return r.acked("one", "pay") == 2 })
	r.hub.Assign(podOf("one"), hub.Workload{Namespace: "shop"})
	eventually(t, "nothing governed any more", func() bool { return !s.governed(8080) && r.acked("one", "pay") == 0 })
}

// A refused policy stays as it was, the other one goes on, and the reason reaches
// the state that status is written from.
func TestNack(t *testing.T) {
	c := newCluster(t)
	r := c.start("a", "")
	s := c.sidecar("one", r.port, engine.Features())
	r.hub.Assign(podOf("one"), workload)
	publish(r, map[string]int64{"list": 1, "pay": 1})
	eventually(t, "both acked", func() bool { return r.acked("one", "pay") == 1 && r.acked("one", "list") == 1 })
	publish(r, map[string]int64{"list": 2, "pay": -2})
	eventually(t, "the other acked", func() bool { return r.acked("one", "list") == 2 })
	p := r.pod("one")
	if got := r.acked("one", "pay"); got != 1 {
		t.Errorf("the refused policy is acked in generation %d, want 1", got)
	}
	if n := p.GetRefused(); len(n) != 1 || n[0].GetPolicy() != "RateLimitPolicy/pay" || n[0].GetReason() == "" {
		t.Errorf("refused: %v", n)
	}
	if !s.governed(8080) || !s.governed(8081) {
		t.Error("a port is not governed any more")
	}
	publish(r, map[string]int64{"list": 2, "pay": 3})
	eventually(t, "the mended one acked", func() bool { return r.acked("one", "pay") == 3 })
	if p := r.pod("one"); p.GetNack() != nil || len(p.GetRefused()) != 0 {
		t.Errorf("a refusal is left over: %v", p)
	}
}

// The sidecar comes to a replica that has never seen what it serves: that still
// counts, and other policies go on.
func TestNackOnAnotherReplica(t *testing.T) {
	c := newCluster(t)
	r := c.start("a", "")
	c.sidecar("one", r.port, engine.Features())
	r.hub.Assign(podOf("one"), workload)
	publish(r, map[string]int64{"list": 1, "pay": 1})
	eventually(t, "both acked", func() bool { return r.acked("one", "pay") == 1 && r.acked("one", "list") == 1 })
	publish(r, map[string]int64{"list": 2, "pay": -2})
	eventually(t, "the other acked", func() bool { return r.acked("one", "list") == 2 })
	r.stop()
	r = c.start("b", r.port)
	r.hub.Assign(podOf("one"), workload)
	publish(r, map[string]int64{"list": 2, "pay": -2})
	eventually(t, "refused again", func() bool { return len(r.pod("one").GetRefused()) == 1 })
	if pay, list := r.acked("one", "pay"), r.acked("one", "list"); pay != 1 || list != 2 {
		t.Errorf("acked pay %d and list %d, want 1 and 2", pay, list)
	}
	publish(r, map[string]int64{"list": 3, "pay": -2})
	eventually(t, "the other goes on", func() bool { return r.acked("one", "list") == 3 && r.acked("one", "pay") == 1 })
}

// A sidecar that is too old acks what it has, which is not the policy.
func TestOldSidecar(t *testing.T) {
	c := newCluster(t)
	r := c.start("a", "")
	r.hub.Assign(podOf("old"), workload)
	publish(r, map[string]int64{"pay": 1})
	s := c.sidecar("old", r.port, nil)
	eventually(t, "something acked", func() bool { return r.pod("old").GetAckedHash() != "" })
	p := r.pod("old")
	if !slices.Equal(p.GetUnsupported(), []string{"RateLimitPolicy/pay"}) || len(p.GetAcked()) != 0 {
		t.Errorf("unsupported %v, acked %v", p.GetUnsupported(), p.GetAcked())
	}
	if s.governed(8080) {
		t.Error("the port is governed")
	}
}

// The operator is away: what serves goes on, also after the container restarts.
// When it is back with the same content nothing has to be sent.
func TestOperatorAway(t *testing.T) {
	c := newCluster(t)
	r := c.start("a", "")
	r.hub.Assign(podOf("one"), workload)
	publish(r, map[string]int64{"pay": 1})
	s := c.sidecar("one", r.port, engine.Features())
	eventually(t, "acked", func() bool { return r.acked("one", "pay") == 1 })
	first := s.source.Current()
	r.stop()
	eventually(t, "disconnected", func() bool { return !s.source.Connected() })
	if !s.governed(8080) {
		t.Error("the port is not governed while the operator is away")
	}
	s.stop()
	s = c.sidecar("one", r.port, engine.Features())
	if !s.governed(8080) {
		t.Error("the port is not governed after a restart")
	}
	again := c.start("a2", r.port)
	again.hub.Assign(podOf("one"), workload)
	publish(again, map[string]int64{"pay": 1})
	eventually(t, "acked by hello", func() bool { return again.acked("one", "pay") == 1 })
	if !proto.Equal(first, s.source.Current()) {
		t.Errorf("current is %v, want what it was: %v", s.source.Current(), first)
	}
}

// Streams are spread over two replicas; the leader dies, and the other one becomes
// the leader and knows every pod.
func TestLeaderKilled(t *testing.T) {
	c := newCluster(t)
	a, b := c.start("a", ""), c.start("b", "")
	c.elect(a)
	const pods = 6
	for i := range pods {
		name := fmt.Sprintf("pod-%d", i)
		port := a.port
		if i%2 == 1 {
			port = b.port
		}
		for _, r := range []*replica{a, b} {
			r.hub.Assign(podOf(name), workload)
		}
		c.sidecar(name, port, engine.Features())
	}
	all := func(r *replica, generation int64) bool {
		n := 0
		for _, p := range r.tracker.Pods("shop") {
			if p.GetConnected() && r.acked(p.GetPod(), "pay") == generation {
				n++
			}
		}
		return n == pods
	}
	for _, r := range []*replica{a, b} {
		publish(r, map[string]int64{"pay": 1})
	}
	eventually(t, "the leader knows all", func() bool { return all(a, 1) })
	c.elect(b)
	eventually(t, "the new leader knows all", func() bool { return all(b, 1) })
	a.stop()
	publish(b, map[string]int64{"pay": 2})
	eventually(t, "the pods of the new leader go on", func() bool {
		n := 0
		for i := 1; i < pods; i += 2 {
			if b.acked(fmt.Sprintf("pod-%d", i), "pay") == 2 {
				n++
			}
		}
		return n == pods/2
	})
	// The others come back through the address they have.
	again := c.start("a2", a.port)
	for i := range pods {
		again.hub.Assign(podOf(fmt.Sprintf("pod-%d", i)), workload)
	}
	publish(again, map[string]int64{"pay": 2})
	eventually(t, "the new leader knows all of the new generation", func() bool { return all(b, 2) })
}

// Many policies change at once and one after the other; everybody ends with the
// last.
func TestStorm(t *testing.T) {
	c := newCluster(t)
	r := c.start("a", "")
	const pods, last = 20, 50
	for i := range pods {
		name := fmt.Sprintf("pod-%d", i)
		r.hub.Assign(podOf(name), workload)
		c.sidecar(name, r.port, engine.Features())
	}
	for g := range last {
		publish(r, map[string]int64{"pay": int64(g + 1), "list": int64(g + 1)})
	}
	for i := range pods {
		name := fmt.Sprintf("pod-%d", i)
		eventually(t, name+" has the last", func() bool { return r.acked(name, "pay") == last && r.acked(name, "list") == last })
	}
	if got := len(r.tracker.Pods("shop")); got != pods {
		t.Errorf("%d pods, want %d", got, pods)
	}
}
