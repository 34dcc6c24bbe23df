// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"net/netip"
	"testing"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
)

func TestOverrides(t *testing.T) {
	w := newWorld(t)
	l := perClient("l", 1)
	l.Algorithm, l.Burst = snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET, 2
	l.Overrides = []*snapshot.Override{
		{Key: []string{"gold"}, Limit: 2, Burst: 4},
		{Key: []string{"internal"}},
		{Key: []string{"bronze"}, Limit: 1, Burst: 1},
	}
	f := w.filter(t, policy(l))
	want(t, ask(f, request("gold")), answer{Status: 200, Policy: `"l";q=2;w=60;weir-burst=4`, Limits: `"l";r=3;t=90`})
	want(t, statuses(f, "gold", 4), []int{200, 200, 200, 429})
	want(t, ask(f, request("gold")).Denial.Detail, "Limit l allows 2 requests per 60 s; retry in 30 s.")
	want(t, statuses(f, "bronze", 2), []int{200, 429})
	want(t, statuses(f, "other", 3), []int{200, 200, 429})
	for range 9 {
		want(t, ask(f, request("internal")), answer{Status: 200})
	}
}

// TestOverridesOfEveryMember: a value stands for what applications read, however it
// is spelt in the request.
func TestOverridesOfEveryMember(t *testing.T) {
	path := &snapshot.PathMatch{Type: snapshot.PathMatch_TYPE_TEMPLATE, Value: "/users/{id}"}
	for name, tc := range map[string]struct {
		key   *snapshot.KeyPart
		value string
		edit  func(*exchange.Exchange)
	}{
		"header":  {header("x-client-id"), "a", func(x *exchange.Exchange) { x.Request = headers{{"x-client-id", "a"}} }},
		"address": {clientIP(64), "2001:db8::9", func(x *exchange.Exchange) { x.Client = netip.MustParseAddr("2001:db8::1") }},
		"IPv4":    {clientIP(64), "192.0.2.1", func(x *exchange.Exchange) { x.Client = netip.MustParseAddr("::ffff:192.0.2.1") }},
		"path":    {pathParam("id"), "a b", func(x *exchange.Exchange) { x.Path = []byte("/users/a%20b") }},
		"query":   {queryParam("q"), "a b", func(x *exchange.Exchange) { x.Query = []byte("q=a+b") }},
		"cookie":  {cookie("c"), "a b", func(x *exchange.Exchange) { x.Request = headers{{"cookie", `c="a%20b"`}} }},
	} {
		t.Run(name, func(t *testing.T) {
			l := perClient("l", 1)
			l.Match = []*snapshot.Match{{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{Path: path}}}}
			l.Key = []*snapshot.KeyPart{tc.key}
			l.Overrides = []*snapshot.Override{{Key: []string{tc.value}}, {Key: []string{"192.0.2.9"}, Limit: 2}}
			f := newWorld(t).filter(t, policy(l))
			for range 3 {
				x := request("")
				x.Path, x.Client = []byte("/users/7"), netip.MustParseAddr("192.0.2.3")
				tc.edit(x)
				want(t, ask(f, x).Status, 200)
			}
		})
	}
}

func TestCost(t *testing.T) {
	w := newWorld(t)
	one, three := perClient("one", 5), perClient("three", 10)
	three.Cost = 3
	f := w.filter(t, policy(one, three))
	want(t, ask(f, request("a")).Limits, `"one";r=4;t=64, "three";r=7;t=64`)
	want(t, statuses(f, "a", 3), []int{200, 200, 429})
	got := ask(f, request("a"))
	// What remains of a limit is not enough, and says when it is.
	want(t, got.Limits, `"one";r=2;t=64, "three";r=1;t=64`)
	want(t, got.Denial.Detail, "Limit three allows 10 requests per 60 s, and this one counts as 3; retry in 64 s.")
}

func TestCalendar(t *testing.T) {
	w := newWorld(t)
	w.µs.Store(limiter.Micros(time.Date(2026, 10, 25, 12, 0, 0, 0, time.UTC)))
	l := perClient("daily", 1)
	l.Algorithm, l.WindowSeconds = snapshot.Algorithm_ALGORITHM_FIXED_WINDOW, 0
	l.Calendar = &snapshot.Calendar{Period: snapshot.Calendar_PERIOD_DAY, TimeZone: "Europe/Berlin"}
	f := w.filter(t, policy(l))
	want(t, ask(f, request("a")), answer{Status: 200, Policy: `"daily";q=1;w=86400`, Limits: `"daily";r=0;t=39600`})
	want(t, ask(f, request("a")).Denial.Detail, "Limit daily allows 1 request per day (Europe/Berlin); retry in 39600 s.")
	w.µs.Add(39600e6 - 1)
	want(t, statuses(f, "a", 1), []int{429})
	w.µs.Add(1)
	want(t, statuses(f, "a", 2), []int{200, 429})
}

