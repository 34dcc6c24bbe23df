// SPDX-License-Identifier: Apache-2.0

// Package recordtest is the contract of record.Store: what each store has to do, as
// tests. It is imported by tests only.
package recordtest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// long is a lease that does not run out during a test, short one that does at once.
const (
	long      = time.Hour
	short     = time.Millisecond
	retention = 24 * time.Hour
)

// Run tests s. It may hold records of others.
func Run(t *testing.T, s record.Store) {
	for name, test := range map[string]func(*testing.T, *suite){
		"one claim of many":                  oneClaim,
		"begin again is the same claim":      beginAgain,
		"finish, and every other is told":    finish,
		"finish again":                       finishAgain,
		"finish what was lost":               finishLost,
		"finish another's":                   finishOther,
		"finish what was unknown":            finishUnknown,
		"finish over what was released":      finishReleased,
		"assert a claim":                     assert,
		"release":                            release,
		"release leaves a fence":             releaseLeaves,
		"release by owner alone":             releaseOwner,
		"renew":                              renew,
		"expire too early":                   expireEarly,
		"expire to unknown":                  expireUnknown,
		"take over":                          takeOver,
		"a late owner":                       lateOwner,
		"large payloads":                     large,
		"what is kept goes away":             goes,
		"any order of commands, as the rule": asRule,
	} {
		t.Run(name, func(t *testing.T) { test(t, &suite{t: t, store: s}) })
	}
}

type suite struct {
	t     *testing.T
	store record.Store
}

func newID() (id record.ID) {
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	return id
}

func claim(owner byte, lease time.Duration) *record.Record {
	return &record.Record{
		State:       record.Inflight,
		Flags:       record.AtLeastOnce,
		Owner:       record.Owner{owner, 0xff, 0, '\n'},
		Fingerprint: record.Digest{7, 0xfe},
		Credentials: record.Digest{8},
		Lease:       lease,
		Retention:   retention,
	}
}

// final of a claim as it was made.
func final(c *record.Record, state record.State, payload string) *record.Record {
	f := *c
	f.State, f.Stamp = state, c.Fence+5
	if state == record.Complete {
		f.Status, f.Payload = 201, []byte(payload)
	}
	return &f
}

func (s *suite) do(id record.ID, cmd record.Command) record.Answer {
	s.t.Helper()
	answer, err := s.store.Do(s.t.Context(), id, cmd)
	if err != nil {
		s.t.Fatalf("%s: %v", cmd.Op, err)
	}
	return answer
}

func (s *suite) want(answer record.Answer, want record.Result) record.Answer {
	s.t.Helper()
	if answer.Result != want {
		s.t.Fatalf("result %d (record %+v), want %d", answer.Result, answer.Record, want)
	}
	return answer
}

func (s *suite) begin(id record.ID, owner byte, lease time.Duration) *record.Record {
	s.t.Helper()
	c := claim(owner, lease)
	s.want(s.do(id, record.Command{Op: record.Begin, Next: c}), record.Applied)
	if c.Fence == 0 || c.Origin != c.Fence || c.Attempt != 1 {
		s.t.Fatalf("claimed as %+v", c)
	}
	return c
}

func (s *suite) look(id record.ID) record.Answer {
	s.t.Helper()
	return s.do(id, record.Command{Op: record.Look})
}

// is fails unless the record of id is want.
func (s *suite) is(id record.ID, want *record.Record) {
	s.t.Helper()
	got := s.look(id).Record
	if got == nil || !bytes.Equal(got.Payload, want.Payload) {
		s.t.Fatalf("the record is %+v, or its payload another", got)
	}
	// Byte by byte a large one takes seconds.
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(record.Record{}, "Payload")); diff != "" {
		s.t.Fatalf("the record (-want +got):\n%s", diff)
	}
}

// old waits until the lease of a short claim is over.
func (s *suite) old(id record.ID) {
	s.t.Helper()
	for range 5000 {
		if a := s.look(id); a.Record != nil && a.Age >= a.Record.Lease {
			return
		}
		time.Sleep(time.Millisecond)
	}
	s.t.Fatal("the lease does not end")
}

