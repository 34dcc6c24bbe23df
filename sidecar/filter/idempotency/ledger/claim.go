// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"sync/atomic"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// Claim is the right to execute a request. One goroutine at a time may use it. One of
// Complete, Tombstone, Release and Unknown settles it; End must follow in any case.
type Claim struct {
	ID record.ID
	// Fence is higher than that of any claim of ID that the application has seen.
	Fence uint64
	// Attempt counts claims of ID from 1.
	Attempt uint32

	ledger *Ledger
	terms  *Terms
	flight flight
	// rec does not change once claimed.
	rec  record.Record
	note int
	// begun is when the store was asked for the claim.
	begun      time.Time
	dispatched atomic.Bool
	overdue    bool
	settled    bool
	ended      bool

	// leaseFrom is when the lease began at the latest, in ns of the ledger's clock.
	leaseFrom atomic.Int64
	// renewable: the lease is to be kept up. gone: it is another's, or lost.
	renewable, gone atomic.Bool
}

// Dispatch must be called before the first byte goes to the application. false: the
// lease is over already; nothing may be sent, and End follows.
func (c *Claim) Dispatch() bool {
	if c.dispatched.Load() {
		return true
	}
	held := time.Since(c.ledger.clock.from) - time.Duration(c.leaseFrom.Load())
	if c.gone.Load() || held >= c.rec.Lease {
		return false
	}
	c.ledger.notes.dispatch(c.note, &c.rec)
	c.dispatched.Store(true)
	return true
}

// Complete stores the response before the client gets its last byte. It may be called
// after Overdue. What it keeps of reply it copies.
func (c *Claim) Complete(ctx context.Context, reply *exchange.Reply) Outcome {
	return c.save(ctx, record.Complete, reply)
}

// Tombstone is Complete for a response that is not kept: too large, or without end.
// location may be empty.
func (c *Claim) Tombstone(ctx context.Context, status int, location []byte) Outcome {
	reply := &exchange.Reply{Status: status}
	if len(location) > 0 {
		reply.Header = []exchange.Field{{Name: []byte("Location"), Value: location}}
	}
	return c.save(ctx, record.Tombstone, reply)
}

// final is the record of the claim in another state.
func (c *Claim) final(state record.State) *record.Record {
	final := c.rec
	final.State = state
	final.Stamp = c.rec.Fence + uint64(time.Since(c.begun).Microseconds())
	return &final
}

func (c *Claim) save(ctx context.Context, state record.State, reply *exchange.Reply) Outcome {
	if c.settled {
		return Outcome{Saved: Stored}
	}
	c.settled = true
	l, final := c.ledger, c.final(state)
	final.Status = reply.Status
	plain := record.AppendReply(make([]byte, 0, record.ReplyLen(reply)), reply)
	final.Payload = plain
	if s := c.terms.Sealer; s != nil {
		final.Payload = s.Seal(nil, c.ID, plain)
		final.Flags |= record.Sealed
	}
	e := &entry{id: c.ID, rec: *final, plain: plain}
	e.rec.Payload = nil
	l.notes.capture(c.note, final)
	l.metrics.StoredBytes(len(final.Payload))
	t := &task{id: c.ID, cmd: record.Command{Op: record.Finish, Next: final}}
	answer, err := l.insist(ctx, t.id, t.cmd)
	if err != nil {
		// All who ask this process get the response meanwhile.
		l.land(c.ID, &c.flight, settledEnd, e, true)
		t.done = func(answer record.Answer, err error) {
			if err == nil {
				c.saved(answer, e)
			} else {
				l.remove(c.ID, &c.flight)
			}
			c.freeNote(err)
		}
		l.retries.add(t, c.patience())
		return Outcome{Saved: Pending}
	}
	defer c.freeNote(nil)
	return c.saved(answer, e)
}

// patience is how long the store is asked to take an outcome: until long after the
// lease, since it corrects a record that others have found unknown.
func (c *Claim) patience() time.Duration {
	return min(c.rec.Retention, max(c.rec.Lease, settleWithin))
}

// saved takes the answer of the store to a final record.
func (c *Claim) saved(answer record.Answer, e *entry) Outcome {
	l := c.ledger
	switch answer.Result {
	case record.Lost:
		l.lost(c.ID, &c.rec)
	case record.Applied:
	default:
		return c.superseded(answer.Record)
	}
	l.cache.put(e, c.begun.Add(time.Duration(e.rec.Stamp-c.rec.Fence)*time.Microsecond+keepFor(c.rec.Retention)))
	l.land(c.ID, &c.flight, settledEnd, e, false)
	if answer.Result == record.Lost {
		return Outcome{Saved: StoredLost}
	}
	return Outcome{Saved: Stored}
}