// TestCostOfWhatIsRefused: what one limit denies costs the others nothing, also
// where a request costs more than 1.
func TestCostOfWhatIsRefused(t *testing.T) {
	w := newWorld(t)
	w.store = &sharedStore{w: w}
	pod, shared := perClient("pod", 10), perClient("shared", 1)
	pod.Cost = 4
	shared.Scope = snapshot.Scope_SCOPE_CLUSTER
	f := w.filter(t, policy(pod, shared))
	want(t, statuses(f, "a", 3), []int{200, 429, 429})
	want(t, ask(f, request("a")).Limits, `"pod";r=6;t=64, "shared";r=0;t=64`)
}

func TestExempt(t *testing.T) {
	p := policy(perClient("l", 1))
	p.Exempt = []*snapshot.Exemption{
		{Kind: &snapshot.Exemption_SourceCidr{SourceCidr: "10.1.0.0/16"}},
		{Kind: &snapshot.Exemption_Header{Header: &snapshot.HeaderMatch{Name: "x-probe", Value: "1"}}},
	}
	probe := headers{{"x-probe", "1"}}
	listed := &exchange.Identity{Headers: []string{"x-probe"}}
	for name, tc := range map[string]struct {
		client string
		h      headers
		id     *exchange.Identity
		want   int
	}{
		"address":               {"10.1.2.3", nil, nil, 200},
		"IPv4 in IPv6":          {"::ffff:10.1.2.3", nil, nil, 200},
		"another address":       {"10.2.2.3", nil, nil, 429},
		"header":                {"10.2.2.3", probe, listed, 200},
		"another value":         {"10.2.2.3", headers{{"x-probe", "2"}}, listed, 429},
		"twice":                 {"10.2.2.3", append(probe, probe...), listed, 429},
		"no identity header":    {"10.2.2.3", probe, nil, 429},
		"other identity header": {"10.2.2.3", probe, &exchange.Identity{Headers: []string{"x-user"}}, 429},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			f := w.filter(t, p).Under(tc.id)
			last := answer{}
			for range 2 {
				x := request("")
				x.Client, x.Request = netip.MustParseAddr(tc.client), tc.h
				last = ask(f, x)
			}
			want(t, last.Status, tc.want)
			if tc.want == 200 {
				want(t, last, answer{Status: 200})
				want(t, w.decided, map[string]int{})
			}
		})
	}
}

func TestXRateLimit(t *testing.T) {
	wide, narrow, hidden := perClient("wide", 100), perClient("narrow", 2), perClient("hidden", 3)
	hidden.HideHeaders = true
	for name, tc := range map[string]struct {
		style snapshot.HeaderStyle
		want  []string
	}{
		"XRateLimit": {snapshot.HeaderStyle_HEADER_STYLE_X_RATE_LIMIT, []string{"X-RateLimit-Limit: 2", "X-RateLimit-Remaining: 1", "X-RateLimit-Reset: 64"}},
		"Both": {snapshot.HeaderStyle_HEADER_STYLE_BOTH, []string{
			`RateLimit-Policy: "wide";q=100;w=60, "narrow";q=2;w=60`, `RateLimit: "wide";r=99;t=64, "narrow";r=1;t=64`,
			"X-RateLimit-Limit: 2", "X-RateLimit-Remaining: 1", "X-RateLimit-Reset: 64",
		}},
		"None": {snapshot.HeaderStyle_HEADER_STYLE_NONE, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := policy(wide, narrow, hidden)
			p.Headers = tc.style
			f := newWorld(t).filter(t, p)
			want(t, fieldLines(f, "a"), tc.want)
		})
	}
	t.Run("denied", func(t *testing.T) {
		p := policy(wide, narrow)
		p.Headers = snapshot.HeaderStyle_HEADER_STYLE_X_RATE_LIMIT
		f := newWorld(t).filter(t, p)
		statuses(f, "a", 2)
		want(t, fieldLines(f, "a"), []string{"X-RateLimit-Limit: 2", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 64"})
	})
}

func fieldLines(f exchange.Filter, client string) (lines []string) {
	x := request(client)
	f.Head(x)
	x.Fields(func(name string, value []byte) bool { lines = append(lines, name+": "+string(value)); return true })
	return lines
}
