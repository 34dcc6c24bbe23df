// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// States of a breaker.
const (
	// connecting: at first; a call waits for the outcome, within its timeout.
	connecting uint32 = iota
	// closed: calls pass.
	closed
	// open: calls fail at once.
	open
)

// Pauses between probes double from the first to the last, each with a jitter of
// half of it to one and a half.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 5 * time.Second
	// steady is how long a breaker must have been closed, at most, for the pauses
	// to begin anew, see after.
	steady       = time.Second
	probeTimeout = time.Second
)

// breaker keeps calls from a server that does not answer. Probes run beside the
// calls: none is spent on finding out.
type breaker struct {
	state   atomic.Uint32
	tripped chan struct{} // has room for one
	nudged  chan struct{} // has room for one
	// settled is closed with the first outcome.
	settled chan struct{}
	settle  *sync.Once
}

func newBreaker() breaker {
	return breaker{
		tripped: make(chan struct{}, 1),
		nudged:  make(chan struct{}, 1),
		settled: make(chan struct{}),
		settle:  new(sync.Once),
	}
}

// passes reports whether a call may be made.
func (s *Store) passes(ctx context.Context) bool {
	if s.state.Load() == connecting {
		timer := time.NewTimer(s.opts.Timeout)
		defer timer.Stop()
		select {
		case <-s.settled:
		case <-ctx.Done():
		case <-timer.C:
			s.failed(KindTimeout)
			s.trip()
		}
	}
	return s.state.Load() == closed
}

// trip opens the breaker.
func (s *Store) trip() {
	if s.state.Swap(open) == open {
		return
	}
	s.settle.Do(func() { close(s.settled) })
	s.tell(true)
	select {
	case s.tripped <- struct{}{}:
	default:
	}
}

func (s *Store) tell(open bool) {
	if s.opts.Metrics != nil {
		s.opts.Metrics.StoreBreaker(s.opts.Name, open)
	}
}

// nudge asks for a probe at once.
func (s *Store) nudge() {
	select {
	case s.nudged <- struct{}{}:
	default:
	}
}

// supervise connects, and after each trip probes until the server answers.
func (s *Store) supervise() {
	attempt := 0
	for {
		for s.probe() != nil {
			s.trip()
			if !s.pause(attempt) {
				return
			}
			attempt++
		}
		// A trip of before the probe says nothing any more.
		select {
		case <-s.tripped:
		default:
		}
		if !s.closeBreaker() {
			return
		}
		since := time.Now()
		select {
		case <-s.ctx.Done():
			return
		case <-s.tripped:
		}
		attempt = after(attempt, time.Since(since))
		if !s.pause(attempt) {
			return
		}
		attempt++
	}
}

// closeBreaker lets calls pass; false when the store is closed.
func (s *Store) closeBreaker() bool {
	s.state.Store(closed)
	select {
	case <-s.ctx.Done():
		s.state.Store(open)
		return false
	default:
	}
	s.settle.Do(func() { close(s.settled) })
	s.tell(false)
	return true
}

// after is the attempt to go on with when a breaker, closed by the probe before
// that attempt, has opened again after held. A server that hiccups now and then is
// asked again soon, or most decisions would be the fallback's; one that answers
// nothing but probes must not cost each of them a timeout, and is left alone for
// longer and longer.
func after(attempt int, held time.Duration) int {
	if held >= min(4*nominal(attempt-1), steady) {
		return 0
	}
	return attempt
}

// nominal is a pause without its jitter.
func nominal(attempt int) time.Duration {
	return min(firstPause<<min(max(attempt, 0), 10), lastPause)
}

// backoff is the pause before a probe, jitter being between 0 and 1.
func backoff(attempt int, jitter float64) time.Duration {
	d := nominal(attempt)
	return d/2 + time.Duration(jitter*float64(d))
}

// pause waits before a probe; false when the store is closed.
func (s *Store) pause(attempt int) bool {
	timer := time.NewTimer(backoff(attempt, rand.Float64()))
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
		return false
	case <-s.nudged:
	case <-timer.C:
	}
	return true
}

// probe runs the script without keys, twice: a first time with the leisure to
// connect, a second time within the timeout of a call.
func (s *Store) probe() error {
	client := s.acquire()
	if client == nil {
		return errors.New("there are no credentials yet")
	}
	defer client.release()
	ctx, cancel := context.WithTimeout(s.ctx, probeTimeout)
	defer cancel()
	if err := client.Eval(ctx, s.script.source, nil, "take", "").Err(); err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	start := time.Now()
	if err := client.EvalSha(ctx, s.script.sha, nil, "take", "").Err(); err != nil && !redis.HasErrorPrefix(err, "NOSCRIPT") {
		return err
	}
	if took := time.Since(start); took > s.opts.Timeout {
		return fmt.Errorf("an answer took %s", took)
	}
	return nil
}
