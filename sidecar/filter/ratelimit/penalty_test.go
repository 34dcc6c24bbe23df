// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"testing"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/ratelimit"
)

// punished bans for ten minutes after three denials within one.
func punished(l *snapshot.Limit) *snapshot.Limit {
	l.Penalty = &snapshot.Penalty{Denials: 3, WithinSeconds: 60, BanSeconds: 600}
	return l
}

func TestPenalty(t *testing.T) {
	w := newWorld(t)
	f := w.filter(t, policy(punished(perClient("l", 2)), perClient("other", 100)))
	want(t, statuses(f, "a", 4), []int{200, 200, 429, 429})
	want(t, ask(f, request("a")), answer{
		Status: 429, Policy: `"l";q=2;w=60, "other";q=100;w=60`, Limits: `"l";r=0;t=600, "other";r=98;t=64`,
		Denial: exchange.Denial{
			Status: 429, Type: ratelimit.TypeAbnormalUsage, Title: "Abnormal Usage Detected", Policy: "shop/payments",
			Detail: "Limit l denies everything for 600 s after 3 denials within 60 s; retry in 600 s.",
			Limits: []string{"l"}, RetryAfter: 600 * time.Second, Exhausted: true,
		},
	})
	want(t, statuses(f, "b", 2), []int{200, 200})
	w.µs.Add(599e6)
	want(t, ask(f, request("a")).Limits, `"l";r=0;t=1, "other";r=100;t=60`)
	w.µs.Add(1e6)
	// Neither what was denied nor the ban counts any more.
	want(t, statuses(f, "a", 4), []int{200, 200, 429, 429})
	want(t, w.decided, map[string]int{
		"l allowed memory": 6, "l denied memory": 4, "l denied ban": 2,
		"other allowed memory": 12,
	})
}

func TestPenaltyOfAShadow(t *testing.T) {
	w := newWorld(t)
	l := punished(perClient("l", 1))
	l.Shadow = true
	f := w.filter(t, policy(l))
	want(t, statuses(f, "a", 6), []int{200, 200, 200, 200, 200, 200})
	want(t, w.decided, map[string]int{"l allowed memory": 1, "l would_deny memory": 2, "l would_deny ban": 3})
}

// TestPenaltyWhileTheStoreIsAway: the pod counts denials of its share by itself.
func TestPenaltyWhileTheStoreIsAway(t *testing.T) {
	w := newWorld(t)
	w.store = &sharedStore{w: w, away: true}
	l := punished(perClient("l", 1))
	l.Scope = snapshot.Scope_SCOPE_CLUSTER
	f := w.filter(t, policy(l))
	want(t, statuses(f, "a", 4), []int{200, 429, 429, 429})
	want(t, ask(f, request("a")).Denial.Type, ratelimit.TypeAbnormalUsage)
}

// TestDenyCache: what the store has denied it is not asked again before its time.
func TestDenyCache(t *testing.T) {
	w := newWorld(t)
	w.store = &sharedStore{w: w}
	l, wide := perClient("l", 2), perClient("wide", 100)
	l.Scope, wide.Scope = snapshot.Scope_SCOPE_CLUSTER, snapshot.Scope_SCOPE_CLUSTER
	p := policy(l, wide)
	f := w.filter(t, p)
	want(t, statuses(f, "a", 3), []int{200, 200, 429})
	want(t, w.store.calls, 3)
	w.µs.Add(10e6)
	want(t, statuses(f, "a", 5), []int{429, 429, 429, 429, 429})
	got := ask(f, request("a"))
	want(t, got.Limits, `"l";r=0;t=54`)
	want(t, got.Denial.RetryAfter, 54*time.Second)
	want(t, w.store.calls, 3)
	want(t, ask(f, request("b")).Status, 200)
	want(t, w.store.calls, 4)
	want(t, w.decided["l denied deny_cache"], 6)

	// Another rule is another answer.
	l.Limit = 3
	raised := w.filter(t, p)
	want(t, statuses(raised, "a", 2), []int{200, 429})
	want(t, w.store.calls, 6)

	w.µs.Add(53_750_000)
	want(t, statuses(raised, "a", 1), []int{200})
	want(t, w.store.calls, 7)
}

// TestDenyCacheOfAShadow: the others are asked all the same.
func TestDenyCacheOfAShadow(t *testing.T) {
	w := newWorld(t)
	w.store = &sharedStore{w: w}
	l, wide := perClient("l", 1), perClient("wide", 3)
	l.Shadow = true
	l.Scope, wide.Scope = snapshot.Scope_SCOPE_CLUSTER, snapshot.Scope_SCOPE_CLUSTER
	f := w.filter(t, policy(l, wide))
	want(t, statuses(f, "a", 5), []int{200, 200, 200, 429, 429})
	want(t, w.store.calls, 4)
	want(t, w.decided, map[string]int{
		"l allowed store": 1, "l would_deny store": 1, "l would_deny deny_cache": 3,
		"wide allowed store": 3, "wide denied store": 1, "wide denied deny_cache": 1,
	})
}

// TestBansAreKept: denials that a penalty counts reach the store, its ban does not.
func TestBansAreKept(t *testing.T) {
	w := newWorld(t)
	w.store = &sharedStore{w: w}
	l := punished(perClient("l", 1))
	l.Scope = snapshot.Scope_SCOPE_CLUSTER
	f := w.filter(t, policy(l))
	want(t, statuses(f, "a", 9), []int{200, 429, 429, 429, 429, 429, 429, 429, 429})
	want(t, w.store.calls, 4)
	want(t, w.decided, map[string]int{"l allowed store": 1, "l denied store": 2, "l denied ban": 6})
	w.µs.Add(600e6)
	want(t, statuses(f, "a", 1), []int{200})
}
