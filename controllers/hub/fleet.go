// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"cmp"
	"slices"
)

// Fleet is one stream's interest in all workloads.
type Fleet struct {
	hub     *Hub
	changed chan struct{}
	// dirty are the namespaces that Take has not seen as they are.
	dirty map[string]struct{}
}

// SubscribeAll watches every namespace. There is a first signal at once. It must be
// closed.
func (h *Hub) SubscribeAll() *Fleet {
	f := &Fleet{hub: h, changed: make(chan struct{}, 1), dirty: map[string]struct{}{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.workloads {
		f.dirty[w.Namespace] = struct{}{}
	}
	h.fleets[f] = struct{}{}
	f.wake()
	return f
}

// Changed receives after changes; several may be one signal.
func (f *Fleet) Changed() <-chan struct{} { return f.changed }

// Take returns what is published in each namespace that has changed since the Take
// before, by the workloads' keys; nothing for one that has no workload any more.
func (f *Fleet) Take() map[string][]Publication {
	h := f.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	type keyed struct {
		key string
		pub Publication
	}
	found := map[string][]keyed{}
	for w, e := range h.workloads {
		if _, is := f.dirty[w.Namespace]; is && w.Key != "" {
			found[w.Namespace] = append(found[w.Namespace], keyed{w.Key, e.pub})
		}
	}
	out := map[string][]Publication{}
	for ns := range f.dirty {
		slices.SortFunc(found[ns], func(a, b keyed) int { return cmp.Compare(a.key, b.key) })
		out[ns] = nil
		for _, k := range found[ns] {
			out[ns] = append(out[ns], k.pub)
		}
	}
	clear(f.dirty)
	return out
}

// Close ends the subscription.
func (f *Fleet) Close() {
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	delete(f.hub.fleets, f)
}

func (f *Fleet) wake() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// signalFleets says that a namespace is another than it was.
func (h *Hub) signalFleets(namespace string) {
	for f := range h.fleets {
		f.dirty[namespace] = struct{}{}
		f.wake()
	}
}
