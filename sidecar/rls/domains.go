// SPDX-License-Identifier: Apache-2.0

package rls

import (
	"fmt"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
)

// Domains are what governs ports of Services, by `<namespace>/<service>/<port>`.
type Domains map[string]*exchange.Port

// Enforceable says what of a snapshot a rate limit service cannot enforce.
func Enforceable(snap *snapshot.Snapshot) error {
	unable := map[string]string{}
	for _, p := range snap.GetRateLimitPolicies() {
		for _, l := range p.GetLimits() {
			if l.GetAlgorithm() == snapshot.Algorithm_ALGORITHM_CONCURRENCY {
				unable[p.GetName()] = l.GetName()
			}
		}
	}
	for _, p := range snap.GetPorts() {
		policy := p.GetRateLimitPolicy()
		if limit, is := unable[policy]; is && len(p.GetNames()) > 0 {
			return fmt.Errorf("RateLimitPolicy %s: limit %s counts requests in progress (algorithm Concurrency), and Envoy's rate limit protocol does not say when one ends; leave such limits to sidecars", policy, limit)
		}
	}
	return nil
}

// Add adds the ports of a snapshot that ports serves. It refuses a snapshot that is
// not Enforceable, and a domain that is there already.
func (d Domains) Add(snap *snapshot.Snapshot, ports exchange.Ports) error {
	if err := Enforceable(snap); err != nil {
		return err
	}
	for _, p := range snap.GetPorts() {
		policy := p.GetRateLimitPolicy()
		governs, _ := ports.Port(uint16(p.GetNumber()))
		if governs == nil {
			return fmt.Errorf("port %d of the snapshot is not served", p.GetNumber())
		}
		port := *governs
		port.Chain, port.Observer = nil, nil
		if policy != "" {
			// The rate limit filter is the first of a chain. Others act on requests.
			port.Chain = governs.Chain[:1]
		}
		for _, name := range p.GetNames() {
			domain := snap.GetWorkload().GetNamespace() + "/" + name
			if d[domain] != nil {
				return fmt.Errorf("domain %s comes twice", domain)
			}
			d[domain] = &port
		}
	}
	return nil
}
