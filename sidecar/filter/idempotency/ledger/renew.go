// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"time"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// lease takes notice of how long leases are.
func (l *Ledger) lease(d time.Duration) {
	for {
		least := l.minLease.Load()
		if int64(d) >= least {
			return
		}
		if l.minLease.CompareAndSwap(least, int64(d)) {
			select {
			case l.shorter <- struct{}{}:
			default:
			}
			return
		}
	}
}

// renewals keeps up the leases of claims that take long: from a third of the lease
// on, so that most calls need none.
func (l *Ledger) renewals() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.shorter:
		case <-timer.C:
			l.renew(time.Now())
		}
		least := time.Duration(l.minLease.Load())
		timer.Reset(min(max(least/6, 5*time.Millisecond), 5*time.Second))
	}
}

// renew renews what is due, in batches.
func (l *Ledger) renew(now time.Time) {
	var claims []*Claim
	at := now.Sub(l.clock.from).Nanoseconds()
	for i := range l.flights {
		s := &l.flights[i]
		s.mu.Lock()
		for _, f := range s.flights {
			if c := f.claim; c != nil && c.renewable.Load() && at-c.leaseFrom.Load() >= int64(c.rec.Lease/3) {
				claims = append(claims, c)
			}
		}
		s.mu.Unlock()
	}
	if len(claims) == 0 {
		return
	}
	all := make([]record.Renewal, len(claims))
	for i, c := range claims {
		all[i] = record.Renewal{ID: c.ID, Claim: &c.rec}
	}
	start := time.Now()
	// What was not answered is renewed the next time, if it is time still.
	_ = l.opts.Store.Renew(l.ctx, all)
	l.metrics.Store(record.Renew.String(), time.Since(start))
	renewed := 0
	for i, c := range claims {
		switch all[i].Answer.Result {
		case record.Applied:
			c.leaseFrom.Store(at)
			renewed++
		case record.Missing, record.Found:
			if all[i].Answer.Result == record.Missing && c.dispatched.Load() {
				l.suspect()
				break // Asserted, it goes on.
			}
			// Found out, and counted, by whoever settles it.
			c.gone.Store(true)
			c.renewable.Store(false)
		}
	}
	l.metrics.Renewed(renewed)
}
