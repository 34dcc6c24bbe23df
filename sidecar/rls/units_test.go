// SPDX-License-Identifier: Apache-2.0

package rls_test

import (
	"testing"

	envoy "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"weir.dev/weir/api/snapshot"
)

func TestUnits(t *testing.T) {
	for name, c := range map[string]struct {
		window uint64
		want   envoy.RateLimitResponse_RateLimit_Unit
	}{
		"a second": {1, envoy.RateLimitResponse_RateLimit_SECOND}, "a minute": {60, envoy.RateLimitResponse_RateLimit_MINUTE},
		"an hour": {3600, envoy.RateLimitResponse_RateLimit_HOUR}, "a day": {86400, envoy.RateLimitResponse_RateLimit_DAY},
		"a week": {604800, envoy.RateLimitResponse_RateLimit_WEEK}, "none": {90, envoy.RateLimitResponse_RateLimit_UNKNOWN},
	} {
		t.Run(name, func(t *testing.T) {
			snap := payments()
			snap.RateLimitPolicies[0].Limits[0].WindowSeconds = c.window
			if l := serve(t, snap).ask(t, pay("a")).GetStatuses()[0].GetCurrentLimit(); l.GetUnit() != c.want || l.GetRequestsPerUnit() != 2 {
				t.Errorf("limit %v", l)
			}
		})
	}
	for p, want := range map[snapshot.Calendar_Period]envoy.RateLimitResponse_RateLimit_Unit{
		snapshot.Calendar_PERIOD_DAY: envoy.RateLimitResponse_RateLimit_DAY, snapshot.Calendar_PERIOD_WEEK: envoy.RateLimitResponse_RateLimit_WEEK,
		snapshot.Calendar_PERIOD_MONTH: envoy.RateLimitResponse_RateLimit_MONTH,
	} {
		snap := payments()
		l := snap.RateLimitPolicies[0].Limits[0]
		l.Algorithm, l.WindowSeconds, l.Calendar = snapshot.Algorithm_ALGORITHM_FIXED_WINDOW, 0, &snapshot.Calendar{Period: p, TimeZone: "Europe/Berlin"}
		if l := serve(t, snap).ask(t, pay("a")).GetStatuses()[0].GetCurrentLimit(); l.GetUnit() != want {
			t.Errorf("calendar %v: limit %v", p, l)
		}
	}
}
