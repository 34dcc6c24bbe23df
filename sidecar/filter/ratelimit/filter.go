// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"context"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/filter/match"
)

// scratch is a filter's memory in an exchange's slot, reused with it.
type scratch struct {
	params match.Params
	hits   []hit
	ops    []limiter.Op
	specs  []specKey
	buf    []byte
	// owing: a hit owes.
	owing bool
}

type specKey struct {
	key   limiter.Key
	state keyState
}

// hit is a limit that holds for the exchange.
type hit struct {
	limit  *limit
	terms  *terms
	key    limiter.Key
	rule   limiter.Rule
	d      limiter.Decision
	source Source
	// decided is false until, and unless, d holds.
	decided bool
	// spent: the limit's table has counted the request.
	spent bool
	// held: the request is in progress until End.
	held bool
	// owes: the response, or the end, may say what it has cost.
	owes bool
	// ask is for tokens, where leased.
	ask limiter.Ask
}

func (f *Filter) scratch(x *exchange.Exchange) *scratch {
	s, ok := x.State(f.env.Slot).(*scratch)
	if !ok {
		s = &scratch{}
		x.SetState(f.env.Slot, s)
	}
	if cap(s.hits) < len(f.limits) {
		s.hits = make([]hit, 0, len(f.limits))
		s.ops = make([]limiter.Op, 0, len(f.limits))
	}
	if cap(s.specs) < len(f.specs) {
		s.specs = make([]specKey, len(f.specs))
	}
	s.hits, s.ops, s.specs = s.hits[:0], s.ops[:0], s.specs[:len(f.specs)]
	clear(s.specs)
	return s
}

// Head decides. It waits for the store at most as long as the store's timeout.
func (f *Filter) Head(x *exchange.Exchange) exchange.Verdict {
	if x.Call != nil {
		f.markOneway(x.Call)
	}
	if f.exempt.cover(x) {
		return exchange.Continue
	}
	s := f.scratch(x)
	if x.Call != nil && f.needsArgs(x, s) {
		return exchange.NeedBody
	}
	return f.decide(x, s)
}

// decide is Head for a request that is not exempt.
func (f *Filter) decide(x *exchange.Exchange, s *scratch) exchange.Verdict {
	if l, deny := f.collect(x, s); l != nil {
		return deny(f, x, l)
	}
	if len(s.hits) == 0 {
		return exchange.Continue
	}
	denied := f.takeLocal(s, false, FromMemory)
	closed := false
	if !denied {
		denied, closed = f.takeShared(x, s)
	}
	if denied || closed {
		s.refund()
	}
	s.hold(denied || closed)
	f.owe(s, denied || closed)
	f.count(s, closed)
	switch {
	case closed:
		return f.denyClosed(x, s)
	case denied:
		f.addFields(x, s)
		return f.denyQuota(x, s)
	}
	f.addFields(x, s)
	return exchange.Continue
}

// collect finds the limits that hold, with their keys. It returns the limit that
// denies without a decision, and what answers for it.
func (f *Filter) collect(x *exchange.Exchange, s *scratch) (*limit, func(*Filter, *exchange.Exchange, *limit) exchange.Verdict) {
	for i := range f.limits {
		l := &f.limits[i]
		rule, ok := l.match.Match(x, &s.params)
		if !ok {
			continue
		}
		k := &s.specs[l.spec]
		if k.state == keyUnset {
			k.key, k.state, s.buf = f.specs[l.spec].key(x, rule, &s.params, s.buf)
		}
		switch k.state {
		case keySkip:
			continue
		case keyDeny:
			if !l.shadow {
				return l, (*Filter).denyMissing
			}
			l.wouldDeny.Add(1)
			l.decided(WouldDeny, FromMissingKey)
			continue
		}
		t := l.termsFor(&k.key)
		if t.unlimited {
			continue
		}
		if x.Hits > 1 {
			if t = t.times(x.Hits); t == nil {
				if !l.shadow {
					return l, (*Filter).denyTooMany
				}
				l.wouldDeny.Add(1)
				l.decided(WouldDeny, FromMemory)
				continue
			}
		}
		s.hits = append(s.hits, hit{limit: l, terms: t, key: k.key, rule: t.rule})
	}
	return nil, nil
}

// takeLocal asks the tables of the hits that are, or are not, shared and have no
// decision yet. Once one has denied, the others are asked without spending: their
// answer is shown.
func (f *Filter) takeLocal(s *scratch, shared bool, source Source) (denied bool) {
	for i := range s.hits {
		h := &s.hits[i]
		if h.limit.shared != shared || h.decided {
			continue
		}
		spend := h.limit.shadow || !denied
		h.d = h.limit.take(h.key, &h.rule, spend)
		h.decided, h.source = true, source
		if h.limit.shadow {
			continue
		}
		h.spent = spend && h.d.Allowed
		denied = denied || !h.d.Allowed
	}
	return denied
}

// take asks the limit's table, penalty first.
func (l *limit) take(key limiter.Key, r *limiter.Rule, spend bool) limiter.Decision {
	if l.penalty == nil {
		return l.table.Take(key, r, spend)
	}
	if left := l.bans.Banned(key, l.penalty); left > 0 {
		return limiter.BannedFor(left)
	}
	d := l.table.Take(key, r, spend)
	if !d.Allowed {
		if left := l.bans.Strike(key, l.penalty); left > 0 {
			return limiter.BannedFor(left)
		}
	}
	return d
}

