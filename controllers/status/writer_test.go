// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/rollout"
)

var pay = ID{"shop", attach.PolicyID{Kind: v1alpha1.KindRateLimitPolicy, Name: "pay"}}

// memory is a Store of one policy.
type memory struct {
	mu     sync.Mutex
	uid    types.UID
	doc    Document
	writes int
	fail   error
}

func (m *memory) Read(context.Context, ID) (types.UID, Document, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.uid == "" {
		return "", Document{}, apierrors.NewNotFound(schema.GroupResource{}, "pay")
	}
	return m.uid, m.doc, nil
}

func (m *memory) Write(_ context.Context, _ ID, _ types.UID, doc Document) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	if m.fail != nil {
		return m.fail
	}
	m.doc = doc
	return nil
}

// is is the status and reason of Programmed, and how often was written.
func (m *memory) is() (status, reason string, writes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.doc.Conditions {
		if c.Type == string(v1alpha1.ConditionProgrammed) {
			status, reason = string(c.Status), c.Reason
		}
	}
	return status, reason, m.writes
}

func (m *memory) document() Document {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.doc
}

// bench is a Writer that runs, with its store and its pods.
type bench struct {
	*testing.T
	store   *memory
	tracker *rollout.Tracker
	writer  *Writer
	pods    []attach.Pod
	streams map[string]*rollout.Stream
}

func start(t *testing.T, store *memory) *bench {
	b := standby(t, store)
	b.lead()
	return b
}

// standby is a bench of a replica that does not lead yet.
func standby(t *testing.T, store *memory) *bench {
	b := &bench{T: t, store: store, tracker: rollout.New("me"), streams: map[string]*rollout.Stream{}}
	b.writer = New(store, b.tracker, slog.New(slog.DiscardHandler))
	return b
}

func (b *bench) lead() {
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = b.writer.Start(ctx) }()
	b.Cleanup(func() { stop(); <-done })
	synctest.Wait()
}

func (b *bench) want(status string, reason v1alpha1.ConditionReason, writes int) {
	b.Helper()
	synctest.Wait()
	s, r, n := b.store.is()
	if s != status || r != string(reason) || n != writes {
		b.Fatalf("Programmed is %s %s after %d writes, want %s %s after %d", s, r, n, status, reason, writes)
	}
}

func (b *bench) addPod(uid string) {
	b.pods = append(b.pods, attach.Pod{Name: uid, UID: uid, Ready: true, Sidecar: true, ReadySince: time.Now()})
}

func (b *bench) decide(generation int64) {
	b.writer.Set("shop", []compile.Verdict{{
		Policy: pay.PolicyID, UID: "u", Generation: generation, Reason: v1alpha1.ReasonAccepted, Message: "Yes.", Shadow: []string{"soft"},
		Targets: []attach.Target{{Name: "pay", Reason: v1alpha1.ReasonAccepted, Pods: b.pods, Ports: []uint16{80}}},
	}}, time.Now())
}

func (b *bench) ack(uid string, generation int64) {
	if b.streams[uid] == nil {
		b.streams[uid] = b.tracker.Open(&stream.PodState{Namespace: "shop", Pod: uid, Uid: uid})
	}
	b.streams[uid].Update(func(p *stream.PodState) {
		p.Acked = []*stream.PolicyGeneration{{Policy: pay.PolicyID.String(), Generation: generation, Uid: "u"}}
	})
}

func (b *bench) report(uid string, wouldDeny uint64) {
	b.streams[uid].Update(func(p *stream.PodState) {
		p.Report = &stream.Report{Shadow: []*stream.ShadowCount{{Policy: "pay", Limit: "soft", WouldDeny: wouldDeny}}}
	})
}

func TestWriterFollowsAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, &memory{uid: "u"})
		b.writer.Seen(pay, "u", 1)
		b.want("Unknown", v1alpha1.ReasonPending, 1)
		b.addPod("a")
		b.addPod("b")
		b.decide(1)
		b.want("False", v1alpha1.ReasonReconciling, 2)
		b.ack("a", 1)
		b.want("False", v1alpha1.ReasonReconciling, 2) // a count: later
		b.ack("b", 1)
		b.want("True", v1alpha1.ReasonProgrammed, 3) // a condition: at once
		b.decide(1)
		b.decide(1)
		time.Sleep(3 * time.Hour)
		b.want("True", v1alpha1.ReasonProgrammed, 3) // unchanged: never
		b.decide(2)
		b.want("False", v1alpha1.ReasonReconciling, 4)
		b.ack("a", 2)
		time.Sleep(Patience)
		b.want("True", v1alpha1.ReasonPartiallyProgrammed, 6) // with a count between
		if got := b.store.document().Conditions[0].ObservedGeneration; got != 2 {
			t.Errorf("observedGeneration %d, want 2", got)
		}
	})
}

func TestWriterWritesCountsRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, &memory{uid: "u"})
		b.addPod("a")
		b.decide(1)
		b.want("False", v1alpha1.ReasonReconciling, 1)
		b.ack("a", 1)
		b.want("True", v1alpha1.ReasonProgrammed, 2)
		for i := range 40 {
			b.report("a", uint64(i+1))
			synctest.Wait()
			time.Sleep(250 * time.Millisecond)
		}
		b.want("True", v1alpha1.ReasonProgrammed, 4) // 10 s
		time.Sleep(countsEvery)
		synctest.Wait()
		if got := b.store.document().Shadow[0].N; got != 40 {
			t.Errorf("wouldDeny %d, want 40", got)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := b.store.document().Shadow[0].N; got != 0 {
			t.Errorf("wouldDeny %d after two hours, want 0", got)
		}
	})
}

// A new leader goes on with the hour of the old one, and adds what it hears itself.
func TestWriterTakesOverTheHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := start(t, &memory{uid: "u"})
		old.addPod("a")
		old.decide(1)
		old.ack("a", 1)
		synctest.Wait()
		old.report("a", 0) // the first report is of before
		old.report("a", 121)
		time.Sleep(2 * countsEvery)
		shadow := func(b *bench) int64 {
			synctest.Wait()
			return b.store.document().Shadow[0].N
		}
		if got := shadow(old); got != 121 {
			t.Fatalf("wouldDeny %d, want 121", got)
		}
		b := start(t, &memory{uid: "u", doc: old.store.document()})
		b.pods = old.pods
		b.decide(1)
		b.ack("a", 1)
		b.report("a", 121)
		time.Sleep(2 * countsEvery)
		if got := shadow(b); got != 121 {
			t.Errorf("wouldDeny %d of a new leader, want 121", got)
		}
		b.report("a", 221)
		time.Sleep(2 * countsEvery)
		if got := shadow(b); got != 221 {
			t.Errorf("wouldDeny %d with 100 more, want 221", got)
		}
		time.Sleep(30 * time.Minute)
		if got := shadow(b); got < 140 || got > 180 {
			t.Errorf("wouldDeny %d after half an hour, want the 100 and about half of the rest", got)
		}
		time.Sleep(time.Hour)
		if got := shadow(b); got != 0 {
			t.Errorf("wouldDeny %d after another hour, want 0", got)
		}
	})
}

// Reading the status again, as after a conflict, adds nothing.
func TestWriterTakesOverTheHourOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		doc := Document{Shadow: []Count{{"soft", 60}}}
		b := start(t, &memory{uid: "u", doc: doc, fail: apierrors.NewConflict(schema.GroupResource{}, "pay", errors.New("too many writers"))})
		b.decide(1)
		time.Sleep(5 * retryFirst)
		b.store.mu.Lock()
		b.store.fail = nil
		b.store.mu.Unlock()
		time.Sleep(2 * retryFirst)
		synctest.Wait()
		if got := b.store.document().Shadow[0].N; got != 60 {
			t.Errorf("wouldDeny %d, want 60", got)
		}
	})
}

