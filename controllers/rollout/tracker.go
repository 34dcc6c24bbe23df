// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"weir.dev/weir/api/stream"
)

const (
	// ReplicaGrace is how long a replica that is away is believed.
	ReplicaGrace = 30 * time.Second
	// ForgetAfter is how long a pod is remembered that is not connected, unless
	// Forget comes first.
	ForgetAfter = 10 * time.Minute
)

// Tracker is what one replica knows. Safe for concurrent use. The states it hands
// out must not be changed.
type Tracker struct {
	replica string

	mu       sync.Mutex
	local    table
	streams  map[string]*Stream // by uid, the newest of each pod
	replicas map[string]*remote
	watches  map[*Watch]struct{}
	// follows are told of uids whose local state has changed.
	follows map[*follow]struct{}
}

// New returns the tracker of the replica of that name, which is unique among the
// replicas.
func New(replica string) *Tracker {
	return &Tracker{
		replica:  replica,
		local:    table{},
		streams:  map[string]*Stream{},
		replicas: map[string]*remote{},
		watches:  map[*Watch]struct{}{},
		follows:  map[*follow]struct{}{},
	}
}

// Pods returns what is known of the pods of a namespace, by name and uid. It is
// whole on the leader only.
func (t *Tracker) Pods(namespace string) []*stream.PodState {
	best := t.best(namespace)
	// Thousands are sorted without making acks wait.
	out := make([]*stream.PodState, 0, len(best))
	for _, p := range best {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *stream.PodState) int {
		if c := strings.Compare(a.GetPod(), b.GetPod()); c != 0 {
			return c
		}
		return strings.Compare(a.GetUid(), b.GetUid())
	})
	return out
}

func (t *Tracker) best(namespace string) map[string]*stream.PodState {
	t.mu.Lock()
	defer t.mu.Unlock()
	best := map[string]*stream.PodState{}
	t.local.merge(namespace, best)
	for _, r := range t.replicas {
		r.pods.merge(namespace, best)
	}
	return best
}

// Pod returns what is known of one pod; nil: nothing.
func (t *Tracker) Pod(namespace, uid string) *stream.PodState {
	t.mu.Lock()
	defer t.mu.Unlock()
	best := t.local[namespace][uid]
	for _, r := range t.replicas {
		if p := r.pods[namespace][uid]; p != nil && (best == nil || better(p, best)) {
			best = p
		}
	}
	return best
}

// Namespaces returns the namespaces that have pods, sorted.
func (t *Tracker) Namespaces() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	set := map[string]struct{}{}
	t.local.namespaces(set)
	for _, r := range t.replicas {
		r.pods.namespaces(set)
	}
	out := make([]string, 0, len(set))
	for ns := range set {
		out = append(out, ns)
	}
	slices.Sort(out)
	return out
}

// Forget takes a pod away that does not exist any more.
func (t *Tracker) Forget(namespace, uid string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.local[namespace][uid]; p.GetConnected() {
		// Its stream has outlived it: the leader must not believe in it for ever.
		for f := range t.follows {
			f.forget(p)
		}
	}
	t.local.remove(namespace, uid)
	delete(t.streams, uid)
	for _, r := range t.replicas {
		r.pods.remove(namespace, uid)
	}
	t.changed(namespace)
}

// sweep forgets pods that have not been connected for ForgetAfter.
func (t *Tracker) sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := now.Add(-ForgetAfter)
	for _, ns := range t.local.sweep(before) {
		t.changed(ns)
	}
	for name, r := range t.replicas {
		for _, ns := range r.pods.sweep(before) {
			t.changed(ns)
		}
		if r.away && len(r.pods) == 0 {
			delete(t.replicas, name)
		}
	}
}

// put stores a state of a stream of this replica.
func (t *Tracker) put(p *stream.PodState) {
	before := t.local[p.GetNamespace()][p.GetUid()]
	t.local.put(p)
	for f := range t.follows {
		f.mark(p.GetNamespace(), p.GetUid())
	}
	t.differs(before, p)
}

// differs tells the watches how a pod has changed.
func (t *Tracker) differs(before, now *stream.PodState) {
	if !countsOnly(before, now) {
		t.changed(now.GetNamespace())
		return
	}
	for w := range t.watches {
		w.dirty[now.GetNamespace()] = struct{}{}
	}
}

// countsOnly reports whether nothing but numbers have changed that grow all the time.
func countsOnly(a, b *stream.PodState) bool {
	if a.GetReport() == nil || b.GetReport() == nil {
		return false
	}
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	for _, r := range []*stream.Report{a.Report, b.Report} {
		r.Shadow, r.IdempotencyShadow = nil, nil
	}
	return proto.Equal(a, b)
}

func (t *Tracker) changed(namespace string) {
	for w := range t.watches {
		w.mark(namespace)
	}
}

// Stream is one config stream of this replica.
type Stream struct {
	t     *Tracker
	state *stream.PodState
}

// Open says that a pod's sidecar has connected. It takes the place of an older
// stream of the same pod, whose later calls change nothing.
func (t *Tracker) Open(p *stream.PodState) *Stream {
	s := &Stream{t: t, state: proto.CloneOf(p)}
	s.state.Connected, s.state.Since = true, timestamppb.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streams[p.GetUid()] = s
	t.put(s.state)
	return s
}

// Update changes the state. What change does to connected and since is undone.
func (s *Stream) Update(change func(*stream.PodState)) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if s.t.streams[s.state.GetUid()] != s {
		return
	}
	next := proto.CloneOf(s.state)
	change(next)
	next.Connected, next.Since = true, s.state.GetSince()
	if proto.Equal(next, s.state) {
		return
	}
	s.state = next
	s.t.put(next)
}

// Close says that the stream has ended.
func (s *Stream) Close() {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if s.t.streams[s.state.GetUid()] != s {
		return
	}
	delete(s.t.streams, s.state.GetUid())
	next := proto.CloneOf(s.state)
	next.Connected, next.Since = false, timestamppb.Now()
	s.t.put(next)
}
