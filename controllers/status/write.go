// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"weir.dev/weir/api/v1alpha1"
)

// carryOut returns what the API server then has; nil: not known.
func (w *Writer) carryOut(ctx context.Context, t *task, now time.Time) *written {
	p := t.before
	if p == nil || p.uid != t.uid {
		uid, doc, err := w.Store.Read(ctx, t.id)
		if apierrors.IsNotFound(err) || err == nil && uid != t.uid {
			return nil // deleted; a verdict about its successor follows
		}
		if err != nil {
			w.Log.Error("cannot read a status", "policy", t.id, "error", err)
			return &written{next: now.Add(retryFirst), backoff: retryFirst}
		}
		p = &written{uid: uid, doc: doc}
		w.takeOver(t, doc, now)
	}
	p.next = t.report.Next
	if t.pending && len(p.doc.Conditions) > 0 {
		return nil // seen before
	}
	if t.believes(p.doc, now) {
		p.next = earliest(p.next, t.believeUntil)
		return p
	}
	w.Metrics.converged(t, p, now)
	doc := document(t.report, p.doc, t.generation, now)
	switch compare(p.doc, doc) {
	case same:
		return p
	case counts:
		if due := p.at.Add(countsEvery); now.Before(due) {
			p.next = earliest(p.next, due)
			return p
		}
	case decided:
	}
	if p.failed == t.generation && now.Before(p.retry) {
		p.next = earliest(p.next, p.retry)
		return p
	}
	return w.write(ctx, t, p, doc, now)
}

// takeOver goes on with what the leader before has counted.
func (w *Writer) takeOver(t *task, doc Document, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range t.report.Shadow {
		s := &t.report.Shadow[i]
		var n int64
		for _, before := range doc.Shadow {
			if before.Name == s.Name {
				n = before.N
			}
		}
		s.N = t.counters.takeOver(countID{t.id.PolicyID, s.Name}, n, now)
	}
}

func (w *Writer) write(ctx context.Context, t *task, p *written, doc Document, now time.Time) *written {
	err := w.Store.Write(ctx, t.id, t.uid, doc)
	switch {
	case err == nil:
		p.doc, p.at, p.backoff, p.failed = doc, now, 0, 0
		return p
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		// Another object of the name, as is seen when it is read again; or the API
		// server has lost races with others who write.
		return &written{next: now.Add(retryFirst)}
	case ctx.Err() != nil:
		return p
	}
	p.backoff = min(max(2*p.backoff, retryFirst), retryMax)
	p.retry = now.Add(p.backoff)
	p.next, p.failed = p.retry, t.generation
	w.Log.Error("cannot write a status", "policy", t.id, "error", err, "again", p.backoff)
	return p
}

// believes reports whether a new leader leaves Programmed as the old one wrote it:
// what it lacks is the acks that the other replicas know of.
func (t *task) believes(doc Document, now time.Time) bool {
	if !t.report.Unheard || !now.Before(t.believeUntil) {
		return false
	}
	for _, c := range doc.Conditions {
		if c.Type == string(v1alpha1.ConditionProgrammed) && c.Status != "Unknown" && c.ObservedGeneration == t.generation {
			for _, r := range t.report.Conditions {
				if r.Type == v1alpha1.ConditionProgrammed && r.Reason == v1alpha1.ReasonReconciling {
					return true
				}
			}
		}
	}
	return false
}
