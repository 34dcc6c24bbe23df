// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"slices"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
)

// View is how things are for one pod. Nothing in it may be changed.
type View struct {
	Workload Workload
	// Cut is the workload's snapshot as far as the subscriber's features go.
	Cut
	Secrets *stream.Secrets
	Peers   *stream.Peers
}

// Subscription is one stream's interest in a pod.
type Subscription struct {
	hub      *Hub
	pod      Pod
	features []string
	changed  chan struct{}
}

// Subscribe watches pod for a sidecar that has the given features. The first
// signal comes as soon as there is a view. It must be closed.
func (h *Hub) Subscribe(pod Pod, features []string) *Subscription {
	f := slices.Clone(features)
	slices.Sort(f)
	s := &Subscription{hub: h, pod: pod, features: slices.Compact(f), changed: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs[pod] == nil {
		h.subs[pod] = map[*Subscription]struct{}{}
	}
	h.subs[pod][s] = struct{}{}
	s.wake()
	return s
}

// Changed receives after changes; several may be one signal.
func (s *Subscription) Changed() <-chan struct{} { return s.changed }

// View returns how things are now; false as long as the pod's workload is not
// known or not published.
func (s *Subscription) View() (View, bool) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	w, ok := h.pods[s.pod]
	if !ok {
		return View{}, false
	}
	e := h.entryOf(w)
	if e == nil {
		return View{}, false
	}
	return View{Workload: w, Cut: e.cut(s.features), Secrets: e.pub.Secrets, Peers: e.pub.Peers}, true
}

// Lookup returns a snapshot that was published for the pod's workload lately, by
// its hash.
func (s *Subscription) Lookup(hash string) (*snapshot.Snapshot, bool) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.workloads[h.pods[s.pod]]
	if e == nil {
		return nil, false
	}
	return e.history.get(hash)
}

// Close ends the subscription.
func (s *Subscription) Close() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs[s.pod], s)
	if len(h.subs[s.pod]) == 0 {
		delete(h.subs, s.pod)
	}
}

func (s *Subscription) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
