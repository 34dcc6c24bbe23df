// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
)

// Compile decides about every policy and makes every snapshot. It changes nothing
// of its input.
func Compile(in Input) Output {
	c := &compilation{
		in: &in, drafts: map[attach.PolicyID]*draft{},
		proxy: proxySettings(in.Config.Proxy), telemetry: telemetrySettings(&in.Config.Telemetry),
	}
	attaching := attach.Input{Services: in.Services, Pods: in.Pods, Identity: in.Config.Identity}
	var verdicts []Verdict
	for _, s := range subjects(&in) {
		v := Verdict{Policy: s.id, UID: s.meta.UID, Generation: s.meta.Generation}
		d, why := check(&in, &s)
		if why.reason != "" {
			v.refuse(why, s.refs)
			verdicts = append(verdicts, v)
			continue
		}
		c.drafts[s.id] = d
		v.Shadow, v.ByAddress, v.Store = d.shadow, d.byAddress, d.policy.GetStore()
		verdicts = append(verdicts, v)
		attaching.Policies = append(attaching.Policies, attach.Policy{
			ID: s.id, Created: s.meta.CreationTimestamp.UTC(), Targets: s.refs,
			Matches: d.about(), Only: d.only(), Enforceable: enforceable(s.id.Kind),
		})
	}
	verdicts = append(verdicts, later(&in)...)
	attached := attach.Attach(attaching)
	for i := range verdicts {
		if d := c.drafts[verdicts[i].Policy]; d != nil {
			verdicts[i].settle(d, attached.Targets[verdicts[i].Policy])
		}
	}
	slices.SortFunc(verdicts, func(a, b Verdict) int { return strings.Compare(a.Policy.String(), b.Policy.String()) })
	out := Output{Unselected: attached.Unselected, Verdicts: verdicts}
	ready := readyPods(verdicts)
	for i := range attached.Workloads {
		out.Workloads = append(out.Workloads, c.workload(&attached.Workloads[i], ready))
	}
	return out
}

type compilation struct {
	in     *Input
	drafts map[attach.PolicyID]*draft
	// proxy and telemetry are those of every snapshot.
	proxy     *snapshot.Proxy
	telemetry *snapshot.Telemetry
}

// readyPods counts the Ready pods of each rate limit policy, each once.
func readyPods(verdicts []Verdict) map[string]uint32 {
	out := map[string]uint32{}
	for i := range verdicts {
		v := &verdicts[i]
		if v.Policy.Kind != v1alpha1.KindRateLimitPolicy {
			continue
		}
		seen := map[attach.Pod]bool{}
		for _, t := range v.Targets {
			for _, p := range t.Pods {
				if p.Ready && !seen[p] {
					seen[p] = true
					out[v.Policy.Name]++
				}
			}
		}
	}
	return out
}

func (c *compilation) workload(l *attach.Workload, ready map[string]uint32) Workload {
	s := &snapshot.Snapshot{Workload: &snapshot.Workload{
		Cluster: c.in.Cluster, Namespace: c.in.Namespace, Key: l.Key,
	}, Proxy: c.proxy, Telemetry: c.telemetry}
	used := map[attach.PolicyID]*draft{}
	for i := range l.Ports {
		p := &l.Ports[i]
		port := &snapshot.Port{
			Number:   uint32(p.Number),
			Protocol: p.Protocol,
			Identity: &snapshot.Identity{
				TrustedProxies: p.Identity.TrustedProxies, IdentityHeaders: p.Identity.IdentityHeaders,
			},
			PassEncodedSlashes: p.PassEncodedSlashes,
			Names:              p.Names,
			Timeouts:           routeTimeouts(p.Timeouts),
			MaxBodyBytes:       uint64(p.MaxBody),
		}
		if p.IDL != nil {
			// Without a mapping it is there all the same, so that no HTTP gets to Thrift.
			port.Transcoding = cmp.Or(c.in.Transcodings[*p.IDL], &snapshot.Transcoding{})
		}
		for kind, name := range p.Policies {
			id := attach.PolicyID{Kind: kind, Name: name}
			snapshot.Govern(port, id)
			used[id] = c.drafts[id]
		}
		s.Ports = append(s.Ports, port)
	}
	return Workload{Key: l.Key, Services: l.Services, Pods: l.Pods, Snapshot: s, Peers: c.resolve(s, used, ready)}
}

// resolve gives a snapshot its policies and all that they name.
func (c *compilation) resolve(s *snapshot.Snapshot, used map[attach.PolicyID]*draft, ready map[string]uint32) *stream.Peers {
	peers := &stream.Peers{}
	var policies []snapshot.Policy
	stores := map[string]bool{}
	for _, id := range slices.SortedFunc(maps.Keys(used), snapshot.ComparePolicyIDs) {
		p := used[id].policy
		policies = append(policies, p)
		if id.Kind == v1alpha1.KindRateLimitPolicy {
			peers.Policies = append(peers.Policies, &stream.PolicyPeers{Policy: id.Name, ReadyPods: ready[id.Name]})
		}
		if snapshot.NeedsNamespaceKey(p) {
			s.NamespaceKeyVersion = c.in.NamespaceKey
		}
		if store := p.GetStore(); store != "" && !stores[store] {
			stores[store] = true
			configured, _ := c.in.Config.Store(store)
			s.Stores = append(s.Stores, compileStore(c.in, configured))
		}
	}
	snapshot.SetPolicies(s, policies)
	slices.SortFunc(s.Stores, func(a, b *snapshot.Store) int { return cmp.Compare(a.GetName(), b.GetName()) })
	s.JwtProviders = jwtProviders(c.in, policies)
	return peers
}
