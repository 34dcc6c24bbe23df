// SPDX-License-Identifier: Apache-2.0

package engine

import "time"

// maxPeers bounds the pod counts that are kept for policies that are not in the
// program.
const maxPeers = 1024

// commit lets go of what the program before had and this one has not.
func (b *build) commit() {
	e := b.e
	old := e.stores
	e.limits, e.stores, e.crowds, e.tokens = b.limits, b.stores, b.crowds, b.tokens
	e.recorders = map[string]bool{}
	for policy := range b.recorders {
		e.recorders[policy] = true
	}
	for name, s := range old {
		if e.stores[name] != s {
			e.retire(s)
		}
	}
	for _, s := range e.stores {
		// It was on its way out, and is needed again.
		if t := e.retired[s]; t != nil {
			t.Stop()
			delete(e.retired, s)
			if creds, err := credentials(e.secrets[s.name]); err == nil && creds != nil && s.secret {
				s.redis.SetCredentials(*creds)
			}
		}
	}
	for policy := range e.peers {
		if len(e.peers) > maxPeers && b.filters[policy] == nil {
			delete(e.peers, policy)
		}
	}
	e.prune()
}

// retire closes a store once the requests that still use it are through: what is in
// flight there is finished there. One that is not there any more has no breaker that
// could be open.
func (e *Engine) retire(s *sharedStore) {
	s.forget(func(string) bool { return false })
	since := time.Now()
	var end func()
	end = func() {
		e.mu.Lock()
		if e.retired[s] == nil {
			e.mu.Unlock()
			return
		}
		if s.records.inFlight() || s.records.busy() && time.Since(since) < settleAfter {
			e.retired[s] = time.AfterFunc(retireAfter, end)
			e.mu.Unlock()
			return
		}
		delete(e.retired, s)
		e.mu.Unlock()
		s.close()
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.stores[s.name] == nil && s.redis != nil && e.opts.Metrics != nil {
			e.opts.Metrics.StoreBreaker(s.name, false)
		}
	}
	e.retired[s] = time.AfterFunc(retireAfter, end)
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
	for policy := range e.recorded {
		if !e.recorders[policy] {
			delete(e.recorded, policy)
		}
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
	var stores []*sharedStore
	for s, timer := range e.retired {
		timer.Stop()
		stores = append(stores, s)
	}
	for _, s := range e.stores {
		s.forget(func(string) bool { return false })
		stores = append(stores, s)
	}
	clear(e.retired)
	e.stores = nil
	e.mu.Unlock()
	for _, s := range stores {
		s.close()
	}
	e.tables.Close()
}
