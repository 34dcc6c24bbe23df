// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync"
	"time"
)

// afterEnding is how long what /hold keeps goes on when the app is told to go.
const afterEnding = time.Second

// hold keeps requests until they are released: a test decides when they end, and
// need not guess how long the machine takes for what has to happen before.
type hold struct {
	ending context.Context

	mu       sync.Mutex
	released chan struct{}
}

func newHold(ending context.Context) *hold {
	return &hold{ending: ending, released: make(chan struct{})}
}

// wait reports whether the request may be answered: it was released, or the app
// has been ending for a while. It is false when the client has gone.
func (h *hold) wait(client context.Context) bool {
	h.mu.Lock()
	released := h.released
	h.mu.Unlock()
	select {
	case <-released:
		return true
	case <-client.Done():
		return false
	case <-h.ending.Done():
	}
	select {
	case <-time.After(afterEnding):
		return true
	case <-client.Done():
		return false
	}
}

// release lets go all that wait; who comes later waits for the next.
func (h *hold) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.released)
	h.released = make(chan struct{})
}
