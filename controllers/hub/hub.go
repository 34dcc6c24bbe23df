// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"sync"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
)

// Workload names a workload. Without a Key it stands for the pods of a namespace
// that no Service selects.
type Workload struct{ Namespace, Key string }

// Pod names one pod for its whole life.
type Pod struct{ Namespace, Name, UID string }

// Publication is what the sidecars of one workload get. Its messages must not be
// changed after Publish. Only Snapshot goes into the hash.
type Publication struct {
	Snapshot *snapshot.Snapshot
	Secrets  *stream.Secrets
	Peers    *stream.Peers
}

// Hub is safe for concurrent use.
type Hub struct {
	cluster string

	mu        sync.Mutex
	workloads map[Workload]*entry
	pods      map[Pod]Workload
	// members is pods the other way round.
	members map[Workload]map[Pod]struct{}
	subs    map[Pod]map[*Subscription]struct{}
	fleets  map[*Fleet]struct{}
}

// New returns an empty hub for the cluster of that id.
func New(cluster string) *Hub {
	return &Hub{
		cluster:   cluster,
		workloads: map[Workload]*entry{},
		pods:      map[Pod]Workload{},
		members:   map[Workload]map[Pod]struct{}{},
		subs:      map[Pod]map[*Subscription]struct{}{},
		fleets:    map[*Fleet]struct{}{},
	}
}

// Publish makes p the newest publication of w.
func (h *Hub) Publish(w Workload, p Publication) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.workloads[w]
	if e == nil {
		e = newEntry()
		h.workloads[w] = e
	}
	e.publish(p)
	h.signal(w)
	h.signalFleets(w.Namespace)
}

// Delete forgets w. Pods that still belong to it keep what they have until they
// are assigned to another workload.
func (h *Hub) Delete(w Workload) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.workloads, w)
	h.signalFleets(w.Namespace)
}

// Assign says that pod belongs to w; without a Key, that no Service selects it,
// and it gets a snapshot that governs nothing. A pod that was never assigned gets
// nothing at all: a snapshot that governs nothing would let a new pod's first
// requests pass before its policies are known.
func (h *Hub) Assign(pod Pod, w Workload) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.pods[pod]; ok {
		if old == w {
			return
		}
		h.leave(pod, old)
	}
	h.pods[pod] = w
	if h.members[w] == nil {
		h.members[w] = map[Pod]struct{}{}
	}
	h.members[w][pod] = struct{}{}
	for s := range h.subs[pod] {
		s.wake()
	}
}

// Forget takes a pod away that does not exist any more.
func (h *Hub) Forget(pod Pod) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w, ok := h.pods[pod]; ok {
		h.leave(pod, w)
		delete(h.pods, pod)
	}
}

func (h *Hub) leave(pod Pod, w Workload) {
	delete(h.members[w], pod)
	if len(h.members[w]) > 0 {
		return
	}
	delete(h.members, w)
	if w.Key == "" {
		// Nobody else deletes what the hub has made by itself.
		delete(h.workloads, w)
	}
}

// signal wakes the subscribers of all pods of w.
func (h *Hub) signal(w Workload) {
	for pod := range h.members[w] {
		for s := range h.subs[pod] {
			s.wake()
		}
	}
}

// entryOf returns what is published for w, nil when nothing is.
func (h *Hub) entryOf(w Workload) *entry {
	e := h.workloads[w]
	if e == nil && w.Key == "" {
		e = newEntry()
		e.publish(Publication{Snapshot: &snapshot.Snapshot{
			Workload: &snapshot.Workload{Cluster: h.cluster, Namespace: w.Namespace},
		}})
		h.workloads[w] = e
	}
	return e
}
