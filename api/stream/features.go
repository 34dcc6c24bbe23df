// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
)

// Features that a sidecar names in Hello. What a sidecar lacks is left out of its
// snapshot, so that it never acks what it does not enforce.
const (
	// FeatureRateLimit is RateLimitPolicy over HTTP: SlidingWindow, TokenBucket and
	// FixedWindow; keys header, clientIP and pathParam; scopes Pod and Cluster.
	FeatureRateLimit = "ratelimit/v1"
)

// KindRateLimitPolicy begins the names of rate limit policies in Nack, PodState
// and Cut: kind/name.
const KindRateLimitPolicy = "RateLimitPolicy"

// Required returns the features a sidecar needs to enforce a policy, sorted.
func Required(*snapshot.RateLimitPolicy) []string {
	return []string{FeatureRateLimit}
}

// Cut returns s without the policies that need more than features, and their
// names, kind/name, sorted. Ports they governed and stores that only they used go
// with them. When nothing is lacking it returns s itself; s is never changed.
func Cut(s *snapshot.Snapshot, features []string) (*snapshot.Snapshot, []string) {
	lacking := map[string]bool{}
	var out []string
	for _, p := range s.GetRateLimitPolicies() {
		for _, f := range Required(p) {
			if !slices.Contains(features, f) && !lacking[p.GetName()] {
				lacking[p.GetName()] = true
				out = append(out, KindRateLimitPolicy+"/"+p.GetName())
			}
		}
	}
	if len(out) == 0 {
		return s, nil
	}
	cut := proto.CloneOf(s)
	stores := map[string]bool{}
	cut.RateLimitPolicies = slices.DeleteFunc(cut.RateLimitPolicies, func(p *snapshot.RateLimitPolicy) bool {
		if !lacking[p.GetName()] {
			stores[p.GetStore()] = true
		}
		return lacking[p.GetName()]
	})
	cut.Ports = slices.DeleteFunc(cut.Ports, func(p *snapshot.Port) bool { return lacking[p.GetRateLimitPolicy()] })
	cut.Stores = slices.DeleteFunc(cut.Stores, func(st *snapshot.Store) bool { return !stores[st.GetName()] })
	slices.Sort(out)
	return cut, out
}
