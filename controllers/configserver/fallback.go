// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
)

const kindRateLimit = stream.KindRateLimitPolicy + "/"

// hasPolicy reports whether a snapshot has the policy kind/name.
func hasPolicy(s *snapshot.Snapshot, policy string) bool {
	return rateLimit(s, policy) != nil
}

func rateLimit(s *snapshot.Snapshot, policy string) *snapshot.RateLimitPolicy {
	name, ok := strings.CutPrefix(policy, kindRateLimit)
	if !ok {
		return nil
	}
	for _, p := range s.GetRateLimitPolicies() {
		if p.GetName() == name {
			return p
		}
	}
	return nil
}

// fallback is want with each refused policy as serving has it; where serving has
// none, without it and with the ports it governs as they have been so far. serving
// is nil for a sidecar that serves nothing yet.
func fallback(want, serving *snapshot.Snapshot, refused map[string]*stream.Nack) *snapshot.Snapshot {
	out := proto.CloneOf(want)
	former := map[string]*snapshot.RateLimitPolicy{}
	policies := out.GetRateLimitPolicies()[:0]
	gone := map[string]bool{}
	for _, p := range out.GetRateLimitPolicies() {
		if refused[kindRateLimit+p.GetName()] != nil {
			old := rateLimit(serving, kindRateLimit+p.GetName())
			if old == nil {
				gone[p.GetName()] = true
				continue
			}
			p = proto.CloneOf(old)
			former[p.GetName()] = p
		}
		policies = append(policies, p)
	}
	out.RateLimitPolicies = policies
	ports := out.GetPorts()[:0]
	for _, p := range out.GetPorts() {
		if gone[p.GetRateLimitPolicy()] {
			if p = before(out, serving, p.GetNumber()); p == nil {
				continue
			}
		}
		ports = append(ports, p)
	}
	out.Ports = ports
	for _, p := range former {
		keepStore(out, serving, p.GetStore())
	}
	return out
}

// before is the port as serving has it, if no policy governs it there or one that out
// has too: a refusal must not take an older limit away.
func before(out, serving *snapshot.Snapshot, number uint32) *snapshot.Port {
	for _, p := range serving.GetPorts() {
		if p.GetNumber() != number {
			continue
		}
		if name := p.GetRateLimitPolicy(); name == "" || rateLimit(out, kindRateLimit+name) != nil {
			return proto.CloneOf(p)
		}
	}
	return nil
}

// keepStore gives out the store of serving that only an old policy still names.
func keepStore(out, serving *snapshot.Snapshot, name string) {
	byName := func(s *snapshot.Store) bool { return s.GetName() == name }
	if name == "" || slices.ContainsFunc(out.GetStores(), byName) {
		return
	}
	i := slices.IndexFunc(serving.GetStores(), byName)
	if i < 0 {
		return
	}
	out.Stores = append(out.Stores, proto.CloneOf(serving.GetStores()[i]))
	slices.SortFunc(out.Stores, func(a, b *snapshot.Store) int { return strings.Compare(a.GetName(), b.GetName()) })
}
