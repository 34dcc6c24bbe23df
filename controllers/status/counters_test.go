// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
)

var limitPolicyID = attach.PolicyID{Kind: v1alpha1.KindRateLimitPolicy, Name: "p"}

// Policies of two kinds may have one name, and limits the names of outcomes.
func TestCountersOfTwoKinds(t *testing.T) {
	c := newCounters()
	idempotency := attach.PolicyID{Kind: v1alpha1.KindIdempotencyPolicy, Name: "p"}
	in := scope{counts: map[countID]bool{
		{limitPolicyID, "wait"}: true, {idempotency, "wait"}: true, {idempotency, "replay"}: true, {idempotency, "refuse"}: true,
	}}
	c.observe([]*stream.PodState{{Uid: "u"}}, in, now)
	c.observe([]*stream.PodState{{Uid: "u", Report: &stream.Report{
		Shadow:            []*stream.ShadowCount{{Policy: "p", Limit: "wait", WouldDeny: 1}},
		IdempotencyShadow: []*stream.IdempotencyShadow{{Policy: "p", WouldReplay: 2, WouldRefuse: 3, WouldWait: 4}, {Policy: "q", WouldReplay: 9}},
	}}}, in, now)
	names := []string{"refuse", "replay", "wait"}
	if d := cmp.Diff(map[string]int64{"wait": 1}, c.of(limitPolicyID, names, now)); d != "" {
		t.Errorf("limits (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]int64{"replay": 2, "refuse": 3, "wait": 4}, c.of(idempotency, names, now)); d != "" {
		t.Errorf("outcomes (-want +got):\n%s", d)
	}
	if n := len(c.shadow); n != 4 {
		t.Errorf("%d counts are remembered, want 4", n)
	}
}

// What a sidecar has counted since its start, perhaps days ago, did not happen when a
// new leader hears of it first.
func TestCountersOfANewLeader(t *testing.T) {
	c := newCounters()
	in := scope{older: map[string]bool{"u": true}, counts: map[countID]bool{{limitPolicyID, "l"}: true}, ports: map[uint32]bool{80: true}}
	see := func(uid string, r *stream.Report) {
		c.observe([]*stream.PodState{{Uid: uid, Report: r}}, in, now)
	}
	report := func(n uint64) *stream.Report {
		return &stream.Report{
			Shadow:   []*stream.ShadowCount{{Policy: "p", Limit: "l", WouldDeny: n}},
			Problems: []*stream.PortProblem{{Kind: stream.PortProblem_KIND_ENCRYPTED_TRAFFIC, Port: 80, Count: n}},
		}
	}
	want := func(shadow int64, ports int) {
		t.Helper()
		got, _ := c.encrypted(now)
		if n := c.of(limitPolicyID, []string{"l"}, now)["l"]; n != shadow || len(got["u"])+len(got["v"]) != ports {
			t.Errorf("wouldDeny %d and TLS at %v, want %d and %d ports", n, got, shadow, ports)
		}
	}
	see("u", nil) // connected; its report comes later
	see("u", report(100))
	want(0, 0)
	see("u", report(101))
	want(1, 1)
	c = newCounters()
	see("v", nil) // a new pod
	see("v", report(7))
	want(7, 1)
}

func TestCountersOfAPodThatStartsAgain(t *testing.T) {
	c := newCounters()
	at := now
	in := scope{counts: map[countID]bool{{limitPolicyID, "l"}: true}, ports: map[uint32]bool{80: true}}
	see := func(shadow, tls uint64) {
		at = at.Add(time.Minute)
		c.observe([]*stream.PodState{{Uid: "u", Report: &stream.Report{
			Shadow:   []*stream.ShadowCount{{Policy: "p", Limit: "l", WouldDeny: shadow}},
			Problems: []*stream.PortProblem{{Kind: stream.PortProblem_KIND_ENCRYPTED_TRAFFIC, Port: 80, Count: tls}},
		}}}, in, at)
	}
	see(100, 1) // before it was seen
	if got, _ := c.encrypted(at); len(got) != 0 {
		t.Errorf("TLS at some time before: %v", got)
	}
	see(105, 2)
	see(3, 2) // after a restart
	if got := c.of(limitPolicyID, []string{"l"}, at)["l"]; got != 8 {
		t.Errorf("wouldDeny %d, want 8", got)
	}
	if got, _ := c.encrypted(at); len(got["u"]) != 1 {
		t.Errorf("TLS a minute ago: %v", got)
	}
	if got, _ := c.encrypted(at.Add(encryptedSpan)); len(got["u"]) != 0 {
		t.Errorf("TLS long ago: %v", got)
	}
	c.observe(nil, in, at)
	if len(c.pods) != 0 {
		t.Error("a pod that is gone is remembered")
	}
}

// A pod that makes up names does not fill the operator's memory, and huge counts stay
// numbers that a status can have.
func TestCountersAreBounded(t *testing.T) {
	c := newCounters()
	in := scope{counts: map[countID]bool{{limitPolicyID, "l"}: true}, ports: map[uint32]bool{80: true}}
	c.observe([]*stream.PodState{{Uid: "u"}}, in, now)
	for i := range 100 {
		c.observe([]*stream.PodState{{Uid: "u", Report: &stream.Report{
			Shadow:   []*stream.ShadowCount{{Policy: "p", Limit: fmt.Sprint(i), WouldDeny: 1}, {Policy: "p", Limit: "l", WouldDeny: math.MaxUint64}},
			Problems: []*stream.PortProblem{{Kind: stream.PortProblem_KIND_ENCRYPTED_TRAFFIC, Port: uint32(1000 + i), Count: 1}},
		}}}, in, now)
	}
	if n, m, p := len(c.shadow), len(c.pods["u"].shadow), len(c.pods["u"].problems); n != 1 || m != 1 || p != 0 {
		t.Errorf("remembered %d and %d limits, %d ports", n, m, p)
	}
	if got := c.of(limitPolicyID, []string{"l"}, now)["l"]; got != math.MaxInt64 {
		t.Errorf("wouldDeny %d", got)
	}
	c.observe(nil, scope{}, now)
	if n := len(c.shadow); n != 0 {
		t.Errorf("%d limits are remembered that are no more", n)
	}
}

// The counts of all pods are summed, of those that are gone too, and each leaves the
// hour by itself.
func TestCountersOverPods(t *testing.T) {
	c := newCounters()
	in := scope{counts: map[countID]bool{{limitPolicyID, "l"}: true}}
	at := now
	see := func(counts map[string]uint64) {
		t.Helper()
		var states []*stream.PodState
		for uid, n := range counts {
			states = append(states, &stream.PodState{Uid: uid, Report: &stream.Report{Shadow: []*stream.ShadowCount{{Policy: "p", Limit: "l", WouldDeny: n}}}})
		}
		c.observe(states, in, at)
	}
	want := func(n int64) {
		t.Helper()
		if got := c.of(limitPolicyID, []string{"l"}, at)["l"]; got != n {
			t.Errorf("wouldDeny %d after %v, want %d", got, at.Sub(now), n)
		}
	}
	see(map[string]uint64{"a": 0, "b": 0})
	see(map[string]uint64{"a": 10, "b": 5})
	want(15)
	at = now.Add(20 * time.Minute)
	see(map[string]uint64{"b": 12}) // a is gone
	want(22)
	at = now.Add(40 * time.Minute)
	see(map[string]uint64{"b": 12, "c": 0})
	see(map[string]uint64{"b": 2, "c": 1}) // b has started again
	want(25)
	at = now.Add(time.Hour + shadowSlot)
	want(10)
	at = now.Add(time.Hour + 20*time.Minute + shadowSlot)
	want(3)
	at = now.Add(2 * time.Hour)
	want(0)
}

// What is spread over the hour wears off evenly, to the last one.
func TestSpread(t *testing.T) {
	for _, n := range []uint64{0, 1, 59, 60, 61, 1_000_003} {
		s := &span{}
		s.spread(now, n)
		before := s.sum(now)
		if before != n {
			t.Errorf("%d become %d", n, before)
		}
		for i := 1; i <= len(s.slots); i++ {
			got := s.sum(now.Add(time.Duration(i) * shadowSlot))
			if d := before - got; got > before || d > n/60+1 {
				t.Errorf("%d: from %d to %d in minute %d", n, before, got, i)
			}
			before = got
		}
		if before != 0 {
			t.Errorf("%d: %d are left after an hour", n, before)
		}
	}
}
