// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"time"

	"weir.dev/weir/sidecar/store/redis"
)

// maxPeers bounds the pod counts that are kept for policies that are not in the
// program.
const maxPeers = 1024

// commit lets go of what the program before had and this one has not.
func (b *build) commit() {
	e := b.e
	old := e.stores
	e.limits, e.stores, e.crowds, e.tokens = b.limits, b.stores, b.crowds, b.tokens
	for name, s := range old {
		if s.redis != nil && e.stores[name] != s {
			e.retire(s)
		}
	}
	for policy := range e.peers {
		if len(e.peers) > maxPeers && b.filters[policy] == nil {
			delete(e.peers, policy)
		}
	}
	e.prune()
}

// retire closes a store once the requests that still use it are through. One that
// is not there any more has no breaker that could be open.
func (e *Engine) retire(s *sharedStore) {
	s.forget(func(string) bool { return false })
	e.retired[s.redis] = time.AfterFunc(retireAfter, func() {
		e.mu.Lock()
		delete(e.retired, s.redis)
		e.mu.Unlock()
		s.redis.Close()
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.stores[s.name] == nil && e.opts.Metrics != nil {
			e.opts.Metrics.StoreBreaker(s.name, false)
		}
	})
}

// abandon ends what a refused program had started.
func (b *build) abandon() {
	for _, s := range b.started {
		b.e.retire(s)
	}
	b.e.prune()
}

// prune forgets counters of limits that the program does not have.
func (e *Engine) prune() {
	keep := func(id string) bool { return e.limits[id] }
	e.tables.Retain(keep)
	for _, s := range e.stores {
		s.forget(keep)
	}
	for id := range e.shadows {
		if !e.limits[id] {
			delete(e.shadows, id)
		}
	}
}

// Close ends the engine's goroutines and connections. The program still answers:
// what a store decides, its failure policy decides then.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	var stores []*redis.Store
	for s, timer := range e.retired {
		timer.Stop()
		stores = append(stores, s)
	}
	for _, s := range e.stores {
		s.forget(func(string) bool { return false })
		if s.redis != nil {
			stores = append(stores, s.redis)
		}
	}
	clear(e.retired)
	e.stores = nil
	e.mu.Unlock()
	for _, s := range stores {
		s.Close()
	}
	e.tables.Close()
}
