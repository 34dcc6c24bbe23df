// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"weir.dev/weir/sidecar/filter/limiter"
)

// work gathers the calls that wait into pipelines.
func (s *Store) work() {
	batch := make([]*call, 0, maxBatch)
	for {
		select {
		case <-s.ctx.Done():
			s.drain()
			return
		case c := <-s.queue:
			batch = append(batch[:0], c)
		}
	more:
		for len(batch) < maxBatch {
			select {
			case c := <-s.queue:
				batch = append(batch, c)
			default:
				break more
			}
		}
		s.run(batch)
	}
}

// drain fails what is queued when the store closes.
func (s *Store) drain() {
	for {
		select {
		case c := <-s.queue:
			if c.release {
				s.permits.released(c.ops, limiter.ErrUnavailable)
			}
			s.finish(c, limiter.ErrUnavailable)
		default:
			return
		}
	}
}

func (s *Store) finish(c *call, err error) {
	c.err = err
	if c.then != nil {
		c.then(c.ops, err)
		s.calls.Put(c)
		return
	}
	if c.state.CompareAndSwap(callPending, callFinished) {
		c.done <- struct{}{}
		return
	}
	s.calls.Put(c)
}

// step is one script call: ops of one call that share a slot.
type step struct {
	call *call
	verb string
	ops  []limiter.Op
	cmd  *redis.Cmd
}

// The script's verbs. Beats have code of their own.
const (
	verbTake   = "take"
	verbRefund = "refund"
	verbDebit  = "debit"
)

func (s *Store) run(batch []*call) {
	client := s.acquire()
	if client == nil {
		for _, c := range batch {
			if c.release {
				s.permits.released(c.ops, limiter.ErrUnavailable)
			}
			s.finish(c, limiter.ErrUnavailable)
		}
		return
	}
	defer client.release()
	steps := make([]step, 0, len(batch))
	releases := []step(nil)
	for _, c := range batch {
		if c.release {
			releases = append(releases, step{call: c, verb: c.verb, ops: c.ops})
			continue
		}
		if c.state.Load() == callAbandoned {
			// Nobody waits: what it would spend would be lost.
			s.finish(c, limiter.ErrUnavailable)
			continue
		}
		for _, ops := range s.split(c.ops) {
			steps = append(steps, step{call: c, verb: verbTake, ops: ops})
		}
	}
	if len(releases) > 0 {
		s.release(client, releases)
	}
	s.exec(client, steps)

	refunds := []step(nil)
	for i := 0; i < len(steps); {
		c, from := steps[i].call, i
		var err error
		for ; i < len(steps) && steps[i].call == c; i++ {
			if e := steps[i].decode(); e != nil {
				err = e
			}
		}
		switch {
		case err != nil:
			s.report(err)
			refunds = appendRefunds(refunds, steps[from:i])
		case i-from > 1 && limiter.Denied(c.ops):
			refunds = appendRefunds(refunds, steps[from:i])
			unspent(c.ops)
		case c.state.Load() == callAbandoned:
			// The caller has decided by itself.
			refunds = appendRefunds(refunds, steps[from:i])
		}
		s.finish(c, err)
	}
	if len(refunds) > 0 {
		s.refund(client, refunds)
	}
}

// split cuts ops where a cluster would refuse them in one call: where the key, and
// with it the slot, changes.
func (s *Store) split(ops []limiter.Op) [][]limiter.Op {
	same := true
	for i := range ops {
		same = same && ops[i].Key == ops[0].Key
	}
	if same || s.opts.Mode != Cluster {
		return [][]limiter.Op{ops}
	}
	var out [][]limiter.Op
	from := 0
	for i := 1; i <= len(ops); i++ {
		if i == len(ops) || ops[i].Key != ops[from].Key {
			out = append(out, ops[from:i:i])
			from = i
		}
	}
	return out
}

// exec runs the steps in one pipeline, and those whose script the server did not
// know in another, with the script.
func (s *Store) exec(client *conn, steps []step) {
	pipe := client.Pipeline()
	for i := range steps {
		keys, args := s.arguments(steps[i].verb, steps[i].ops)
		steps[i].cmd = pipe.EvalSha(s.ctx, s.script.sha, keys, args...)
	}
	_, _ = pipe.Exec(s.ctx) // each command has its error
	pipe = client.Pipeline()
	for i := range steps {
		if redis.HasErrorPrefix(steps[i].cmd.Err(), "NOSCRIPT") {
			keys, args := s.arguments(steps[i].verb, steps[i].ops)
			steps[i].cmd = pipe.Eval(s.ctx, s.script.source, keys, args...)
		}
	}
	if pipe.Len() > 0 {
		_, _ = pipe.Exec(s.ctx)
	}
}

