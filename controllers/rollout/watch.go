// SPDX-License-Identifier: Apache-2.0

package rollout

import "slices"

// Watch collects the namespaces in which something has changed.
type Watch struct {
	t     *Tracker
	c     chan struct{}
	dirty map[string]struct{}
}

// Watch begins with every namespace there is. It must be closed.
func (t *Tracker) Watch() *Watch {
	w := &Watch{t: t, c: make(chan struct{}, 1), dirty: map[string]struct{}{}}
	all := t.Namespaces()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watches[w] = struct{}{}
	for _, ns := range all {
		w.mark(ns)
	}
	return w
}

// C receives when Take has something to give, but not for counts alone: thousands of
// pods report those all the time, and whoever wants them takes them at its own pace.
func (w *Watch) C() <-chan struct{} { return w.c }

// Take returns the namespaces that have changed since the last call, sorted.
func (w *Watch) Take() []string {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	out := make([]string, 0, len(w.dirty))
	for ns := range w.dirty {
		out = append(out, ns)
	}
	clear(w.dirty)
	slices.Sort(out)
	return out
}

// Close ends the watch.
func (w *Watch) Close() {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	delete(w.t.watches, w)
}

func (w *Watch) mark(namespace string) {
	w.dirty[namespace] = struct{}{}
	signal(w.c)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
