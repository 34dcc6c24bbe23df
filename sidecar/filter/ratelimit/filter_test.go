// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/filter/ratelimit"
	"weir.dev/weir/sidecar/store/memory"
)

// headers are a request's fields; a name may come more than once.
type headers [][2]string

func (h headers) Header(name string) (value []byte, count int) {
	for _, f := range h {
		if f[0] == name {
			if count == 0 {
				value = []byte(f[1])
			}
			count++
		}
	}
	return value, count
}

// world is what a filter under test works with; its clock stands unless moved.
type world struct {
	µs      atomic.Int64
	tables  *memory.Store
	shadows map[string]*atomic.Uint64
	peers   atomic.Uint32
	store   *sharedStore
	decided map[string]int
	// corrected in order.
	corrected []string
}

func newWorld(t testing.TB) *world {
	w := &world{shadows: map[string]*atomic.Uint64{}, decided: map[string]int{}}
	w.µs.Store(1.2e15) // a slot of a minute begins
	w.tables = memory.New(memory.Options{Now: w.µs.Load})
	t.Cleanup(w.tables.Close)
	return w
}

func (w *world) env() ratelimit.Env {
	e := ratelimit.Env{
		Namespace: "shop",
		Table:     func(id string) ratelimit.Table { return w.tables.Table(id) },
		Bans:      func(id string) ratelimit.Bans { return w.tables.Bans(id) },
		Denials:   func(id string) ratelimit.Denials { return w.tables.Denials(id, nil) },
		WouldDeny: func(id string) *atomic.Uint64 {
			if w.shadows[id] == nil {
				w.shadows[id] = new(atomic.Uint64)
			}
			return w.shadows[id]
		},
		Peers:   &w.peers,
		Metrics: w,
	}
	if w.store != nil {
		e.Store = w.store
	}
	return e
}

// Limit implements ratelimit.Metrics.
func (w *world) Limit(_, limit string) ratelimit.LimitMetrics { return counter{w, limit} }

type counter struct {
	w     *world
	limit string
}

func (c counter) Decided(o ratelimit.Outcome, s ratelimit.Source) {
	c.w.decided[c.limit+" "+o.String()+" "+s.String()]++
}

// sharedStore is a store in memory that can be away.
type sharedStore struct {
	w     *world
	away  bool
	calls int
	last  []limiter.Op
}

func (s *sharedStore) Take(_ context.Context, ops []limiter.Op) error {
	s.calls++
	s.last = append(s.last[:0], ops...)
	if s.away {
		return limiter.ErrUnavailable
	}
	denied := false
	for _, spend := range []bool{false, true} {
		for i := range ops {
			op := &ops[i]
			op.Decision = s.take(op, spend && (op.Shadow || !denied), spend)
			denied = denied || !op.Decision.Allowed && !op.Shadow
		}
	}
	return nil
}

func (s *sharedStore) Release(op limiter.Op) {
	s.w.tables.Table("shared/"+op.ID).Refund(op.Key, op.Rule, 0)
}

func (s *sharedStore) take(op *limiter.Op, spend, last bool) limiter.Decision {
	table, bans := s.w.tables.Table("shared/"+op.ID), s.w.tables.Bans("shared/"+op.ID)
	if op.Penalty != nil {
		if left := bans.Banned(op.Key, op.Penalty); left > 0 {
			return limiter.BannedFor(left)
		}
	}
	d := table.Take(op.Key, op.Rule, spend)
	if op.Penalty != nil && last && !d.Allowed {
		if left := bans.Strike(op.Key, op.Penalty); left > 0 {
			return limiter.BannedFor(left)
		}
	}
	return d
}

