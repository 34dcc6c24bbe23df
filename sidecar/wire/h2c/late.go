// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"runtime/debug"
	"time"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// awaitLater tells recorders that the application's time is over and answers the
// client, after before, where the response is still awaited for them. It reports
// false where it is not.
func (t *stream) awaitLater(before func()) bool {
	if !t.answered.IsZero() {
		return false
	}
	if t.chain.Overdue(&t.x); !t.x.Record || t.x.Late <= 0 || !t.c.enterLate() {
		return false
	}
	before()
	t.s.cfg.Metrics.UpstreamError(t.c.target.Port, wirehttp.UpstreamTimeout)
	if t.r.Context().Err() == nil {
		t.answer(t.overdue())
	}
	t.record.Aborted = string(wirehttp.UpstreamTimeout)
	t.deaf, t.answered = true, time.Now()
	return true
}

// serveLater is what is left of an exchange whose handler has returned. The
// connection waits for it as for its streams.
func (t *stream) serveLater() {
	c := t.c
	defer t.end()
	defer c.leaveLate()
	defer func() {
		if r := recover(); r != nil {
			t.s.cfg.Logger.Error("a request ended in a panic", "panic", r, "stack", string(debug.Stack()))
			t.abandon()
		}
	}()
	later := t.later
	t.later = nil
	outcome := later()
	t.ending = true
	t.chain.End(&t.x, &t.progress, outcome)
	t.observed(outcome)
}

// end gives back what the stream held.
func (t *stream) end() {
	s, c := t.s, t.c
	t.detach()
	s.streams.Put(t)
	c.leave()
}
