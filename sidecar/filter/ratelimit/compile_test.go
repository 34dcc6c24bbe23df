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
		"parameter":      {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Key = []*snapshot.KeyPart{pathParam("id")} }, `limits[0] "l": key[0]: path parameter "id" is in no template of the limit's match`},
		"key length":     {func(_ *snapshot.RateLimitPolicy, l *snapshot.Limit) { l.Key = make([]*snapshot.KeyPart, 5) }, `limits[0] "l": key has 5 members, at most 4 are possible`},
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
