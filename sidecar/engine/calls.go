// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
)

// maxMethods bounds the methods of a port that are counted by name.
const maxMethods = 512

// calls says whether a port's filters know calls of Thrift, and which methods they name.
func (b *build) calls(p *snapshot.Port, port *exchange.Port) {
	// Records are of HTTP: their filter would take a call for a request.
	records := p.GetIdempotencyPolicy() != ""
	port.Calls = port.Protocol == exchange.Thrift || port.Protocol == exchange.Auto && !records
	if !port.Calls {
		return
	}
	for _, id := range snapshot.Governing(p) {
		policy := snapshot.Find(b.snap, id)
		if policy == nil {
			continue
		}
		for m := range snapshot.Matches(policy) {
			for _, method := range m.GetThrift().GetMethods() {
				port.Methods = name(port.Methods, m.GetThrift().GetService(), method)
			}
		}
		if limits, ok := policy.(*snapshot.RateLimitPolicy); ok {
			for _, method := range limits.GetThrift().GetOnewayMethods() {
				port.Methods = name(port.Methods, "", method)
			}
		}
	}
}

// name adds a method. A call without the name of a service is covered by matches of any.
func name(to map[string]string, service, method string) map[string]string {
	if to == nil {
		to = map[string]string{}
	}
	if len(to) >= maxMethods {
		return to
	}
	to[method] = method
	if service != "" {
		to[service+":"+method] = service + "." + method
	}
	return to
}
