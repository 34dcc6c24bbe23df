// SPDX-License-Identifier: Apache-2.0

package recordtest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

func finish(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, long)
	f := final(c, record.Complete, "x\x00\r\n\xffy")
	s.want(s.do(id, record.Command{Op: record.Finish, Next: f}), record.Applied)
	a := s.want(s.do(id, record.Command{Op: record.Begin, Next: claim(2, long)}), record.Found)
	if diff := cmp.Diff(f, a.Record); diff != "" {
		s.t.Errorf("found (-want +got):\n%s", diff)
	}
}

func finishAgain(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, long)
	f := final(c, record.Complete, "x")
	s.do(id, record.Command{Op: record.Finish, Next: f})
	s.want(s.do(id, record.Command{Op: record.Finish, Next: f}), record.Applied)
	// That it is unknown must not follow.
	s.want(s.do(id, record.Command{Op: record.Finish, Next: final(c, record.Unknown, "")}), record.Found)
	s.is(id, f)
}

func finishLost(_ *testing.T, s *suite) {
	c := claim(1, long)
	c.Fence, c.Origin, c.Attempt = 77, 77, 1
	id, f := newID(), final(c, record.Complete, "x")
	s.want(s.do(id, record.Command{Op: record.Finish, Next: f}), record.Lost)
	s.is(id, f)
}

func finishOther(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, long)
	other := *c
	other.Owner = record.Owner{2}
	a := s.want(s.do(id, record.Command{Op: record.Finish, Next: final(&other, record.Complete, "x")}), record.Found)
	if a.Record == nil || a.Record.Owner != c.Owner {
		s.t.Errorf("in the way is %+v", a.Record)
	}
	// The owner, but an older claim of it.
	other = *c
	other.Fence--
	s.want(s.do(id, record.Command{Op: record.Finish, Next: final(&other, record.Complete, "x")}), record.Found)
	s.is(id, c)
}

func finishUnknown(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, long)
	u := final(c, record.Unknown, "")
	s.want(s.do(id, record.Command{Op: record.Finish, Next: u}), record.Applied)
	s.want(s.do(id, record.Command{Op: record.Finish, Next: u}), record.Applied)
	s.is(id, u)
	f := final(c, record.Tombstone, "")
	f.Status = 200
	s.want(s.do(id, record.Command{Op: record.Finish, Next: f}), record.Applied)
	s.is(id, f)
}

func finishReleased(_ *testing.T, s *suite) {
	id := newID()
	c := s.begin(id, 1, long)
	r := final(c, record.Released, "")
	s.do(id, record.Command{Op: record.Release, Ref: c.Ref(), Next: r})
	s.want(s.do(id, record.Command{Op: record.Finish, Next: final(c, record.Complete, "x")}), record.Found)
	s.is(id, r)
	// The claim after it is missing.
	next := *c
	next.Owner, next.Fence, next.Attempt = record.Owner{2}, c.Fence+1, 2
	f := final(&next, record.Complete, "x")
	s.want(s.do(id, record.Command{Op: record.Finish, Next: f}), record.Lost)
	s.is(id, f)
}

func assert(_ *testing.T, s *suite) {
	id, cmd := newID(), func(c *record.Record) record.Command {
		return record.Command{Op: record.Finish, Next: c}
	}
	c := s.begin(id, 1, long)
	s.want(s.do(id, cmd(c)), record.Applied)
	s.is(id, c)
	lost := newID()
	s.want(s.do(lost, cmd(c)), record.Lost)
	s.is(lost, c)
	other := *c
	other.Owner = record.Owner{2}
	s.want(s.do(id, cmd(&other)), record.Found)
	f := final(c, record.Complete, "x")
	s.do(id, cmd(f))
	s.want(s.do(id, cmd(c)), record.Found)
	s.is(id, f)
}