// A new leader does not take Programmed back while it waits for the acks that other
// replicas know of.
func TestWriterTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := start(t, &memory{uid: "u"})
		old.addPod("a")
		old.decide(1)
		old.want("False", v1alpha1.ReasonReconciling, 1)
		old.ack("a", 1)
		old.want("True", v1alpha1.ReasonProgrammed, 2)

		time.Sleep(time.Second)
		b := start(t, &memory{uid: "u", doc: old.store.document()})
		b.pods = old.pods
		b.decide(1)
		time.Sleep(takeover / 2)
		b.want("True", v1alpha1.ReasonProgrammed, 0)
		b.ack("a", 1)
		time.Sleep(takeover)
		b.want("True", v1alpha1.ReasonProgrammed, 0)

		// A pod that is newer than the leader nobody else has heard of.
		b.addPod("b")
		b.decide(1)
		b.want("False", v1alpha1.ReasonReconciling, 1)

		c := start(t, &memory{uid: "u", doc: old.store.document()})
		c.pods = old.pods
		c.decide(1)
		time.Sleep(takeover + time.Second)
		c.want("False", v1alpha1.ReasonReconciling, 1)
	})
}

// A replica that has known the policy for days before it leads has heard no more of the
// pods of the others than a new one.
func TestStandbyTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := start(t, &memory{uid: "u"})
		old.addPod("a")
		old.addPod("b")
		old.decide(1)
		old.ack("a", 1)
		old.ack("b", 1)
		synctest.Wait()
		b := standby(t, &memory{uid: "u"})
		b.pods = old.pods
		b.decide(1)
		b.ack("b", 1)
		time.Sleep(48 * time.Hour)
		b.store.doc = old.store.document()
		b.lead()
		b.want("True", v1alpha1.ReasonProgrammed, 0)
		time.Sleep(10 * time.Second)
		b.ack("a", 1)
		time.Sleep(takeover)
		b.want("True", v1alpha1.ReasonProgrammed, 0)
	})
}

// A refusal, too, stays until the new leader has heard of the pods.
func TestRefusalIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := func(p *stream.PodState) {
			p.Acked = []*stream.PolicyGeneration{{Policy: pay.PolicyID.String(), Generation: 1, Uid: "u"}}
			p.Refused = []*stream.Nack{{Policy: pay.PolicyID.String(), Reason: "No."}}
		}
		old := start(t, &memory{uid: "u"})
		old.addPod("a")
		old.decide(2)
		old.ack("a", 1)
		old.streams["a"].Update(refuse)
		synctest.Wait()
		time.Sleep(time.Second)
		b := start(t, &memory{uid: "u", doc: old.store.document()})
		b.pods = old.pods
		b.decide(2)
		b.want("False", v1alpha1.ReasonRejected, 0)
		b.tracker.Open(&stream.PodState{Namespace: "shop", Pod: "a", Uid: "a"}).Update(refuse)
		time.Sleep(takeover)
		b.want("False", v1alpha1.ReasonRejected, 0)
	})
}

func TestWriterTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, &memory{uid: "u", fail: errors.New("the server is away")})
		b.decide(1)
		b.want("", "", 1)
		time.Sleep(retryFirst)
		b.want("", "", 2)
		b.store.mu.Lock()
		b.store.fail = nil
		b.store.mu.Unlock()
		time.Sleep(2 * retryFirst)
		b.want("Unknown", v1alpha1.ReasonNoPods, 3)
	})
}

// A status that the API server refuses is not written again with every ack.
func TestWriterWaitsAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, &memory{uid: "u", fail: errors.New("no")})
		b.addPod("a")
		b.addPod("b")
		b.decide(1)
		b.want("", "", 1)
		b.ack("a", 1)
		b.ack("b", 1)
		b.want("", "", 1)
		b.decide(2) // another generation does not wait for the old one's turn
		b.want("", "", 2)
	})
}

// A conflict is no proof that the policy is another one: it is looked at again.
func TestWriterAfterConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, &memory{uid: "u", fail: apierrors.NewConflict(schema.GroupResource{}, "pay", errors.New("too many writers"))})
		b.decide(1)
		b.want("", "", 1)
		b.store.mu.Lock()
		b.store.fail = nil
		b.store.mu.Unlock()
		time.Sleep(retryFirst)
		b.want("Unknown", v1alpha1.ReasonNoPods, 2)
	})
}

// What is deleted is left alone, and so is a successor of the same name.
func TestWriterKeepsOffSuccessors(t *testing.T) {
	for name, store := range map[string]*memory{"deleted": {}, "another": {uid: "v"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, store)
				b.decide(1)
				b.want("", "", 0)
			})
		})
	}
}
