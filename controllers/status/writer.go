// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/rollout"
)

const (
	// countsEvery is how often mere counts are written.
	countsEvery = 5 * time.Second
	// takeover is how long a new leader believes the old one's Programmed of pods
	// that are not connected to any replica it has heard.
	takeover = Patience + 5*time.Second
	// Failed writes are tried again after retryFirst, doubling to retryMax.
	retryFirst = 500 * time.Millisecond
	retryMax   = 30 * time.Second
	// The loop rests as long as it has worked, but no longer than restMost.
	restMost = 250 * time.Millisecond
)

// ID names a policy.
type ID struct {
	Namespace string
	attach.PolicyID
}

// String is namespace/kind/name.
func (id ID) String() string { return id.Namespace + "/" + id.PolicyID.String() }

// Store is where statuses are.
type Store interface {
	// Read returns a policy's uid and status. An error that is
	// apierrors.IsNotFound says that there is no such policy.
	Read(ctx context.Context, id ID) (types.UID, Document, error)
	// Write replaces the status of the policy of that uid. An error that is
	// apierrors.IsNotFound or IsConflict says that there is none.
	Write(ctx context.Context, id ID, uid types.UID, doc Document) error
}

// Writer is the loop. Set and Seen may be called on every replica, at any time.
type Writer struct {
	Store   Store
	Tracker *rollout.Tracker
	Log     *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics

	mu         sync.Mutex
	wake       chan struct{}
	namespaces map[string]*namespace
}

// namespace is guarded by Writer.mu; counters and entries' written parts are the
// loop's own.
type namespace struct {
	dirty    bool
	verdicts map[attach.PolicyID]compile.Verdict
	// seen is when a generation, or the ports that it governs, were first seen.
	seen map[attach.PolicyID]firstSeen
	// pending are policies that have no verdict yet.
	pending map[attach.PolicyID]firstSeen

	counters *counters
	written  map[attach.PolicyID]*written
}

type firstSeen struct {
	uid        types.UID
	generation int64
	reach      reach
	at         time.Time
	// arrived is when the change came that made the generation.
	arrived time.Time
}

// written is what the API server has.
type written struct {
	uid types.UID
	doc Document
	at  time.Time
	// next is when to look again; zero: only when something changes.
	next time.Time
	// A write of generation failed has failed, and is not tried before retry.
	failed  int64
	retry   time.Time
	backoff time.Duration
	// measured is the generation whose convergence is known, or will never be.
	measured int64
}

// New returns a Writer.
func New(store Store, tracker *rollout.Tracker, log *slog.Logger) *Writer {
	return &Writer{Store: store, Tracker: tracker, Log: log, wake: make(chan struct{}, 1), namespaces: map[string]*namespace{}}
}

// NeedLeaderElection is true: controller-runtime starts the loop on the leader.
func (w *Writer) NeedLeaderElection() bool { return true }

// Seen says that a policy without a status is there.
func (w *Writer) Seen(id ID, uid types.UID, generation int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.namespace(id.Namespace)
	if _, decided := n.verdicts[id.PolicyID]; decided {
		return
	}
	n.pending[id.PolicyID] = firstSeen{uid: uid, generation: generation}
	w.touch(n)
}

// Set says what was decided about all policies of a namespace.
// arrived is when the changes that led to it began to arrive.
func (w *Writer) Set(ns string, verdicts []compile.Verdict, arrived time.Time) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(verdicts) == 0 {
		delete(w.namespaces, ns)
		return
	}
	n := w.namespace(ns)
	n.verdicts = map[attach.PolicyID]compile.Verdict{}
	seen := map[attach.PolicyID]firstSeen{}
	for _, v := range verdicts {
		n.verdicts[v.Policy] = v
		f := n.seen[v.Policy]
		at := reach{}
		for i := range v.Targets {
			at.add(v.Targets[i].PortsIn)
		}
		if f.uid != v.UID || f.generation != v.Generation || !at.within(f.reach) {
			f = firstSeen{uid: v.UID, generation: v.Generation, at: now, arrived: arrived}
		}
		f.reach = at
		seen[v.Policy] = f
	}
	n.seen = seen
	// What was seen after the verdicts were made gets its own with the next ones.
	clear(n.pending)
	w.touch(n)
}

func (w *Writer) namespace(name string) *namespace {
	n := w.namespaces[name]
	if n == nil {
		n = &namespace{
			verdicts: map[attach.PolicyID]compile.Verdict{},
			seen:     map[attach.PolicyID]firstSeen{},
			pending:  map[attach.PolicyID]firstSeen{},
			counters: newCounters(),
			written:  map[attach.PolicyID]*written{},
		}
		w.namespaces[name] = n
	}
	return n
}