func oneClaim(t *testing.T, s *suite) {
	id := newID()
	var mu sync.Mutex
	var wg sync.WaitGroup
	claims := 0
	for i := range 16 {
		wg.Go(func() {
			a, err := s.store.Do(t.Context(), id, record.Command{Op: record.Begin, Next: claim(byte(i), long)})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case a.Result == record.Applied:
				claims++
			case a.Result != record.Found || a.Record == nil || a.Record.State != record.Inflight:
				t.Errorf("answer %+v", a)
			}
		})
	}
	wg.Wait()
	if claims != 1 {
		t.Errorf("%d claims, want 1", claims)
	}
}

func beginAgain(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, long)
	again := claim(1, long)
	s.want(s.do(id, record.Command{Op: record.Begin, Next: again}), record.Applied)
	if again.Fence != c.Fence || again.Origin != c.Origin || again.Attempt != 1 {
		s.t.Errorf("claimed as %+v, want the first claim, %+v", again, c)
	}
	s.is(id, c)
}

func release(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, long)
	other := record.Ref{Owner: record.Owner{2}, Fence: c.Fence}
	s.want(s.do(id, record.Command{Op: record.Release, Ref: other}), record.Found)
	s.is(id, c)
	s.want(s.do(id, record.Command{Op: record.Release, Ref: c.Ref()}), record.Applied)
	s.want(s.do(id, record.Command{Op: record.Release, Ref: c.Ref()}), record.Missing)
	s.want(s.look(id), record.Missing)
	// What is complete is not released.
	c = s.begin(id, 3, long)
	f := final(c, record.Complete, "x")
	s.do(id, record.Command{Op: record.Finish, Next: f})
	s.want(s.do(id, record.Command{Op: record.Release, Ref: c.Ref()}), record.Found)
	s.is(id, f)
}

func releaseLeaves(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, long)
	r := final(c, record.Released, "")
	cmd := record.Command{Op: record.Release, Ref: c.Ref(), Next: r, Keep: time.Minute}
	s.want(s.do(id, cmd), record.Applied)
	s.want(s.do(id, cmd), record.Applied)
	next := claim(2, long)
	a := s.want(s.do(id, record.Command{Op: record.Begin, Next: next}), record.Found)
	// Nobody makes it unknown.
	s.want(s.do(id, record.Command{Op: record.Expire, Ref: a.Record.Ref()}), record.Found)
	s.want(s.do(id, record.Command{Op: record.Expire, Ref: a.Record.Ref(), Next: next}), record.Applied)
	if next.Fence <= c.Fence || next.Origin != c.Origin || next.Attempt != 2 {
		s.t.Errorf("took over as %+v from %+v", next, c)
	}
	s.is(id, next)
}

func releaseOwner(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, long)
	s.want(s.do(id, record.Command{Op: record.Release, Ref: record.Ref{Owner: c.Owner}}), record.Applied)
	s.want(s.look(id), record.Missing)
}

func renew(_ *testing.T, s *suite) {
	mine, others, lost, done := newID(), newID(), newID(), newID()
	all := []record.Renewal{
		{ID: mine, Claim: s.begin(mine, 1, 50*time.Millisecond)},
		{ID: others, Claim: s.begin(others, 1, long)},
		{ID: lost, Claim: s.begin(lost, 1, long)},
		{ID: done, Claim: s.begin(done, 1, long)},
	}
	stranger := *all[1].Claim
	stranger.Owner = record.Owner{9}
	all[1].Claim = &stranger
	s.do(lost, record.Command{Op: record.Release, Ref: all[2].Claim.Ref()})
	s.do(done, record.Command{Op: record.Finish, Next: final(all[3].Claim, record.Complete, "x")})
	for s.look(mine).Age < 50*time.Millisecond {
		time.Sleep(time.Millisecond)
	}
	before, start := s.look(mine).Age, time.Now()
	if err := s.store.Renew(s.t.Context(), all); err != nil {
		s.t.Fatal(err)
	}
	for i, want := range []record.Result{record.Applied, record.Found, record.Missing, record.Found} {
		if got := all[i].Answer.Result; got != want {
			s.t.Errorf("renewal %d: %d, want %d", i, got, want)
		}
	}
	// It cannot be older than the renewal, however long that took.
	if after := s.look(mine).Age; after > time.Since(start)+before/2 {
		s.t.Errorf("age %s after a renewal, %s before", after, before)
	}
	s.want(s.look(lost), record.Missing)
}

