// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
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
		in: &in, drafts: map[string]*draft{},
		proxy: proxySettings(in.Config.Proxy), telemetry: telemetrySettings(&in.Config.Telemetry),
	}
	attaching := attach.Input{Services: in.Services, Pods: in.Pods, Identity: in.Config.Identity}
	var verdicts []Verdict
	for i := range in.RateLimitPolicies {
		p := &in.RateLimitPolicies[i]
		v := Verdict{Policy: attach.PolicyID{Kind: v1alpha1.KindRateLimitPolicy, Name: p.Name}, UID: p.UID, Generation: p.Generation}
		d, why := check(&in, p)
		if why.reason != "" {
			v.refuse(why, p.Spec.TargetRefs)
			verdicts = append(verdicts, v)
			continue
		}
		c.drafts[p.Name] = d
		v.Shadow, v.ByAddress = d.shadow, byAddress(d.policy)
		verdicts = append(verdicts, v)
		attaching.Policies = append(attaching.Policies, attach.Policy{
			ID: v.Policy, Created: p.CreationTimestamp.UTC(), Targets: p.Spec.TargetRefs,
			Matches: d.matches, Enforceable: enforceable(),
		})
	}
	verdicts = append(verdicts, later(&in)...)
	attached := attach.Attach(attaching)
	for i := range verdicts {
		if d := c.drafts[verdicts[i].Policy.Name]; d != nil && verdicts[i].Policy.Kind == v1alpha1.KindRateLimitPolicy {
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

// byAddress are the limits with a clientIP in their key.
func byAddress(p *snapshot.RateLimitPolicy) []string {
	var out []string
	for _, l := range p.GetLimits() {
		if slices.ContainsFunc(l.GetKey(), func(k *snapshot.KeyPart) bool { return k.GetClientIp() != nil }) {
			out = append(out, l.GetName())
		}
	}
	return out
}

// enforceable are the protocols that sidecars read. A policy over HTTP holds for each:
// gRPC methods are paths.
func enforceable() []snapshot.Protocol {
	return []snapshot.Protocol{
		snapshot.Protocol_PROTOCOL_HTTP, snapshot.Protocol_PROTOCOL_H2C, snapshot.Protocol_PROTOCOL_GRPC,
		snapshot.Protocol_PROTOCOL_WEBSOCKET, snapshot.Protocol_PROTOCOL_AUTO,
	}
}

type compilation struct {
	in     *Input
	drafts map[string]*draft
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
	peers := &stream.Peers{}
	policies, stores := map[string]bool{}, map[string]bool{}
	for i := range l.Ports {
		p := &l.Ports[i]
		name := p.Policies[v1alpha1.KindRateLimitPolicy]
		s.Ports = append(s.Ports, &snapshot.Port{
			Number:          uint32(p.Number),
			Protocol:        p.Protocol,
			RateLimitPolicy: name,
			Identity: &snapshot.Identity{
				TrustedProxies: p.Identity.TrustedProxies, IdentityHeaders: p.Identity.IdentityHeaders,
			},
			PassEncodedSlashes: p.PassEncodedSlashes,
			Names:              p.Names,
			Timeouts:           routeTimeouts(p.Timeouts),
			MaxBodyBytes:       uint64(p.MaxBody),
		})
		if name == "" || policies[name] {
			continue
		}
		policies[name] = true
		d := c.drafts[name]
		s.RateLimitPolicies = append(s.RateLimitPolicies, d.policy)
		peers.Policies = append(peers.Policies, &stream.PolicyPeers{Policy: name, ReadyPods: ready[name]})
		if store := d.policy.GetStore(); store != "" && !stores[store] {
			stores[store] = true
			configured, _ := c.in.Config.Store(store)
			s.Stores = append(s.Stores, compileStore(c.in, configured))
		}
	}
	slices.SortFunc(s.RateLimitPolicies, func(a, b *snapshot.RateLimitPolicy) int { return cmp.Compare(a.GetName(), b.GetName()) })
	slices.SortFunc(s.Stores, func(a, b *snapshot.Store) int { return cmp.Compare(a.GetName(), b.GetName()) })
	s.JwtProviders = jwtProviders(c.in, s.GetRateLimitPolicies())
	slices.SortFunc(peers.Policies, func(a, b *stream.PolicyPeers) int { return cmp.Compare(a.GetPolicy(), b.GetPolicy()) })
	return Workload{Key: l.Key, Services: l.Services, Pods: l.Pods, Snapshot: s, Peers: peers}
}