func (w *Writer) touch(n *namespace) {
	n.dirty = true
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Start writes until ctx ends. It returns nil.
func (w *Writer) Start(ctx context.Context) error {
	watch := w.Tracker.Watch()
	defer watch.Close()
	w.mu.Lock()
	for _, n := range w.namespaces {
		n.written = map[attach.PolicyID]*written{}
		w.touch(n)
	}
	w.mu.Unlock()
	leading := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	counts := time.NewTicker(countsEvery)
	defer counts.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watch.C():
		case <-w.wake:
		case <-timer.C:
		case <-counts.C:
		}
		began := time.Now()
		for ctx.Err() == nil {
			ns, ok := w.due(watch.Take(), time.Now())
			if !ok {
				break
			}
			w.update(ctx, ns, leading)
		}
		// While thousands of acks come in, each pass takes some for all.
		rest(ctx, min(time.Since(began), restMost))
		timer.Reset(w.pause(time.Now()))
	}
}

// rest waits for d, or for the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// due returns a namespace that has to be looked at, and marks it as looked at.
func (w *Writer) due(changed []string, now time.Time) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range changed {
		if n := w.namespaces[name]; n != nil {
			n.dirty = true
		}
	}
	for name, n := range w.namespaces {
		isDue := n.dirty
		for _, p := range n.written {
			isDue = isDue || !p.next.IsZero() && !now.Before(p.next)
		}
		if isDue {
			n.dirty = false
			return name, true
		}
	}
	return "", false
}

// pause is how long nothing has to be done, at most an hour.
func (w *Writer) pause(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := time.Hour
	for _, n := range w.namespaces {
		for _, p := range n.written {
			if !p.next.IsZero() {
				d = min(d, p.next.Sub(now))
			}
		}
	}
	return max(d, 0)
}

// update writes what has changed in a namespace.
func (w *Writer) update(ctx context.Context, name string, leading time.Time) {
	states := w.Tracker.Pods(name)
	now := time.Now()
	w.mu.Lock()
	n := w.namespaces[name]
	if n == nil { // its policies are gone
		w.mu.Unlock()
		return
	}
	n.counters.observe(states, n.scope(leading), now)
	tasks := n.tasks(states, leading, now)
	w.mu.Unlock()
	for i := range tasks {
		t := &tasks[i]
		t.id.Namespace, t.believeUntil = name, leading.Add(takeover)
		p := w.carryOut(ctx, t, now)
		w.mu.Lock()
		if p == nil {
			delete(n.written, t.id.PolicyID)
		} else {
			n.written[t.id.PolicyID] = p
		}
		w.mu.Unlock()
	}
}

// task is one policy to look at.
type task struct {
	id           ID
	uid          types.UID
	generation   int64
	pending      bool
	arrived      time.Time
	report       Report
	before       *written
	believeUntil time.Time
	counters     *counters
}

// scope is what pods may report about, to a replica that leads since leading.
func (n *namespace) scope(leading time.Time) scope {
	out := scope{older: map[string]bool{}, counts: map[countID]bool{}, ports: map[uint32]bool{}}
	for id, v := range n.verdicts {
		for _, name := range v.Shadow {
			out.counts[countID{id, name}] = true
		}
		for i := range v.Targets {
			for _, port := range v.Targets[i].Ports {
				out.ports[uint32(port)] = true
			}
			for _, p := range v.Targets[i].Pods {
				if p.ReadySince.Before(leading.Truncate(time.Second)) {
					out.older[p.UID] = true
				}
			}
		}
	}
	return out
}

func (n *namespace) tasks(states []*stream.PodState, leading, now time.Time) []task {
	byUID := map[string]*stream.PodState{}
	for _, s := range states {
		byUID[s.GetUid()] = s
	}
	encrypted, forgotten := n.counters.encrypted(now)
	var out []task
	for id, f := range n.pending {
		out = append(out, task{id: ID{PolicyID: id}, uid: f.uid, generation: f.generation, pending: true, report: Pending()})
	}
	clear(n.pending)
	for id, v := range n.verdicts {
		r := Conditions(Observation{
			Verdict: v, Pods: byUID, Since: n.seen[id].at, Now: now, Leading: leading,
			Encrypted: encrypted, Counts: n.counters.of(id, v.Shadow, now),
		})
		r.Next = earliest(r.Next, forgotten)
		if len(r.Shadow) > 0 {
			r.Next = earliest(r.Next, now.Add(shadowSlot)) // the hour moves on
		}
		out = append(out, task{id: ID{PolicyID: id}, uid: v.UID, generation: v.Generation, report: r, before: n.written[id], arrived: n.seen[id].arrived, counters: n.counters})
	}
	for id := range n.written {
		if _, there := n.verdicts[id]; !there {
			delete(n.written, id)
		}
	}
	return out
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
