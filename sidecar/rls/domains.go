// SPDX-License-Identifier: Apache-2.0

package rls

import (
	"errors"
	"fmt"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/exchange"
)

// Domains are ports of Services, by `<namespace>/<service>/<port>`.
type Domains map[string]Domain

// Domain is what a port's calls are answered from.
type Domain struct {
	port *exchange.Port
	// refused says why they cannot be.
	refused string
}

// unenforceable are sentences about the policies of which a rate limit service cannot
// enforce all, by name.
func unenforceable(snap *snapshot.Snapshot) map[string]string {
	out := map[string]string{}
	for _, p := range snap.GetRateLimitPolicies() {
		for _, l := range p.GetLimits() {
			if l.GetAlgorithm() == snapshot.Algorithm_ALGORITHM_CONCURRENCY {
				out[p.GetName()] = fmt.Sprintf("RateLimitPolicy %s: limit %s counts requests in progress (algorithm Concurrency), and Envoy's rate limit protocol does not say when one ends; leave such limits to sidecars", p.GetName(), l.GetName())
			}
		}
	}
	return out
}

// Enforceable says what of a snapshot a rate limit service cannot enforce.
func Enforceable(snap *snapshot.Snapshot) error {
	unable := unenforceable(snap)
	for _, p := range snap.GetPorts() {
		if why := refusalAt(p, unable); why != "" && len(p.GetNames()) > 0 {
			return errors.New(why)
		}
	}
	return nil
}

// refusalAt is why a port's limits cannot be enforced; empty: they can.
func refusalAt(p *snapshot.Port, unable map[string]string) string {
	if p.GetProtocol() == snapshot.Protocol_PROTOCOL_THRIFT && p.GetRateLimitPolicy() != "" {
		return fmt.Sprintf("RateLimitPolicy %s governs port %d, which speaks Thrift: gateways describe requests of HTTP only", p.GetRateLimitPolicy(), p.GetNumber())
	}
	return unable[p.GetRateLimitPolicy()]
}

// Add adds the ports of a snapshot that ports serves. Those that are not Enforceable
// are answered with an error. It refuses a domain that is there already.
func (d Domains) Add(snap *snapshot.Snapshot, ports exchange.Ports) error {
	unable := unenforceable(snap)
	for _, p := range snap.GetPorts() {
		policy := p.GetRateLimitPolicy()
		governs, _ := ports.Port(uint16(p.GetNumber()))
		if governs == nil {
			return fmt.Errorf("port %d of the snapshot is not served", p.GetNumber())
		}
		port := *governs
		port.Chain, port.Observer = nil, nil
		if f := engine.RateLimit(governs); policy != "" && f != nil {
			// The other filters act on requests.
			port.Chain = exchange.Chain{f}
		}
		for _, name := range p.GetNames() {
			domain := snap.GetWorkload().GetNamespace() + "/" + name
			if _, again := d[domain]; again {
				return fmt.Errorf("domain %s comes twice", domain)
			}
			d[domain] = Domain{port: &port, refused: refusalAt(p, unable)}
		}
	}
	return nil
}

// refuse answers the domains of a snapshot with an error.
func (d Domains) refuse(snap *snapshot.Snapshot, why string) {
	for _, p := range snap.GetPorts() {
		for _, name := range p.GetNames() {
			d[snap.GetWorkload().GetNamespace()+"/"+name] = Domain{refused: why}
		}
	}
}
