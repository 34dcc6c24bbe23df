// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"sync"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/engine"
)

// problems counts what is wrong with ports. Only governed ports come here, which
// bounds it.
type problems struct {
	mu    sync.Mutex
	ports map[uint16]uint64
}

func (p *problems) encrypted(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ports == nil {
		p.ports = map[uint16]uint64{}
	}
	p.ports[port]++
}

// list is in the order of ports.
func (p *problems) list() []*stream.PortProblem {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*stream.PortProblem
	for port, n := range p.ports {
		out = append(out, &stream.PortProblem{Kind: stream.PortProblem_KIND_ENCRYPTED_TRAFFIC, Port: uint32(port), Count: n})
	}
	slices.SortFunc(out, func(a, b *stream.PortProblem) int { return int(a.GetPort()) - int(b.GetPort()) })
	return out
}

// maxProblems is as many as a report may have.
const maxProblems = 256

// sink is the engine, whose reports also say what the listeners have seen.
type sink struct {
	*engine.Engine
	problems *problems
}

// Report implements source.Sink.
func (s sink) Report() *stream.Report {
	r := s.Engine.Report()
	r.Problems = append(s.problems.list(), r.Problems...)
	r.Problems = r.Problems[:min(len(r.Problems), maxProblems)]
	return r
}
