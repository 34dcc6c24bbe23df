// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// watch ends a stream whose client keeps Weir waiting. net/http's own deadlines
// would have to be moved with each read and write, through the goroutine that all
// streams of a connection share.
type watch struct {
	w     http.ResponseWriter
	stall time.Duration
	// reading and writing are since when, in nanoseconds since 1970; 0: not.
	reading, writing atomic.Int64
	stalled          atomic.Bool

	mu      sync.Mutex
	timer   *time.Timer
	started atomic.Bool
	stopped bool
}

// begin is called before what may wait for the client; after it, since is set to
// 0.
func (w *watch) begin(since *atomic.Int64) {
	since.Store(time.Now().UnixNano())
	if w.started.Load() || w.started.Swap(true) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.timer = time.AfterFunc(w.stall/4, w.check)
	}
}

// stop must be called before the stream's handler returns.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watch) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	late := time.Now().Add(-w.stall).UnixNano()
	past := time.Unix(1, 0)
	if at := w.reading.Load(); at != 0 && at < late {
		w.stalled.Store(true)
		_ = http.NewResponseController(w.w).SetReadDeadline(past)
	}
	if at := w.writing.Load(); at != 0 && at < late {
		w.stalled.Store(true)
		_ = http.NewResponseController(w.w).SetWriteDeadline(past)
	}
	w.timer.Reset(w.stall / 4)
}