func expireEarly(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, long)
	s.want(s.do(id, record.Command{Op: record.Expire, Ref: c.Ref()}), record.Found)
	s.want(s.do(id, record.Command{Op: record.Expire, Ref: c.Ref(), Next: claim(2, long)}), record.Found)
	s.is(id, c)
	s.want(s.do(newID(), record.Command{Op: record.Expire, Ref: c.Ref()}), record.Missing)
}

func expireUnknown(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, short)
	s.old(id)
	s.want(s.do(id, record.Command{Op: record.Expire, Ref: record.Ref{Owner: record.Owner{4}, Fence: c.Fence}}), record.Found)
	a := s.want(s.do(id, record.Command{Op: record.Expire, Ref: c.Ref()}), record.Applied)
	want := *c
	want.State = record.Unknown
	if diff := cmp.Diff(&want, a.Record); diff != "" {
		s.t.Errorf("expired (-want +got):\n%s", diff)
	}
	s.want(s.do(id, record.Command{Op: record.Expire, Ref: c.Ref()}), record.Applied)
	s.is(id, &want)
	// Nobody takes over what is unknown.
	s.want(s.do(id, record.Command{Op: record.Expire, Ref: c.Ref(), Next: claim(2, long)}), record.Found)
	s.want(s.do(id, record.Command{Op: record.Release, Ref: c.Ref()}), record.Applied)
}

func takeOver(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, short)
	s.old(id)
	next := claim(2, short)
	a := s.want(s.do(id, record.Command{Op: record.Expire, Ref: c.Ref(), Next: next}), record.Applied)
	if a.Record != next || next.Fence <= c.Fence || next.Origin != c.Origin || next.Attempt != 2 {
		s.t.Fatalf("took over as %+v from %+v", a.Record, c)
	}
	s.is(id, next)
	// Asked again, it is the same.
	again := claim(2, short)
	s.want(s.do(id, record.Command{Op: record.Expire, Ref: c.Ref(), Next: again}), record.Applied)
	if again.Fence != next.Fence {
		s.t.Errorf("fence %d, want %d", again.Fence, next.Fence)
	}
	s.old(id)
	third := claim(3, long)
	s.want(s.do(id, record.Command{Op: record.Expire, Ref: next.Ref(), Next: third}), record.Applied)
	if third.Fence <= next.Fence || third.Origin != c.Origin || third.Attempt != 3 {
		s.t.Errorf("took over as %+v from %+v", third, next)
	}
}

func lateOwner(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, short)
	s.old(id)
	next := claim(2, long)
	s.do(id, record.Command{Op: record.Expire, Ref: c.Ref(), Next: next})
	s.want(s.do(id, record.Command{Op: record.Finish, Next: final(c, record.Complete, "late")}), record.Found)
	s.want(s.do(id, record.Command{Op: record.Release, Ref: c.Ref()}), record.Found)
	f := final(next, record.Complete, "winner")
	s.want(s.do(id, record.Command{Op: record.Finish, Next: f}), record.Applied)
	a := s.want(s.do(id, record.Command{Op: record.Finish, Next: final(c, record.Complete, "late")}), record.Found)
	if diff := cmp.Diff(f, a.Record); diff != "" {
		s.t.Errorf("in the way (-want +got):\n%s", diff)
	}
}

func large(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, long)
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	f := final(c, record.Complete, string(b))
	s.want(s.do(id, record.Command{Op: record.Finish, Next: f}), record.Applied)
	s.is(id, f)
}

func goes(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, long)
	cmd := record.Command{Op: record.Release, Ref: c.Ref(), Next: final(c, record.Released, ""), Keep: time.Hour}
	s.want(s.do(id, cmd), record.Applied)
	if a := s.look(id); a.Record == nil {
		s.t.Error("what is kept for an hour is gone")
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	if _, err := s.store.Do(ctx, id, record.Command{Op: record.Look}); err != nil &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, record.ErrUnavailable) {
		s.t.Error(err)
	}
}
