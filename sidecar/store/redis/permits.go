// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"weir.dev/weir/sidecar/filter/limiter"
)

// beatEvery is how often a store hears that this process still holds what it holds,
// so that one beat may be lost before the script's HOLD of 8 s is over.
const beatEvery = 2500 * time.Millisecond

// permits is what this process holds of limits of concurrency.
type permits struct {
	mu   *sync.Mutex
	held map[permit]*holding
}

type permit struct {
	id  string
	key limiter.Key
}

type holding struct {
	op limiter.Op
	// n is how many requests are in progress, calls how many are on their way that
	// change what the store counts for us.
	n, calls int
	// changes tells two looks apart between which nothing has happened.
	changes uint64
	// doubt: a call had no answer, so that the store may count more than n.
	doubt bool
}

func newPermits() permits { return permits{mu: new(sync.Mutex), held: map[permit]*holding{}} }

func concurrent(op limiter.Op) bool { return op.Rule.Algorithm() == limiter.Concurrency }

// edit changes the holding of op's key, and forgets it when it is nothing any more.
func (p *permits) edit(op *limiter.Op, change func(*holding)) {
	at := permit{op.ID, op.Key}
	h := p.held[at]
	if h == nil {
		h = &holding{op: limiter.Op{ID: op.ID, Rule: op.Rule, Key: op.Key}}
		p.held[at] = h
	}
	change(h)
	h.changes++
	if h.n <= 0 && h.calls <= 0 && !h.doubt {
		delete(p.held, at)
	}
}

// each edits the holdings of those ops that are concurrent.
func (p *permits) each(ops []limiter.Op, change func(*limiter.Op, *holding)) {
	for i := range ops {
		if op := &ops[i]; concurrent(*op) {
			p.mu.Lock()
			p.edit(op, func(h *holding) { change(op, h) })
			p.mu.Unlock()
		}
	}
}

// asked is told of a Take before it is sent, answered after it.
func (p *permits) asked(ops []limiter.Op) {
	p.each(ops, func(_ *limiter.Op, h *holding) { h.calls++ })
}

func (p *permits) answered(ops []limiter.Op, err error) {
	p.each(ops, func(op *limiter.Op, h *holding) {
		h.calls--
		switch {
		case err != nil:
			h.doubt = true
		case op.Decision.Allowed && (op.Shadow || !limiter.Denied(ops)):
			h.n++
		}
	})
}

// release is told of a request that is over before the store is, released after it.
func (p *permits) release(op *limiter.Op) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.edit(op, func(h *holding) { h.n--; h.calls++ })
}

func (p *permits) released(ops []limiter.Op, err error) {
	p.each(ops, func(_ *limiter.Op, h *holding) {
		h.calls--
		h.doubt = h.doubt || err != nil
	})
}

// look is a holding as it was at some time.
type look struct {
	at      permit
	op      limiter.Op
	n       int
	changes uint64
	quiet   bool
}

func (p *permits) looks() []look {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]look, 0, len(p.held))
	for at, h := range p.held {
		out = append(out, look{at: at, op: h.op, n: h.n, changes: h.changes, quiet: h.calls == 0})
	}
	return out
}

// settled is told what the store counts for us. It reports whether that is wrong:
// only when nothing was on its way meanwhile can that be known.
func (p *permits) settled(l *look, count int64) (wrong bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.held[l.at]
	if h == nil || !l.quiet || h.changes != l.changes {
		return false
	}
	if count != int64(h.n) {
		return true
	}
	if h.doubt = false; h.n <= 0 {
		delete(p.held, l.at)
	}
	return false
}

// beat tells the store, now and then, what this process holds.
func (s *Store) beat() {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			if s.state.Load() == closed {
				s.beatOnce()
			}
		}
	}
}

// beatOnce sends one beat for each key, and corrects the store where it counts
// something else than there is.
func (s *Store) beatOnce() {
	looks := s.permits.looks()
	for from := 0; from < len(looks); from += maxBatch {
		batch := looks[from:min(from+maxBatch, len(looks))]
		// No count is -1, so that nothing is set yet.
		counts := s.sendBeats(batch, func(int) int64 { return -1 })
		var wrong []look
		var seen []int64
		for i := range counts {
			if s.permits.settled(&batch[i], counts[i]) {
				wrong, seen = append(wrong, batch[i]), append(seen, counts[i])
			}
		}
		if len(wrong) == 0 {
			continue
		}
		for i, count := range s.sendBeats(wrong, func(i int) int64 { return seen[i] }) {
			s.permits.settled(&wrong[i], count)
		}
	}
}

// sendBeats returns what the store counts for us after the beats, as far as they have
// been answered; it sets that to what we hold where it is expected(i).
func (s *Store) sendBeats(looks []look, expected func(int) int64) []int64 {
	client := s.acquire()
	if client == nil {
		return nil
	}
	defer client.release()
	pipe := client.Pipeline()
	for i := range looks {
		op := looks[i].op
		op.Decision.Receipt = expected(i)
		keys, args := s.arguments("beat", []limiter.Op{op})
		args[3] = looks[i].n // in the place of the limit
		pipe.EvalSha(s.ctx, s.script.sha, keys, args...)
	}
	cmds, err := pipe.Exec(s.ctx)
	if err != nil {
		s.report(err)
		return nil
	}
	var out []int64
	for _, c := range cmds {
		text, err := c.(*redis.Cmd).Text()
		if err != nil {
			return out
		}
		n, _, err := number(text)
		if err != nil {
			return out
		}
		out = append(out, n)
	}
	return out
}
