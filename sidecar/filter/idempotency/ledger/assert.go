// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

const (
	// assertPause is before a pass, more or less, and between two batches of it: a
	// store that comes back has all of a fleet to serve.
	assertPause = 20 * time.Millisecond
	assertBatch = 64
	// assertEvery is the least time between two passes, and between two tries of one.
	assertEvery = time.Second
)

// suspect has what this process has told the store be told again: the store may have
// lost it.
func (l *Ledger) suspect() {
	select {
	case l.doubt <- struct{}{}:
	default:
	}
}

// lost counts a record that the store had acknowledged and lost.
func (l *Ledger) lost(id record.ID, mine *record.Record) {
	l.metrics.Lost()
	if l.opts.Suspect != nil && mine.Flags&record.Shadow == 0 {
		l.opts.Suspect(id, RecordLost)
	}
	l.suspect()
}

// duplicate counts a request that was executed here while another's record holds.
func (l *Ledger) duplicate(id record.ID, mine *record.Record) {
	l.metrics.Duplicate()
	if l.opts.Suspect != nil && mine.Flags&record.Shadow == 0 {
		l.opts.Suspect(id, ExecutedTwice)
	}
}

// asserts repeats outcomes and claims, one pass at a time, whenever the store may have
// lost some of them.
func (l *Ledger) asserts() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	sleep := func(d time.Duration) bool {
		timer.Reset(d)
		select {
		case <-l.ctx.Done():
			return false
		case <-timer.C:
			return true
		}
	}
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.doubt:
		}
		if !sleep(jittered(assertPause)) {
			return
		}
		for !l.assert(sleep) {
			if !sleep(jittered(assertEvery)) {
				return
			}
		}
		if !sleep(assertEvery) {
			return
		}
	}
}

// assert makes a pass; false: the store is away.
func (l *Ledger) assert(sleep func(time.Duration) bool) bool {
	now := time.Now()
	var jobs []func(context.Context) error
	for _, c := range l.underWay() {
		jobs = append(jobs, func(ctx context.Context) error { return l.assertClaim(ctx, c) })
	}
	for _, o := range l.recent.latest(now) {
		if keep := o.keep(now); keep > 0 && !o.flagged {
			jobs = append(jobs, func(ctx context.Context) error { return l.assertOutcome(ctx, o, keep) })
		}
	}
	for len(jobs) > 0 {
		batch := jobs[:min(assertBatch, len(jobs))]
		jobs = jobs[len(batch):]
		var failed atomic.Bool
		var wg sync.WaitGroup
		for _, job := range batch {
			wg.Go(func() {
				if job(l.ctx) != nil {
					failed.Store(true)
				}
			})
		}
		wg.Wait()
		if failed.Load() {
			return false
		}
		if len(jobs) > 0 && !sleep(assertPause/2) {
			return true
		}
	}
	return true
}

// underWay are the claims of this process whose requests have been sent.
func (l *Ledger) underWay() (claims []*Claim) {
	for i := range l.flights {
		s := &l.flights[i]
		s.mu.Lock()
		for _, f := range s.flights {
			if c := f.claim; c != nil && c.renewable.Load() && c.dispatched.Load() && !c.terms.Shadow {
				claims = append(claims, c)
			}
		}
		s.mu.Unlock()
	}
	return claims
}

// assertClaim writes a claim that was lost once more, so that nobody else is
// dispatched. One that was not sent yet is left out: it could be released meanwhile
// without a trace.
func (l *Ledger) assertClaim(ctx context.Context, c *Claim) error {
	asked := time.Now()
	answer, err := l.opts.Store.Do(ctx, c.ID, record.Command{Op: record.Finish, Next: &c.rec})
	switch {
	case err != nil:
		return err
	case answer.Result == record.Lost:
		l.lost(c.ID, &c.rec)
		fallthrough
	case answer.Result == record.Applied:
		c.leaseFrom.Store(asked.Sub(l.clock.from).Nanoseconds())
	case answer.Result == record.Found && answer.Record != nil && answer.Record.Owner != c.rec.Owner:
		// Counted by whoever settles it.
		c.gone.Store(true)
		c.renewable.Store(false)
	}
	return nil
}

// assertOutcome tells an outcome once more.
func (l *Ledger) assertOutcome(ctx context.Context, o *outcome, keep time.Duration) error {
	cmd := o.cmd
	if cmd.Next != nil {
		cmd.Keep = keep
	}
	answer, err := l.opts.Store.Do(ctx, o.id, cmd)
	if err != nil {
		return err
	}
	if cmd.Op != record.Finish {
		return nil
	}
	switch {
	case answer.Result == record.Lost:
		l.lost(o.id, cmd.Next)
	case answer.Result == record.Found && answer.Record != nil && answer.Record.Owner != cmd.Next.Owner:
		o.flagged = true
		// All get the response that holds from now on.
		l.cache.remove(o.id)
		l.displaced(o.id, cmd.Next, answer.Record)
	}
	return nil
}

// displaced counts that other is in the place of mine, which was executed.
func (l *Ledger) displaced(id record.ID, mine, other *record.Record) {
	if mine.LostBefore(other) {
		l.lost(id, mine)
	}
	if other.State != record.Released {
		l.duplicate(id, mine)
	}
}
