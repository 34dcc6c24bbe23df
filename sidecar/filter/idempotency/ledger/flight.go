// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"sync"
	"time"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// shards is a power of two.
const shards = 64

// shard holds the flights of some IDs.
type shard struct {
	mu      sync.Mutex
	flights map[record.ID]*flight
}

// stage of a flight.
type stage uint8

const (
	// beginning: the store is being asked.
	beginning stage = iota
	// waiting: another process executes it; its record is known.
	waiting
	// claimed: this process executes it.
	claimed
	// over: see end.
	over
)

// end of a flight, for those who waited for it.
type end uint8

const (
	// askAgain: ask anew.
	askAgain end = iota
	// settledEnd: flight.final is what came of it.
	settledEnd
	// unknownEnd: nobody knows.
	unknownEnd
	// awayEnd: the store does not answer.
	awayEnd
)

// flight is what this process does about one ID: of all calls with it one leads, and
// the others follow. All fields are guarded by the shard.
type flight struct {
	stage stage
	// rec is the claim, from waiting on.
	rec   *record.Record
	end   end
	final *entry
	// claim of this process, while claimed.
	claim *Claim
	// changed is closed with the next change; nil: nobody waits for it.
	changed chan struct{}
	since   time.Time
}

func (l *Ledger) shard(id record.ID) *shard { return &l.flights[int(id[0])%shards] }

// enter returns the flight of id, which the caller leads when it is new.
func (l *Ledger) enter(id record.ID, fresh *flight) (f *flight, leads bool) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[id]; f != nil {
		return f, false
	}
	if s.flights == nil {
		s.flights = map[record.ID]*flight{}
	}
	s.flights[id] = fresh
	return fresh, true
}

// change edits f and wakes those who wait for it.
func (l *Ledger) change(id record.ID, f *flight, edit func(*flight)) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	edit(f)
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// land ends f. Where it stays in the table, all who come get what it came to.
func (l *Ledger) land(id record.ID, f *flight, e end, final *entry, stays bool) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	f.stage, f.end, f.final, f.claim = over, e, final, nil
	if !stays && s.flights[id] == f {
		delete(s.flights, id)
	}
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// remove takes f from the table.
func (l *Ledger) remove(id record.ID, f *flight) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flights[id] == f {
		delete(s.flights, id)
	}
}

// beginsWithin bounds how long a call waits for another's answer from the store.
const beginsWithin = time.Second

// follow waits for what f comes to. done is false when the call has to ask anew.
func (l *Ledger) follow(ctx context.Context, call *Call, f *flight, start time.Time) (res Result, done bool) {
	s, who := l.shard(call.ID), asker(call)
	entered := time.Now()
	var timer *time.Timer
	for {
		s.mu.Lock()
		stage, e, final, rec, since := f.stage, f.end, f.final, f.rec, f.since
		until := start.Add(call.Terms.Wait)
		switch stage {
		case over:
			s.mu.Unlock()
			return l.landed(call, e, final, rec)
		case beginning:
			if soon := entered.Add(beginsWithin); until.Before(soon) {
				until = soon
			}
		default:
			if v := rec.Decide(0, &who); v != record.Wait && v != record.Mine {
				s.mu.Unlock()
				return refusal(v, rec), true
			}
		}
		left := time.Until(until)
		if left <= 0 {
			s.mu.Unlock()
			if stage == beginning {
				return unavailable(), true
			}
			return Result{Kind: InFlight, Retry: retryAfter(time.Since(since)), Local: true}, true
		}
		if f.changed == nil {
			f.changed = make(chan struct{})
		}
		changed := f.changed
		s.mu.Unlock()
		if timer == nil {
			timer = time.NewTimer(left)
			defer timer.Stop()
		} else {
			timer.Reset(left)
		}
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			return unavailable(), true
		}
	}
}

// landed is the result of a call that has waited for another.
func (l *Ledger) landed(call *Call, e end, final *entry, rec *record.Record) (Result, bool) {
	switch e {
	case settledEnd:
		res := l.answer(call, final)
		if res.Kind == Replay {
			res.Kind = Joined
		}
		res.Local = true
		l.metrics.ReplayedLocally()
		return res, true
	case unknownEnd:
		who := asker(call)
		unknown := *rec
		unknown.State = record.Unknown
		return refusal(unknown.Decide(0, &who), rec), true
	case awayEnd:
		return unavailable(), true
	}
	return Result{}, false
}