// superseded: there is another's record in the place of the claim.
func (c *Claim) superseded(rec *record.Record) Outcome {
	l := c.ledger
	c.fenced(rec)
	out := Outcome{Saved: Superseded}
	if rec == nil || rec.State != record.Complete {
		l.land(c.ID, &c.flight, askAgain, nil, false)
		return out
	}
	e := l.open(&Call{ID: c.ID, Terms: c.terms}, rec)
	if reply, err := record.DecodeReply(e.plain); err == nil {
		out.Reply = reply
	}
	l.cache.put(e, l.expiry(rec))
	l.land(c.ID, &c.flight, settledEnd, e, false)
	return out
}

// Release: the request was not executed, for sure: nothing was sent, or the response
// says so. Whoever repeats it is dispatched.
func (c *Claim) Release(ctx context.Context) {
	if c.settled {
		return
	}
	c.settled = true
	l, t := c.ledger, c.release()
	_, err := l.do(ctx, t.id, t.cmd)
	if err != nil {
		t.done = func(_ record.Answer, err error) { c.freeNote(err) }
		l.retries.add(t, c.patience())
	} else {
		c.freeNote(nil)
	}
	l.land(c.ID, &c.flight, askAgain, nil, false)
}

// releasedFor is how long the fence of a claim that the application has seen is
// remembered: longer than clocks are apart.
const releasedFor = 10 * time.Minute

func (c *Claim) release() *task {
	cmd := record.Command{Op: record.Release, Ref: c.rec.Ref()}
	if c.dispatched.Load() || c.rec.Attempt > 1 {
		cmd.Next = c.final(record.Released)
		cmd.Keep = min(releasedFor, c.rec.Retention)
	}
	return &task{id: c.ID, cmd: cmd}
}

// Unknown: it was sent, and nobody will know what came of it. With AtMostOnce nobody
// who repeats it is dispatched; with AtLeastOnce the lease runs out first.
func (c *Claim) Unknown(ctx context.Context) {
	if c.settled {
		return
	}
	c.settled = true
	c.doubt(ctx, func(err error) { c.freeNote(err) })
}

// Overdue is Unknown for now: a response may come yet, and be given to Complete,
// Tombstone or Release.
func (c *Claim) Overdue(ctx context.Context) {
	if c.settled || c.overdue {
		return
	}
	c.doubt(ctx, func(error) {})
}

// doubt records that the outcome is not known; done is called when that has been done.
func (c *Claim) doubt(ctx context.Context, done func(error)) {
	l := c.ledger
	c.renewable.Store(false)
	if c.terms.AtLeastOnce {
		l.land(c.ID, &c.flight, askAgain, nil, false)
		done(nil)
		return
	}
	if c.overdue {
		done(nil)
		return
	}
	c.overdue = true
	l.metrics.Unknown()
	t := &task{id: c.ID, cmd: record.Command{Op: record.Finish, Next: c.final(record.Unknown)}}
	answer, err := l.insist(ctx, t.id, t.cmd)
	if err != nil {
		t.done = func(answer record.Answer, err error) { c.doubted(answer, err); done(err) }
		l.retries.add(t, c.patience())
	} else {
		c.doubted(answer, nil)
		done(nil)
	}
	l.land(c.ID, &c.flight, unknownEnd, nil, false)
}

func (c *Claim) doubted(answer record.Answer, err error) {
	switch {
	case err != nil:
	case answer.Result == record.Lost:
		c.ledger.lost(c.ID, &c.rec)
	case answer.Result == record.Found && answer.Record != nil && answer.Record.Owner != c.rec.Owner:
		c.fenced(answer.Record)
	}
}

// fenced counts that another's record is in the place of what was executed.
func (c *Claim) fenced(rec *record.Record) {
	l := c.ledger
	l.metrics.Fenced()
	l.duplicate(c.ID, &c.rec)
	if rec != nil && c.rec.LostBefore(rec) {
		l.lost(c.ID, &c.rec)
	}
}

// End lets go of the claim. Where nothing has settled it: Release when it was not
// dispatched, else Unknown, in the background.
func (c *Claim) End() {
	if c.ended {
		return
	}
	c.ended = true
	l := c.ledger
	c.renewable.Store(false)
	l.metrics.InFlight(-1)
	if c.settled {
		return
	}
	c.settled = true
	switch {
	case !c.dispatched.Load():
		t := c.release()
		t.done = func(_ record.Answer, err error) { c.freeNote(err) }
		l.retries.add(t, c.patience())
		l.land(c.ID, &c.flight, askAgain, nil, false)
	case c.overdue || c.terms.AtLeastOnce:
		c.freeNote(nil)
		l.land(c.ID, &c.flight, askAgain, nil, false)
	default:
		l.metrics.Unknown()
		t := &task{id: c.ID, cmd: record.Command{Op: record.Finish, Next: c.final(record.Unknown)}}
		t.done = func(answer record.Answer, err error) { c.doubted(answer, err); c.freeNote(err) }
		l.retries.add(t, c.patience())
		l.land(c.ID, &c.flight, unknownEnd, nil, false)
	}
}

// freeNote forgets the note of what is settled. One that could not be settled stays
// for the next process.
func (c *Claim) freeNote(err error) {
	c.renewable.Store(false)
	if err == nil {
		c.ledger.notes.free(c.note)
		c.note = noNote
	}
}