// takeShared asks the store about what is not known here, and does what the failure
// policy says when it has no answer.
func (f *Filter) takeShared(x *exchange.Exchange, s *scratch) (denied, closed bool) {
	for i := range s.hits {
		h := &s.hits[i]
		if !h.limit.shared {
			continue
		}
		if h.known() {
			denied = denied || !h.limit.shadow && !h.d.Allowed
			continue
		}
		s.ops = append(s.ops, limiter.Op{
			ID: h.limit.id, Rule: &h.terms.rule, Key: h.key, Shadow: h.limit.shadow, Penalty: h.limit.penalty, Want: h.ask.Want,
		})
	}
	if denied || len(s.ops) == 0 {
		s.unasked()
		return denied, false
	}
	ctx := x.Context
	if ctx == nil {
		ctx = context.Background()
	}
	if err := f.store.Take(ctx, s.ops); err != nil {
		s.unasked()
		return f.failed(s)
	}
	op := 0
	for i := range s.hits {
		h := &s.hits[i]
		if !h.limit.shared || h.decided {
			continue
		}
		h.d, h.decided, h.source = s.ops[op].Decision, true, FromStore
		op++
		denied = denied || !h.limit.shadow && !h.d.Allowed
	}
	for i := range s.hits {
		if h := &s.hits[i]; h.source == FromStore && h.decided {
			h.learn(denied)
		}
	}
	return denied, false
}

// known decides without the store, where there is a lease or a denial that holds.
func (h *hit) known() bool {
	l := h.limit
	if l.leases != nil {
		var ok bool
		if h.d, h.ask, ok = l.leases.Take(h.key, &h.terms.rule); ok {
			h.decided, h.source = true, FromLease
			return true
		}
	}
	d, ok := l.denials.Get(h.key, &h.terms.rule, l.penalty)
	if ok {
		h.d, h.decided, h.source = d, true, FromDenyCache
	}
	return ok
}

// unasked says that the store has not been asked, or has not answered.
func (s *scratch) unasked() {
	for i := range s.hits {
		if h := &s.hits[i]; h.ask.Want > 0 {
			h.limit.leases.Failed(h.key, h.ask)
			h.ask.Want = 0
		}
	}
}

// learn keeps what the store's answer says about later requests.
func (h *hit) learn(denied bool) {
	l := h.limit
	if h.ask.Want > 0 {
		// Where another limit denies, nothing is granted, and nothing learned.
		if denied && !l.shadow && h.d.Allowed && h.d.Lease.N == 0 {
			l.leases.Failed(h.key, h.ask)
		} else {
			l.leases.Answered(h.key, &h.terms.rule, h.ask, h.d)
		}
	}
	// A denial that a penalty counts has to reach the store.
	if !h.d.Allowed && (h.d.Banned || l.penalty == nil) {
		l.denials.Put(h.key, &h.terms.rule, l.penalty, h.d)
	}
}

func (f *Filter) failed(s *scratch) (denied, closed bool) {
	if f.open || f.closed {
		for i := range s.hits {
			h := &s.hits[i]
			if !h.limit.shared || h.decided {
				continue
			}
			h.source = FailedOpen
			if f.closed {
				h.source = FailedClosed
				closed = closed || !h.limit.shadow
			}
		}
		return false, closed
	}
	pods := f.env.Peers.Load()
	for i := range s.hits {
		if h := &s.hits[i]; h.limit.shared {
			h.rule = h.terms.rule.Share(pods)
		}
	}
	return f.takeLocal(s, true, FromFallback), false
}

// refund gives back what tables and leases have counted of a request that is denied.
func (s *scratch) refund() {
	for i := range s.hits {
		h := &s.hits[i]
		switch {
		case h.spent:
			h.limit.table.Refund(h.key, &h.rule, h.d.Receipt)
			h.spent = false
		case h.decided && h.source == FromLease && h.d.Allowed && !h.limit.shadow:
			h.limit.leases.Return(h.key, &h.terms.rule)
		default:
			continue
		}
		h.d.Remaining += h.rule.Cost()
		h.d.Retry = 0
	}
}

// hold marks what counts until End: permits that the request got, unless it is
// denied; a shadow's in any case.
func (s *scratch) hold(denied bool) {
	for i := range s.hits {
		h := &s.hits[i]
		if h.terms.rule.Algorithm() == limiter.Concurrency && h.decided && h.d.Allowed && (h.limit.shadow || !denied) {
			h.held = true
		}
	}
}

// release gives back a permit where it was taken from.
func (f *Filter) release(h *hit) {
	h.held = false
	if h.source == FromStore {
		f.store.Release(limiter.Op{ID: h.limit.id, Rule: &h.terms.rule, Key: h.key, Shadow: h.limit.shadow})
		return
	}
	h.limit.table.Refund(h.key, &h.rule, h.d.Receipt)
}

// count reports what each limit said.
func (f *Filter) count(s *scratch, closed bool) {
	for i := range s.hits {
		h := &s.hits[i]
		l := h.limit
		if h.d.Banned {
			h.source = FromBan
		}
		switch {
		case !h.decided:
			if h.source == FailedClosed && !l.shadow {
				l.decided(Denied, FailedClosed)
			} else if h.source != FromMemory {
				l.decided(Allowed, FailedOpen)
			}
		case h.d.Allowed:
			l.decided(Allowed, h.source)
		case l.shadow:
			l.wouldDeny.Add(1)
			l.decided(WouldDeny, h.source)
		default:
			l.decided(Denied, h.source)
		}
	}
}

func (l *limit) decided(o Outcome, s Source) {
	if l.metrics != nil {
		l.metrics.Decided(o, s)
	}
}

// End gives back permits, and what replays have cost where they are free; whatever else
// was admitted stays counted.
func (f *Filter) End(x *exchange.Exchange, _ exchange.Outcome) {
	s, ok := x.State(f.env.Slot).(*scratch)
	if !ok {
		return
	}
	for i := range s.hits {
		if h := &s.hits[i]; h.held {
			f.release(h)
		}
	}
	f.settle(x, s)
}
