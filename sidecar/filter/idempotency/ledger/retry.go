// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

const (
	// settleWithin is how long an outcome is offered to a store that is away.
	settleWithin = 15 * time.Minute
	// Pauses between the attempts of one who waits, and in the background.
	firstPause = 10 * time.Millisecond
	lastPause  = time.Second
	// maxRetries and maxRetryBytes bound what waits for the store.
	maxRetries    = 1 << 14
	maxRetryBytes = 32 << 20
	// atOnce is how many retries are under way at a time.
	atOnce = 32
	// lateBegin is after which a claim that was given up is looked for once more: it
	// may have reached the store after its release.
	lateBegin = 2 * time.Second
)

var errFull = errors.New("too many outcomes wait for the store")

// insist asks until the store answers or the ledger's patience is over.
func (l *Ledger) insist(ctx context.Context, id record.ID, cmd record.Command) (record.Answer, error) {
	answer, err := l.do(ctx, id, cmd)
	if err == nil {
		return answer, nil
	}
	until := time.NewTimer(l.opts.Patience)
	defer until.Stop()
	pause := time.NewTimer(firstPause)
	defer pause.Stop()
	for d := firstPause; ; {
		select {
		case <-until.C:
			return record.Answer{}, err
		case <-ctx.Done():
			return record.Answer{}, err
		case <-l.ctx.Done():
			return record.Answer{}, err
		case <-pause.C:
		}
		if answer, again := l.do(ctx, id, cmd); again == nil {
			return answer, nil
		}
		d = min(2*d, lastPause)
		pause.Reset(jittered(d))
	}
}

func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// task is a command that has to reach the store.
type task struct {
	id  record.ID
	cmd record.Command
	// until is when it is given up; from is when it is tried first.
	until, from time.Time
	// late: once more a while later, when the answer was Missing.
	late bool
	// done is called once, with the answer, or an error when it was given up.
	done func(record.Answer, error)
}

func (t *task) bytes() int {
	if t.cmd.Next == nil {
		return 0
	}
	return len(t.cmd.Next.Payload)
}

// retries are tasks in the background.
type retries struct {
	mu     sync.Mutex
	tasks  []*task
	bytes  int
	count  int
	owners map[record.Owner]int
	added  chan struct{} // has room for one
}

func (r *retries) init() {
	r.added = make(chan struct{}, 1)
	r.owners = map[record.Owner]int{}
}

func (r *retries) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// abandoned reports whether a claim of owner waits to be released.
func (r *retries) abandoned(owner record.Owner) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.owners[owner] > 0
}

// add makes t be tried for as long as within.
func (r *retries) add(t *task, within time.Duration) {
	t.until = time.Now().Add(within)
	r.mu.Lock()
	if r.count >= maxRetries || r.bytes+t.bytes() > maxRetryBytes {
		r.mu.Unlock()
		if t.done != nil {
			t.done(record.Answer{}, errFull)
		}
		return
	}
	r.count++
	r.bytes += t.bytes()
	if t.cmd.Op == record.Release {
		r.owners[t.cmd.Ref.Owner]++
	}
	r.tasks = append(r.tasks, t)
	r.mu.Unlock()
	select {
	case r.added <- struct{}{}:
	default:
	}
}

func (r *retries) take() []*task {
	r.mu.Lock()
	defer r.mu.Unlock()
	tasks := r.tasks
	r.tasks = nil
	return tasks
}

func (r *retries) putBack(tasks []*task) (left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tasks = append(tasks, r.tasks...)
	return len(r.tasks)
}

func (r *retries) finished(t *task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count--
	r.bytes -= t.bytes()
	if t.cmd.Op == record.Release {
		if r.owners[t.cmd.Ref.Owner]--; r.owners[t.cmd.Ref.Owner] <= 0 {
			delete(r.owners, t.cmd.Ref.Owner)
		}
	}
}

// abandon releases a claim that may have been made though its answer was lost.
func (l *Ledger) abandon(c *Claim) {
	note := c.note
	c.note = noNote
	t := &task{id: c.ID, late: true, cmd: record.Command{Op: record.Release, Ref: record.Ref{Owner: c.rec.Owner}}}
	t.done = func(_ record.Answer, err error) {
		if err == nil {
			l.notes.free(note)
		}
	}
	l.retries.add(t, min(c.rec.Retention, max(c.rec.Lease, settleWithin)))
}

// retry carries out tasks until the ledger is closed, and once more then.
func (l *Ledger) retry() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	added := l.retries.added
	for pause := firstPause; ; {
		closing := false
		select {
		case <-l.ctx.Done():
			closing = true
		case <-added:
		case <-timer.C:
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), lastPause)
		left, failed := l.round(ctx)
		cancel()
		if closing {
			return
		}
		// While the store is away what is added waits for its turn.
		if added = l.retries.added; failed {
			added = nil
			pause = min(2*pause, lastPause)
		} else {
			pause = firstPause
		}
		switch {
		case l.retries.putBack(left) == 0:
			timer.Stop()
		case failed:
			timer.Reset(jittered(pause))
		default:
			timer.Reset(lateBegin / 8)
		}
	}
}

// round tries all tasks that are due. It returns those that are left, and whether one
// of them had no answer.
func (l *Ledger) round(ctx context.Context) (left []*task, failed bool) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	now := time.Now()
	keep := func(t *task, noAnswer bool) {
		mu.Lock()
		defer mu.Unlock()
		left, failed = append(left, t), failed || noAnswer
	}
	for _, t := range l.retries.take() {
		if now.Before(t.from) {
			keep(t, false)
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if over, noAnswer := l.attempt(ctx, t); !over {
				keep(t, noAnswer)
			}
		})
	}
	wg.Wait()
	return left, failed
}

// attempt reports whether t is over, and whether there was no answer.
func (l *Ledger) attempt(ctx context.Context, t *task) (over, noAnswer bool) {
	answer, err := l.do(ctx, t.id, t.cmd)
	switch {
	case err != nil && time.Now().Before(t.until):
		return false, true
	case err == nil && answer.Result == record.Missing && t.late:
		t.late, t.from = false, time.Now().Add(lateBegin)
		return false, false
	}
	l.retries.finished(t)
	if t.done != nil {
		t.done(answer, err)
	}
	return true, err != nil
}
