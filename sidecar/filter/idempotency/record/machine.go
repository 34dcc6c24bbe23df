// SPDX-License-Identifier: Apache-2.0

package record

import "time"

// Step is what a store makes of a command.
type Step struct {
	Answer Answer
	// Write: Record takes the place of what there was, to be kept for Keep; nil:
	// nothing does.
	Write  bool
	Record *Record
	Keep   time.Duration
}

// Apply is the rule that stores follow: what cmd does to cur, nil where there is no
// record, whose age is given. now is the store's clock as fences have it. cur and
// cmd.Next are not changed, but by Begin and Expire, which set the Fence, Origin and
// Attempt of cmd.Next.
func Apply(cur *Record, age time.Duration, now uint64, cmd Command) Step {
	switch cmd.Op {
	case Begin:
		return begin(cur, now, cmd.Next)
	case Expire:
		return expire(cur, age, now, cmd)
	case Renew:
		return renew(cur, cmd.Next)
	case Finish:
		return finish(cur, cmd)
	case Release:
		return release(cur, cmd)
	default:
		return found(cur, age)
	}
}

// Is reports whether the record is of the claim ref.
func (r *Record) Is(ref Ref) bool {
	return r.Owner == ref.Owner && (ref.Fence == 0 || r.Fence == ref.Fence)
}

// LostBefore reports whether the store has lost a write since the claim r, when found
// is what is there in its place: claims follow each other with rising fences, from the
// same origin.
func (r *Record) LostBefore(found *Record) bool {
	return found.Origin != r.Origin || found.Fence < r.Fence
}

func found(cur *Record, age time.Duration) Step {
	if cur == nil {
		return Step{Answer: Answer{Result: Missing}}
	}
	return Step{Answer: Answer{Result: Found, Record: cur, Age: age}}
}

func write(next *Record, keep time.Duration, result Result) Step {
	if keep == 0 {
		keep = next.Retention
	}
	return Step{Answer: Answer{Result: result, Record: next}, Write: true, Record: next, Keep: keep}
}

func begin(cur *Record, now uint64, next *Record) Step {
	if cur != nil {
		s := found(cur, -1)
		if cur.Owner == next.Owner && cur.State == Inflight {
			s.Answer.Result = Applied
			next.inherit(cur.Fence, cur.Origin, cur.Attempt)
		}
		return s
	}
	next.inherit(now, now, 1)
	return write(next, 0, Applied)
}

// inherit sets what a claim has from the store.
func (r *Record) inherit(fence, origin uint64, attempt uint32) {
	r.Fence, r.Origin, r.Attempt = fence, origin, attempt
}

func expire(cur *Record, age time.Duration, now uint64, cmd Command) Step {
	again := cur != nil && (cmd.Next != nil && cur.Owner == cmd.Next.Owner && cur.State == Inflight ||
		cmd.Next == nil && cur.Is(cmd.Ref) && cur.State == Unknown)
	if again {
		if cmd.Next != nil {
			cmd.Next.inherit(cur.Fence, cur.Origin, cur.Attempt)
		}
		return Step{Answer: Answer{Result: Applied, Record: cur}}
	}
	over := cur != nil && cur.Is(cmd.Ref) &&
		(cur.State == Inflight && age >= cur.Lease || cur.State == Released && cmd.Next != nil)
	if !over {
		return found(cur, age)
	}
	if cmd.Next == nil {
		next := *cur
		next.State = Unknown
		return write(&next, 0, Applied)
	}
	cmd.Next.inherit(max(cur.Fence+1, now), cur.Origin, cur.Attempt+1)
	return write(cmd.Next, 0, Applied)
}

func renew(cur, claim *Record) Step {
	if cur != nil && cur.Is(claim.Ref()) && cur.State == Inflight {
		return write(cur, 0, Applied)
	}
	// Where there is nothing, nothing is written: the claim may have been released
	// since this was sent.
	return found(cur, 0)
}

func finish(cur *Record, cmd Command) Step {
	switch {
	case cur == nil || cur.State == Released && cmd.Next.LostBefore(cur):
		// Released before the claim that is missing: nothing of it was executed.
		return write(cmd.Next, cmd.Keep, Lost)
	case cur.Is(cmd.Next.Ref()) && (cur.State == Inflight || cur.State == Unknown):
		return write(cmd.Next, cmd.Keep, Applied)
	case cur.Is(cmd.Next.Ref()) && cur.State == cmd.Next.State:
		return Step{Answer: Answer{Result: Applied, Record: cur}}
	}
	return found(cur, 0)
}

func release(cur *Record, cmd Command) Step {
	switch {
	case cur == nil || !cur.Is(cmd.Ref):
		return found(cur, 0)
	case cur.State == Released:
		return Step{Answer: Answer{Result: Applied, Record: cur}}
	case cur.State != Inflight && cur.State != Unknown:
		return found(cur, 0)
	case cmd.Next == nil && cur.Attempt > 1:
		// Attempts before may be under way still: they must not find that there was
		// nothing.
		next := *cur
		next.State = Released
		return write(&next, 0, Applied)
	case cmd.Next == nil:
		return Step{Answer: Answer{Result: Applied}, Write: true}
	}
	return write(cmd.Next, cmd.Keep, Applied)
}
