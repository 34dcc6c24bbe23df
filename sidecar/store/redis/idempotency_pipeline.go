// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// work gathers the calls that wait into pipelines, as for limits.
func (r *Records) work() {
	s := r.store
	batch := make([]*recordCall, 0, maxBatch)
	for {
		select {
		case <-s.ctx.Done():
			r.drain()
			return
		case c := <-r.queue:
			batch = append(batch[:0], c)
		}
	more:
		for len(batch) < maxBatch {
			select {
			case c := <-r.queue:
				batch = append(batch, c)
			default:
				break more
			}
		}
		r.run(batch)
		clear(batch)
	}
}

func (r *Records) drain() {
	for {
		select {
		case c := <-r.queue:
			r.finish(c, errors.New("the store is closed"))
		default:
			return
		}
	}
}

func (r *Records) finish(c *recordCall, err error) {
	c.err = err
	clear(c.args[:])
	c.cmd, c.ttl = nil, nil
	if c.state.CompareAndSwap(callPending, callFinished) {
		c.done <- struct{}{}
		return
	}
	r.calls.Put(c)
}

// rounds is how many pipelines a call may take: with a command the server does not
// know, with a script it does not know, and with the script.
const rounds = 3

func (r *Records) run(batch []*recordCall) {
	s := r.store
	client := s.acquire()
	if client == nil {
		for _, c := range batch {
			r.finish(c, errors.New("there are no credentials yet"))
		}
		return
	}
	defer client.release()
	if r.clock.sampled.Load() == 0 {
		r.sample(client)
	}
	for round := range rounds {
		pipe := client.Pipeline()
		for _, c := range batch {
			if c.state.Load() != callAbandoned || round > 0 || insists(c.op) {
				r.send(pipe, c, round)
			}
		}
		if round == 0 && r.clock.due() {
			r.sampleIn(pipe)
		} else if pipe.Len() > 0 {
			_, _ = pipe.Exec(s.ctx) // each command has its error
		}
		again := batch[:0]
		for _, c := range batch {
			if c.cmd == nil {
				// Nobody waits for it, and it was not sent.
				r.finish(c, record.ErrUnavailable)
			} else if done, err := r.read(c, round); done {
				if err != nil && !errors.Is(err, record.ErrMalformed) {
					s.report(err)
				}
				r.finish(c, err)
			} else {
				again = append(again, c)
			}
		}
		if batch = again; len(batch) == 0 {
			return
		}
	}
}

// sample asks for the time, before the first claim is made by it.
func (r *Records) sample(client *conn) {
	before := r.clock.local()
	if t, err := client.Time(r.store.ctx).Result(); err == nil {
		r.clock.sample(t, before, r.clock.local())
	}
}

// sampleIn runs the pipeline, asking for the time besides.
func (r *Records) sampleIn(pipe redis.Pipeliner) {
	t := pipe.Time(r.store.ctx)
	before := r.clock.local()
	_, _ = pipe.Exec(r.store.ctx)
	if t.Err() == nil {
		r.clock.sample(t.Val(), before, r.clock.local())
	}
}

// send adds c to a pipeline: by commands in the first round, where there are some.
func (r *Records) send(pipe redis.Pipeliner, c *recordCall, round int) {
	args := append(c.args[:0], "", "", "1", &c.key)
	if c.op == record.Begin && round == 0 {
		c.stamp(r.clock.now())
	}
	switch {
	case c.op == record.Look:
		c.ttl = redis.NewCmd(r.store.ctx, "PTTL", &c.key)
		c.cmd = redis.NewCmd(r.store.ctx, "GET", &c.key)
		_ = pipe.Process(r.store.ctx, c.cmd)
		_ = pipe.Process(r.store.ctx, c.ttl)
		return
	case c.op == record.Begin && round == 0 && r.knows(&r.noSetNXGet):
		args = append(c.args[:0], "SET", &c.key, &c.next, "NX", "GET", "PX", &c.keep)
		c.native = true
	case c.op == record.Finish && round == 0 && r.knows(&r.noSetIfEq):
		args = append(c.args[:0], "SET", &c.key, &c.next, "IFEQ", &c.claim, "GET", "PX", &c.keep)
		c.native = true
	default:
		args[0], args[1] = "EVALSHA", r.script.sha
		if round > 0 && !c.native {
			args[0], args[1] = "EVAL", r.script.source
		}
		c.native = false
		args = c.scriptArgs(args)
	}
	c.cmd = redis.NewCmd(r.store.ctx, args...)
	_ = pipe.Process(r.store.ctx, c.cmd)
}

func (c *recordCall) scriptArgs(args []any) []any {
	switch c.op {
	case record.Begin:
		return append(args, "begin", &c.next, &c.keep)
	case record.Expire:
		return append(args, "expire", &c.owner, &c.fenc, &c.next, &c.keep)
	case record.Renew:
		return append(args, "renew", &c.owner, &c.fenc)
	case record.Finish:
		return append(args, "finish", &c.owner, &c.fenc, &c.next, &c.keep)
	default:
		return append(args, "release", &c.owner, &c.fenc, &c.next, &c.keep)
	}
}

// knows reports whether servers may know a command.
func (r *Records) knows(not *atomic.Int64) bool {
	at := not.Load()
	return at == 0 || r.clock.local()-at > askAgain
}

// read takes the reply to c; done is false where the script has to be asked.
func (r *Records) read(c *recordCall, round int) (done bool, err error) {
	text, err := c.cmd.Text()
	missing := errors.Is(err, redis.Nil)
	last := round == rounds-1
	switch {
	case missing:
	case err != nil && c.native && strings.Contains(err.Error(), "syntax error"):
		if c.op == record.Begin {
			r.noSetNXGet.Store(r.clock.local())
		} else {
			r.noSetIfEq.Store(r.clock.local())
		}
		return last, err
	case err != nil:
		return last || !redis.HasErrorPrefix(err, "NOSCRIPT"), err
	}
	switch {
	case c.op == record.Look:
		return true, c.parseSeen(text, !missing)
	case c.op == record.Finish && c.native:
		return c.parseReplaced(text, !missing)
	}
	return true, c.parse(text, !missing)
}

// parseSeen reads what Look has got.
func (c *recordCall) parseSeen(text string, ok bool) error {
	if !ok {
		c.answer = record.Answer{Result: record.Missing}
		return nil
	}
	left, err := c.ttl.Int64()
	if err != nil {
		return err
	}
	rec := new(record.Record)
	if err := rec.Decode([]byte(text)); err != nil {
		return err
	}
	c.answer = record.Answer{Result: record.Found, Record: rec}
	// Between the two commands the record may have become another, which is younger:
	// that only delays. One that does not expire is not aged.
	if left >= 0 {
		c.answer.Age = max(0, rec.Retention-time.Duration(left)*time.Millisecond)
	}
	return nil
}

// parseReplaced reads what was there before a final record. done is false where the
// script has to look closer.
func (c *recordCall) parseReplaced(text string, ok bool) (done bool, err error) {
	if !ok {
		return false, nil
	}
	if text == string(c.claim.b) {
		c.answer = record.Answer{Result: record.Applied}
		return true, nil
	}
	rec := new(record.Record)
	if err := rec.Decode([]byte(text)); err != nil {
		return true, err
	}
	if string(rec.Owner[:]) == string(c.owner.b) || rec.State == record.Released {
		return false, nil
	}
	c.answer = record.Answer{Result: record.Found, Record: rec, Age: -1}
	return true, nil
}
