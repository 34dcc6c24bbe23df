// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"sync"
	"time"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

const (
	// maxRecent and maxRecentBytes bound the outcomes that can be told again.
	maxRecent      = 8192
	maxRecentBytes = 4 << 20
	// recentFor is how old they may be. Whoever takes a record out of the store by hand
	// does not want it back later.
	recentFor = 10 * time.Minute
)

// outcome is a Finish or a Release that the store has acknowledged.
type outcome struct {
	id  record.ID
	cmd record.Command
	at  time.Time
	// flagged: another's record was in its place, and it has been counted. Of the one
	// goroutine that asserts.
	flagged bool
}

func (o *outcome) size() int {
	if o.cmd.Next == nil {
		return 0
	}
	return len(o.cmd.Next.Payload)
}

// keep is how long the record is to stay still; 0: it is over, or nearly.
func (o *outcome) keep(now time.Time) time.Duration {
	keep := o.cmd.Keep
	switch {
	case o.cmd.Next == nil:
		// It leaves nothing.
		return recentFor
	case keep == 0:
		keep = o.cmd.Next.Retention
	}
	gone := now.Sub(o.at)
	if gone >= keepFor(keep) {
		return 0
	}
	return keep - gone
}

// recent are the last outcomes, in a ring that grows to its bound.
type recent struct {
	mu    sync.Mutex
	ring  []*outcome
	first int
	n     int
	bytes int
}

// add keeps an outcome in the place of the oldest ones.
func (r *recent) add(o *outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == len(r.ring) && r.n < maxRecent {
		larger := make([]*outcome, min(max(64, 2*r.n), maxRecent))
		for i := range r.n {
			larger[i] = r.ring[(r.first+i)%r.n]
		}
		r.ring, r.first = larger, 0
	}
	for r.n > 0 && (r.n == len(r.ring) || r.bytes+o.size() > maxRecentBytes) {
		r.bytes -= r.ring[r.first].size()
		r.ring[r.first] = nil
		r.first = (r.first + 1) % len(r.ring)
		r.n--
	}
	r.ring[(r.first+r.n)%len(r.ring)] = o
	r.n++
	r.bytes += o.size()
}

// latest returns them, the newest first: it is lost rather than those before it.
func (r *recent) latest(now time.Time) []*outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*outcome
	for i := r.n - 1; i >= 0; i-- {
		o := r.ring[(r.first+i)%len(r.ring)]
		if now.Sub(o.at) > recentFor {
			break
		}
		all = append(all, o)
	}
	return all
}