func (w *world) filter(t testing.TB, p *snapshot.RateLimitPolicy) *ratelimit.Filter {
	t.Helper()
	f, err := ratelimit.Compile(p, w.env())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func policy(limits ...*snapshot.Limit) *snapshot.RateLimitPolicy {
	return &snapshot.RateLimitPolicy{
		Name: "payments", Limits: limits,
		FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK,
		Headers:       snapshot.HeaderStyle_HEADER_STYLE_IETF,
	}
}

// perClient is a sliding window of n per minute for each X-Client-Id.
func perClient(name string, n uint64) *snapshot.Limit {
	return &snapshot.Limit{
		Name: name, Limit: n, WindowSeconds: 60,
		Key:          []*snapshot.KeyPart{header("x-client-id")},
		OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP,
		Algorithm:    snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW,
		Scope:        snapshot.Scope_SCOPE_POD,
	}
}

func header(name string) *snapshot.KeyPart {
	return &snapshot.KeyPart{Kind: &snapshot.KeyPart_Header{Header: name}}
}

func clientIP(prefix uint32) *snapshot.KeyPart {
	return &snapshot.KeyPart{Kind: &snapshot.KeyPart_ClientIp{ClientIp: &snapshot.ClientIP{Ipv6PrefixLength: prefix}}}
}

func pathParam(name string) *snapshot.KeyPart {
	return &snapshot.KeyPart{Kind: &snapshot.KeyPart_PathParam{PathParam: name}}
}

func queryParam(name string) *snapshot.KeyPart {
	return &snapshot.KeyPart{Kind: &snapshot.KeyPart_QueryParam{QueryParam: name}}
}

func cookie(name string) *snapshot.KeyPart {
	return &snapshot.KeyPart{Kind: &snapshot.KeyPart_Cookie{Cookie: name}}
}

func request(client string) *exchange.Exchange {
	x := &exchange.Exchange{Context: context.Background(), Method: []byte("POST"), Path: []byte("/pay"), Client: netip.MustParseAddr("192.0.2.1")}
	x.Request = headers{}
	if client != "" {
		x.Request = headers{{"x-client-id", client}}
	}
	return x
}

// answer is what a client would see of a decision.
type answer struct {
	Status         int
	Policy, Limits string
	Denial         exchange.Denial
}

func ask(f *ratelimit.Filter, x *exchange.Exchange) answer {
	a := answer{Status: 200}
	if f.Head(x) == exchange.Respond {
		a.Status = x.Denial.Status
		a.Denial = x.Denial
	}
	f.End(x, exchange.Replied)
	x.Fields(func(name string, value []byte) bool {
		switch name {
		case "RateLimit-Policy":
			a.Policy += string(value)
		case "RateLimit":
			a.Limits += string(value)
		}
		return true
	})
	return a
}

// statuses asks n times for the same client.
func statuses(f *ratelimit.Filter, client string, n int) (out []int) {
	for range n {
		out = append(out, ask(f, request(client)).Status)
	}
	return out
}

func want(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestFieldsAndDenial(t *testing.T) {
	w := newWorld(t)
	f := w.filter(t, policy(perClient("per-client", 2)))
	policyField := `"per-client";q=2;w=60`
	// A request leaves 17 slots of 3.75 s after its slot has begun.
	want(t, ask(f, request("a")), answer{Status: 200, Policy: policyField, Limits: `"per-client";r=1;t=64`})
	want(t, ask(f, request("a")), answer{Status: 200, Policy: policyField, Limits: `"per-client";r=0;t=64`})
	want(t, ask(f, request("a")), answer{
		Status: 429, Policy: policyField, Limits: `"per-client";r=0;t=64`,
		Denial: exchange.Denial{
			Status:     429,
			Type:       "https://iana.org/assignments/http-problem-types#quota-exceeded",
			Title:      "Quota Exceeded",
			Detail:     "Limit per-client allows 2 requests per 60 s; retry in 64 s.",
			Policy:     "shop/payments",
			Limits:     []string{"per-client"},
			RetryAfter: 64 * time.Second, Exhausted: true,
		},
	})
	want(t, ask(f, request("b")).Status, 200)
	w.µs.Add(64e6)
	want(t, ask(f, request("a")).Status, 200)
	want(t, w.decided, map[string]int{"per-client allowed memory": 4, "per-client denied memory": 1})
}

// TestFieldsOfABucket are the numbers of field study §6.
func TestFieldsOfABucket(t *testing.T) {
	w := newWorld(t)
	l := perClient("per-user", 600)
	l.Algorithm, l.Burst = snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET, 60
	f := w.filter(t, policy(l))
	var last answer
	for range 19 {
		last = ask(f, request("a"))
	}
	want(t, last, answer{Status: 200, Policy: `"per-user";q=600;w=60;weir-burst=60`, Limits: `"per-user";r=41;t=5`})
	for range 41 {
		last = ask(f, request("a"))
	}
	want(t, last.Limits, `"per-user";r=0;t=1`)
	last = ask(f, request("a"))
	want(t, last.Status, 429)
	want(t, last.Denial.Detail, "Limit per-user allows 600 requests per 60 s; retry in 1 s.")
}

func TestHiddenFields(t *testing.T) {
	hidden := perClient("hidden", 5)
	hidden.HideHeaders = true
	shadow := perClient("shadow", 5)
	shadow.Shadow = true
	w := newWorld(t)
	p := policy(perClient("shown", 5), hidden, shadow)
	want(t, ask(w.filter(t, p), request("a")).Policy, `"shown";q=5;w=60`)
	p.Headers = snapshot.HeaderStyle_HEADER_STYLE_NONE
	want(t, ask(w.filter(t, p), request("a")), answer{Status: 200})
}

func TestUpstreamFieldsAreAppendedTo(t *testing.T) {
	x := request("a")
	x.Add("X-Other", []byte("1"))
	f := newWorld(t).filter(t, policy(perClient("l", 5)))
	f.Head(x)
	var names []string
	x.Fields(func(name string, _ []byte) bool { names = append(names, name); return true })
	want(t, names, []string{"X-Other", "RateLimit-Policy", "RateLimit"})
}

func TestManyLimitsAreAllOrNothing(t *testing.T) {
	w := newWorld(t)
	narrow := perClient("narrow", 2)
	all := perClient("all", 10)
	all.Key = nil
	f := w.filter(t, policy(all, narrow))
	want(t, statuses(f, "a", 6), []int{200, 200, 429, 429, 429, 429})
	a := ask(f, request("a"))
	want(t, a.Limits, `"all";r=8;t=64, "narrow";r=0;t=64`)
	want(t, a.Denial.Limits, []string{"narrow"})
	want(t, statuses(f, "b", 2), []int{200, 200})
	want(t, ask(f, request("c")).Limits, `"all";r=5;t=64, "narrow";r=1;t=64`)
}

func TestAllViolatedLimitsAreNamed(t *testing.T) {
	f := newWorld(t).filter(t, policy(perClient("one", 1), perClient("other", 1)))
	statuses(f, "a", 1)
	got := ask(f, request("a")).Denial
	want(t, got.Limits, []string{"one", "other"})
	want(t, got.Detail, "Limit one allows 1 request per 60 s; limit other allows 1 request per 60 s; retry in 64 s.")
}

func TestShadow(t *testing.T) {
	w := newWorld(t)
	shadow := perClient("shadow", 2)
	shadow.Shadow = true
	f := w.filter(t, policy(perClient("real", 4), shadow))
	want(t, statuses(f, "a", 6), []int{200, 200, 200, 200, 429, 429})
	want(t, w.shadows["payments/shadow"].Load(), uint64(4))
	want(t, w.decided, map[string]int{
		"real allowed memory": 4, "real denied memory": 2,
		"shadow allowed memory": 2, "shadow would_deny memory": 4,
	})
}

func TestShadowOfAMissingKey(t *testing.T) {
	w := newWorld(t)
	l := perClient("l", 2)
	l.Shadow, l.OnMissingKey = true, snapshot.OnMissingKey_ON_MISSING_KEY_DENY
	want(t, ask(w.filter(t, policy(l)), request("")).Status, 200)
	want(t, w.shadows["payments/l"].Load(), uint64(1))
}

func TestClusterThenPod(t *testing.T) {
	w := newWorld(t)
	w.store = &sharedStore{w: w}
	shared := perClient("shared", 2)
	shared.Scope = snapshot.Scope_SCOPE_CLUSTER
	pod := perClient("pod", 3)
	pod.Key = nil
	f := w.filter(t, policy(shared, pod))
	want(t, statuses(f, "a", 4), []int{200, 200, 429, 429})
	want(t, ask(f, request("a")).Limits, `"shared";r=0;t=64, "pod";r=1;t=64`)
	want(t, statuses(f, "b", 2), []int{200, 429})
	calls := w.store.calls
	want(t, ask(f, request("c")), answer{
		Status: 429, Policy: `"shared";q=2;w=60, "pod";q=3;w=60`, Limits: `"pod";r=0;t=64`,
		Denial: exchange.Denial{
			Status: 429, Type: ratelimit.TypeQuotaExceeded, Title: "Quota Exceeded", Policy: "shop/payments",
			Detail: "Limit pod allows 3 requests per 60 s; retry in 64 s.",
			Limits: []string{"pod"}, RetryAfter: 64 * time.Second, Exhausted: true,
		},
	})
	want(t, w.store.calls, calls)
}

func TestFailurePolicies(t *testing.T) {
	closed, open, fallback := snapshot.FailurePolicy_FAILURE_POLICY_CLOSED, snapshot.FailurePolicy_FAILURE_POLICY_OPEN, snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK
	for name, tc := range map[string]struct {
		policy  snapshot.FailurePolicy
		pods    uint32
		want    []int
		limits  string
		decided map[string]int
	}{
		"closed":         {closed, 1, []int{503, 503, 503, 503, 503, 503}, "", map[string]int{"l denied fail_closed": 6}},
		"open":           {open, 1, []int{200, 200, 200, 200, 200, 200}, "", map[string]int{"l allowed fail_open": 6}},
		"fallback alone": {fallback, 0, []int{200, 200, 200, 200, 429, 429}, `"l";r=3;t=64`, map[string]int{"l allowed fallback": 4, "l denied fallback": 2}},
		"fallback of 2":  {fallback, 2, []int{200, 200, 429, 429, 429, 429}, `"l";r=1;t=64`, map[string]int{"l allowed fallback": 2, "l denied fallback": 4}},
		"fallback of 9":  {fallback, 9, []int{200, 429, 429, 429, 429, 429}, `"l";r=0;t=64`, map[string]int{"l allowed fallback": 1, "l denied fallback": 5}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.store = &sharedStore{w: w, away: true}
			w.peers.Store(tc.pods)
			l := perClient("l", 4)
			l.Scope = snapshot.Scope_SCOPE_CLUSTER
			p := policy(l)
			p.FailurePolicy = tc.policy
			f := w.filter(t, p)
			first := ask(f, request("a"))
			want(t, append([]int{first.Status}, statuses(f, "a", 5)...), tc.want)
			want(t, first.Limits, tc.limits)
			want(t, w.decided, tc.decided)
		})
	}
}

func TestClosedDenial(t *testing.T) {
	w := newWorld(t)
	w.store = &sharedStore{w: w, away: true}
	l, pod := perClient("l", 4), perClient("pod", 1)
	l.Scope = snapshot.Scope_SCOPE_CLUSTER
	p := policy(l, pod)
	p.FailurePolicy = snapshot.FailurePolicy_FAILURE_POLICY_CLOSED
	f := w.filter(t, p)
	for range 3 {
		// The pod's limit of one is not spent by what is refused.
		want(t, ask(f, request("a")), answer{Status: 503, Denial: exchange.Denial{
			Status: 503, Type: "https://weir.dev/problems/store-unavailable", Title: "Store Unavailable",
			Detail: "The store that counts l does not answer, and the policy's failurePolicy is Closed; retry in 1 s.",
			Policy: "shop/payments", Limits: []string{"l"}, RetryAfter: time.Second,
		}})
	}
	l.Shadow = true
	want(t, ask(w.filter(t, p), request("a")).Status, 200)
}

func TestLabels(t *testing.T) {
	var names []string
	for o := ratelimit.Allowed; o <= ratelimit.WouldDeny; o++ {
		names = append(names, o.String())
	}
	for s := ratelimit.FromMemory; s <= ratelimit.FromMissingKey; s++ {
		names = append(names, s.String())
	}
	want(t, strings.Join(names, " "), "allowed denied would_deny memory store fallback fail_open fail_closed deny_cache lease ban missing_key")
}
