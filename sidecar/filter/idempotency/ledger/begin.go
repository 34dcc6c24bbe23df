// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// Begin decides on call. It waits for the store, and up to Terms.Wait for the same
// call in progress.
func (l *Ledger) Begin(ctx context.Context, call *Call) Result {
	start := time.Now()
	if e := l.cache.get(call.ID, start); e != nil {
		res := l.answer(call, e)
		res.Local = true
		l.metrics.ReplayedLocally()
		return res
	}
	c := &Claim{ID: call.ID, ledger: l, terms: call.Terms, note: noNote}
	c.flight.since = start
	for {
		f, leads := l.enter(call.ID, &c.flight)
		if leads {
			return l.lead(ctx, call, c, start)
		}
		if res, done := l.follow(ctx, call, f, start); done {
			return res
		}
	}
}

func asker(call *Call) record.Asker {
	return record.Asker{
		Fingerprint: call.Fingerprint,
		Credentials: call.Credentials,
		AtLeastOnce: call.Terms.AtLeastOnce,
		AnyRequest:  call.Terms.WarnMismatch,
	}
}

func unavailable() Result { return Result{Kind: Unavailable, Retry: time.Second} }

// retryAfter is how long one who waits in vain stays away from a call that has been
// running for so long: as long again, so that few come often.
func retryAfter(ran time.Duration) time.Duration {
	return min(max(ran, time.Second), 30*time.Second)
}

// refusal is the result of a verdict other than to execute or to replay.
func refusal(v record.Verdict, r *record.Record) Result {
	switch v {
	case record.Mismatch:
		return Result{Kind: Mismatch}
	case record.CredentialsDiffer:
		return Result{Kind: CredentialsDiffer}
	case record.OutcomeUnknown:
		return Result{Kind: Unknown}
	case record.NotRetained:
		return Result{Kind: NotRetained, Reply: &exchange.Reply{Status: r.Status}}
	default:
		return unavailable()
	}
}

// answer is the result of a call whose outcome is known.
func (l *Ledger) answer(call *Call, e *entry) Result {
	who := asker(call)
	res := Result{Mismatch: e.rec.Fingerprint != call.Fingerprint}
	switch v := e.rec.Decide(0, &who); v {
	case record.Replay, record.NotRetained:
		reply, err := record.DecodeReply(e.plain)
		switch {
		case err != nil:
			// What cannot be read was executed all the same.
			res.Kind, res.Reply = NotRetained, &exchange.Reply{Status: e.rec.Status}
		case v == record.Replay:
			res.Kind, res.Reply = Replay, reply
		default:
			res.Kind, res.Reply = NotRetained, reply
		}
		return res
	default:
		return refusal(v, &e.rec)
	}
}

// open makes an entry of a record that is complete.
func (l *Ledger) open(call *Call, r *record.Record) *entry {
	e := &entry{id: call.ID, rec: *r, plain: r.Payload}
	e.rec.Payload = nil
	if r.Flags&record.Sealed != 0 {
		e.plain = nil
		if s := call.Terms.Sealer; s != nil {
			if plain, err := s.Open(nil, call.ID, r.Payload); err == nil {
				e.plain = plain
			}
		}
	}
	return e
}

// newClaim is what the store is to keep of call while it is executed.
func (l *Ledger) newClaim(call *Call) record.Record {
	r := record.Record{
		State:       record.Inflight,
		Owner:       l.newOwner(),
		Fingerprint: call.Fingerprint,
		Credentials: call.Credentials,
		Lease:       call.Terms.Lease,
		Retention:   call.Terms.Retention,
	}
	if call.Terms.AtLeastOnce {
		r.Flags |= record.AtLeastOnce
	}
	if call.Terms.Shadow {
		r.Flags |= record.Shadow
	}
	return r
}