// unusable are the beginnings of replies with which a server turns every call away,
// most while connecting: asking again with each request would only add to it.
var unusable = []string{"NOAUTH", "WRONGPASS", "ERR AUTH", "ERR invalid password", "ERR max number of clients", "LOADING"}

// report counts an error and opens the breaker when it is the connection's.
func (s *Store) report(err error) {
	var reply redis.Error
	if !errors.As(err, &reply) && !errors.Is(err, errReply) {
		s.failed(KindConnection)
		s.trip()
		return
	}
	s.failed(KindReply)
	for _, prefix := range unusable {
		if strings.Contains(err.Error(), prefix) {
			s.trip()
			return
		}
	}
}

// appendRefunds adds a step for each that has spent for a request that is denied
// after all.
func appendRefunds(refunds, steps []step) []step {
	for _, st := range steps {
		if st.cmd.Err() != nil {
			continue
		}
		var spent []limiter.Op
		for _, op := range st.ops {
			if op.Decision.Allowed && !op.Shadow {
				spent = append(spent, op)
			}
		}
		// A script call in which one denied has spent nothing.
		if len(spent) > 0 && !limiter.Denied(st.ops) {
			refunds = append(refunds, step{verb: verbRefund, ops: spent})
		}
	}
	return refunds
}

func unspent(ops []limiter.Op) {
	for i := range ops {
		if d := &ops[i].Decision; d.Allowed && !ops[i].Shadow {
			d.Remaining += ops[i].Rule.Cost()
			d.Retry = 0
		}
	}
}

// release sends what nobody waits for: what requests held that are over, tokens, and
// what requests have cost in the end. What fails of permits is found out by beats.
func (s *Store) release(client *conn, steps []step) {
	s.refund(client, steps)
	for _, st := range steps {
		s.permits.released(st.ops, st.cmd.Err())
		s.finish(st.call, st.cmd.Err())
	}
}

// refund under-admits where it is lost; it is not worth asking again.
func (s *Store) refund(client *conn, steps []step) {
	s.exec(client, steps)
	for i := range steps {
		if err := steps[i].cmd.Err(); err != nil {
			s.report(err)
			return
		}
	}
}

// fields is how many arguments the script has for a limit.
const fields = 11

func (s *Store) arguments(verb string, ops []limiter.Op) ([]string, []any) {
	keys := make([]string, len(ops), 2*len(ops))
	args := make([]any, 2, 2+fields*len(ops))
	args[0], args[1] = verb, s.holder
	for i := range ops {
		op := &ops[i]
		kind := ":rl:"
		if op.Rule.Algorithm() == limiter.Concurrency {
			kind = ":held:"
		}
		keys[i] = s.key(op, kind)
		last := op.Decision.Receipt
		if verb == verbTake {
			last = 0
			if op.Shadow {
				last = 1
			}
		}
		args = append(args, int(op.Rule.Algorithm()), op.Rule.Limit(), op.Rule.Window(), op.Rule.Burst(), last, op.Rule.Cost())
		if p := op.Penalty; p != nil {
			keys = append(keys, s.key(op, ":ban:"))
			args = append(args, p.Denials(), p.Within(), p.Ban())
		} else {
			args = append(args, 0, 0, 0)
		}
		args = append(args, op.Rule.Debt())
		extra := ""
		switch c := op.Rule.Calendar(); {
		case c != nil:
			extra = c.Edges(s.now())
		case op.Rule.IsLeased():
			extra = strconv.FormatUint(op.Want, 10)
		}
		args = append(args, extra)
	}
	return keys, args
}

func (s *Store) key(op *limiter.Op, kind string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	b.Grow(len(s.opts.KeyPrefix) + len(op.ID) + 42)
	b.WriteString(s.opts.KeyPrefix)
	b.WriteString(":{")
	for _, c := range op.Key {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	b.WriteByte('}')
	b.WriteString(kind)
	b.WriteString(op.ID)
	return b.String()
}
