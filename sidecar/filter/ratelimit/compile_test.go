// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"testing"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/filter/ratelimit"
)

func TestCompileRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(*snapshot.RateLimitPolicy, *snapshot.Limit)
		want string
	}{
		"no limits":      {func(p *snapshot.RateLimitPolicy, _ *snapshot.Limit) { p.Limits = nil }, "limits has 0 entries, 1 to 32 are possible"},
		"failure policy": {func(p *snapshot.RateLimitPolicy, _ *snapshot.Limit) { p.FailurePolicy = 0 }, "failure_policy 0 is unknown"},
		"headers":        {func(p *snapshot.RateLimitPolicy, _ *snapshot.Limit) { p.Headers = 7 }, "headers 7 is unknown"},
		"name":           {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Name = `a"b` }, `limits[0] "a\"b": the name is not lower case letters, digits and -, at most 63`},
		"name twice":     {func(p *snapshot.RateLimitPolicy, l *snapshot.Limit) { p.Limits = append(p.Limits, l) }, `limits[1]: the name "l" comes twice`},
		"scope":          {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Scope = 9 }, `limits[0] "l": scope 9 is unknown`},
		"algorithm":      {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Algorithm = 9 }, `limits[0] "l": algorithm 9 is unknown`},
		"limit":          {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Limit = 0 }, `limits[0] "l": limit 0 is not between 1 and 1000000 per second of its window`},
		"missing key":    {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.OnMissingKey = 0 }, `limits[0] "l": on_missing_key 0 is unknown`},
		"match":          {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Match = []*snapshot.Match{{}} }, `limits[0] "l": match[0] is of a kind that this sidecar does not know`},
		"key kind":       {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Key = []*snapshot.KeyPart{{}} }, `limits[0] "l": key[0]: the member is of a kind that this sidecar does not know`},
		"header case":    {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Key = []*snapshot.KeyPart{header("X-Y")} }, `limits[0] "l": key[0]: header name "X-Y" is empty, too long or not in lower case`},
		"prefix":         {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Key = []*snapshot.KeyPart{clientIP(0)} }, `limits[0] "l": key[0]: ipv6_prefix_length 0 is not between 1 and 128`},
		"parameter":      {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Key = []*snapshot.KeyPart{pathParam("id")} }, `limits[0] "l": key[0]: path parameter "id" is in no template of the match`},
		"key length":     {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Key = make([]*snapshot.KeyPart, 5) }, `limits[0] "l": key has 5 members, at most 4 are possible`},
		"exemptions":     {func(p *snapshot.RateLimitPolicy, _ *snapshot.Limit) { p.Exempt = make([]*snapshot.Exemption, 17) }, "exempt has 17 entries, at most 16 are possible"},
		"exemption":      {func(p *snapshot.RateLimitPolicy, _ *snapshot.Limit) { p.Exempt = []*snapshot.Exemption{{}} }, "exempt[0] is of a kind that this sidecar does not know"},
		"CIDR": {func(p *snapshot.RateLimitPolicy, _ *snapshot.Limit) {
			p.Exempt = []*snapshot.Exemption{{Kind: &snapshot.Exemption_SourceCidr{SourceCidr: "10.0.0.1/8"}}}
		}, `exempt[0]: "10.0.0.1/8" is no CIDR in its canonical form`},
		"exempt header": {func(p *snapshot.RateLimitPolicy, _ *snapshot.Limit) {
			p.Exempt = []*snapshot.Exemption{{Kind: &snapshot.Exemption_Header{Header: &snapshot.HeaderMatch{Name: "X"}}}}
		}, `exempt[0]: header name "X" is empty, too long or not in lower case`},
		"query parameter":   {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Key = []*snapshot.KeyPart{queryParam("")} }, `limits[0] "l": key[0]: query parameter "" is empty or too long`},
		"cookie":            {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Key = []*snapshot.KeyPart{cookie("a=")} }, `limits[0] "l": key[0]: cookie name "a=" is empty, too long or not a name`},
		"cost":              {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Cost = 6 }, `limits[0] "l": cost 6 is not between 1 and 5`},
		"overrides":         {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Overrides = make([]*snapshot.Override, 65) }, `limits[0] "l": overrides has 65 entries, at most 64 are possible`},
		"override's limit":  {override("a", 1<<40), `limits[0] "l": overrides[0]: limit 1099511627776 is not between 1 and 1000000 per second of its window`},
		"override's value":  {override("", 1), `limits[0] "l": overrides[0]: key[0] is empty or longer than 256 bytes`},
		"override's length": {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Overrides = []*snapshot.Override{{}} }, `limits[0] "l": overrides[0]: its key has 0 values, the limit's key 1 members`},
		"override twice": {func(p *snapshot.RateLimitPolicy, l *snapshot.Limit) {
			override("a", 1)(p, l)
			override("a", 2)(p, l)
		}, `limits[0] "l": two overrides have the same key`},
		"calendar": {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) {
			l.Calendar = &snapshot.Calendar{Period: snapshot.Calendar_PERIOD_DAY, TimeZone: "UTC"}
		}, `limits[0] "l": only a FixedWindow without a window has a calendar`},
		"period":  {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Calendar = &snapshot.Calendar{TimeZone: "UTC"} }, `limits[0] "l": calendar: period 0 is unknown`},
		"leased":  {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Leased = true }, `limits[0] "l": only a TokenBucket with scope Cluster and without penalty can be leased`},
		"penalty": {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Penalty = &snapshot.Penalty{} }, `limits[0] "l": penalty: denials 0 is not between 1 and 1000000`},
		"override's address": {func(p *snapshot.RateLimitPolicy, l *snapshot.Limit) {
			l.Key = []*snapshot.KeyPart{clientIP(64)}
			override("a", 1)(p, l)
		}, `limits[0] "l": overrides[0]: key[0] "a" is no address`},
	} {
		t.Run(name, func(t *testing.T) {
			l := perClient("l", 5)
			p := policy(l)
			tc.edit(p, l)
			_, err := ratelimit.Compile(p, newWorld(t).env())
			if err == nil || err.Error() != tc.want {
				t.Errorf("got %v\nwant %s", err, tc.want)
			}
		})
	}
}

func override(value string, limit uint64) func(*snapshot.RateLimitPolicy, *snapshot.Limit) {
	return func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) {
		l.Overrides = append(l.Overrides, &snapshot.Override{Key: []string{value}, Limit: limit})
	}
}