// lead asks the store on behalf of all calls of this process.
func (l *Ledger) lead(ctx context.Context, call *Call, c *Claim, start time.Time) Result {
	c.rec = l.newClaim(call)
	who := asker(call)
	who.Owner = c.rec.Owner
	next := record.Command{Op: record.Begin, Next: &c.rec}
	for polls, again, doubt := 0, true, false; ; {
		asked := time.Now()
		answer, err := l.ask(ctx, c, next)
		if err != nil {
			sent := !errors.Is(err, record.ErrNotSent)
			doubt = doubt || sent && next.Next != nil
			if sent && again && ctx.Err() == nil {
				// It may have been carried out: with the same owner that shows.
				again = false
				continue
			}
			if doubt {
				l.abandon(c)
			} else {
				l.notes.free(c.note)
			}
			l.land(call.ID, &c.flight, awayEnd, nil, false)
			return unavailable()
		}
		rec, v := answer.Record, record.Mine
		switch {
		case next.Op != record.Look && answer.Result == record.Applied && next.Next == nil:
			v = record.OutcomeUnknown
			l.metrics.Unknown()
		case answer.Result == record.Missing:
			next = record.Command{Op: record.Begin, Next: &c.rec}
			continue
		case answer.Result == record.Found:
			v = rec.Decide(answer.Age, &who)
		}
		switch v {
		case record.Mine:
			return l.claimed(call, c, rec, asked)
		case record.NeedAge:
			next = record.Command{Op: record.Look}
			if l.retries.abandoned(rec.Owner) {
				next = record.Command{Op: record.Release, Ref: rec.Ref()}
			}
		case record.GiveUp:
			next = record.Command{Op: record.Expire, Ref: rec.Ref()}
		case record.TakeOver:
			next = record.Command{Op: record.Expire, Ref: rec.Ref(), Next: &c.rec}
		case record.Wait:
			if time.Since(start) >= call.Terms.Wait || !l.poll(ctx, call.ID, c, rec, polls) {
				l.land(call.ID, &c.flight, askAgain, nil, false)
				return Result{Kind: InFlight, Retry: retryAfter(max(answer.Age, time.Since(start)))}
			}
			polls++
			next = record.Command{Op: record.Look}
		default:
			return l.found(call, c, rec, v, polls > 0)
		}
	}
}

// ask sends cmd, with a note before what may claim.
func (l *Ledger) ask(ctx context.Context, c *Claim, cmd record.Command) (record.Answer, error) {
	if cmd.Next == nil {
		answer, err := l.do(ctx, c.ID, cmd)
		if cmd.Op == record.Release && err == nil {
			// One of this process's own was in the way: begin anew.
			answer = record.Answer{Result: record.Missing}
		}
		return answer, err
	}
	if c.note == noNote {
		c.note = l.notes.claim(c.ID, &c.rec)
	}
	answer, err := l.do(ctx, c.ID, cmd)
	if err == nil && answer.Result != record.Applied {
		l.notes.free(c.note)
		c.note = noNote
	}
	return answer, err
}

// poll waits for a while; false: that makes no sense any more.
func (l *Ledger) poll(ctx context.Context, id record.ID, c *Claim, rec *record.Record, polls int) bool {
	l.change(id, &c.flight, func(f *flight) { f.stage, f.rec = waiting, rec })
	pause := min(25*time.Millisecond<<min(polls, 3), 200*time.Millisecond)
	timer := time.NewTimer(pause*3/4 + rand.N(pause/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-l.ctx.Done():
	}
	return false
}

// found ends the flight with what the store has.
func (l *Ledger) found(call *Call, c *Claim, rec *record.Record, v record.Verdict, waited bool) Result {
	switch {
	case rec.State == record.Complete || rec.State == record.Tombstone:
		e := l.open(call, rec)
		l.cache.put(e, l.expiry(rec))
		l.land(call.ID, &c.flight, settledEnd, e, false)
		res := l.answer(call, e)
		if res.Kind == Replay && waited {
			res.Kind = Joined
		}
		return res
	case v == record.OutcomeUnknown:
		l.change(call.ID, &c.flight, func(f *flight) { f.rec = rec })
		l.land(call.ID, &c.flight, unknownEnd, nil, false)
	default:
		l.land(call.ID, &c.flight, askAgain, nil, false)
	}
	return refusal(v, rec)
}

// expiry is when a record found is over, zero where that cannot be told. A little
// early: no replay from memory when another may be dispatched.
func (l *Ledger) expiry(rec *record.Record) time.Time {
	at := time.Now()
	now := l.clock.now(at)
	if now == 0 || rec.Stamp == 0 || now < rec.Stamp {
		return time.Time{}
	}
	gone := time.Duration(now-rec.Stamp) * time.Microsecond
	return at.Add(keepFor(rec.Retention) - gone)
}

func keepFor(retention time.Duration) time.Duration {
	return retention - min(retention/10, 5*time.Second)
}

// claimed makes c usable.
func (l *Ledger) claimed(call *Call, c *Claim, rec *record.Record, asked time.Time) Result {
	if rec != &c.rec {
		// Begun before, when the answer was lost.
		c.rec.Fence, c.rec.Origin, c.rec.Attempt = rec.Fence, rec.Origin, rec.Attempt
	}
	if c.rec.Attempt == 1 {
		l.clock.learn(c.rec.Fence, time.Now())
	}
	c.Fence, c.Attempt = c.rec.Fence, c.rec.Attempt
	c.begun = asked
	c.leaseFrom.Store(asked.Sub(l.clock.from).Nanoseconds())
	c.renewable.Store(true)
	l.lease(c.rec.Lease)
	l.change(call.ID, &c.flight, func(f *flight) { f.stage, f.rec, f.claim = claimed, &c.rec, c })
	l.metrics.InFlight(1)
	return Result{Kind: Claimed, Claim: c}
}
