// SPDX-License-Identifier: Apache-2.0

package recordtest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// asRule compares the store with record.Apply over random commands.
func asRule(t *testing.T, s *suite) {
	for range 60 {
		seed := rand.Uint64()
		if !agrees(s, rand.New(rand.NewPCG(seed, 1))) {
			t.Fatalf("seed %d", seed)
		}
	}
}

func agrees(s *suite, r *rand.Rand) bool {
	id := newID()
	var cur *record.Record
	var claims []*record.Record
	for step := range 12 {
		cmd := command(r, cur, &claims)
		model := cmd
		if cmd.Next != nil {
			copied := *cmd.Next
			model.Next = &copied
		}
		// Leases never end here: nothing depends on the time.
		want := record.Apply(cur, 0, 1, model)
		got := s.do(id, cmd)
		what := fmt.Sprintf("step %d, %s", step, cmd.Op)
		if got.Result != want.Answer.Result {
			s.t.Errorf("%s: result %d, the rule says %d (record %+v, next %+v)", what, got.Result, want.Answer.Result, cur, cmd.Next)
			return false
		}
		if want.Write {
			if cur = want.Record; cur != nil {
				copied := *cur
				cur = &copied
			}
		}
		stored := s.look(id).Record
		if cur != nil && stored != nil && cmd.Next != nil && want.Write && (cmd.Op == record.Begin || cmd.Op == record.Expire) {
			// Fences are the store's.
			cur.Fence, cur.Origin = stored.Fence, stored.Origin
			cmd.Next.Fence, cmd.Next.Origin, cmd.Next.Attempt = stored.Fence, stored.Origin, stored.Attempt
			claims = append(claims, cmd.Next)
		}
		if diff := cmp.Diff(cur, stored, cmpopts.EquateEmpty()); diff != "" {
			s.t.Errorf("%s: the record (-rule +store):\n%s", what, diff)
			return false
		}
	}
	return true
}

// command is a random one, of an owner there was or of a new one.
func command(r *rand.Rand, cur *record.Record, claims *[]*record.Record) record.Command {
	fresh := claim(byte(10+len(*claims)), long)
	if len(*claims) == 0 {
		return record.Command{Op: record.Begin, Next: fresh}
	}
	c := (*claims)[r.IntN(len(*claims))]
	ref := c.Ref()
	if r.IntN(8) == 0 {
		ref.Fence++
	}
	switch r.IntN(8) {
	case 0:
		return record.Command{Op: record.Begin, Next: fresh}
	case 1:
		copied := *c
		return record.Command{Op: record.Begin, Next: &copied}
	case 2:
		if cur != nil {
			ref = cur.Ref()
		}
		return record.Command{Op: record.Expire, Ref: ref, Next: fresh}
	case 3:
		return record.Command{Op: record.Expire, Ref: ref}
	case 4:
		return record.Command{Op: record.Release, Ref: ref}
	case 5:
		return record.Command{Op: record.Release, Ref: ref, Next: final(c, record.Released, ""), Keep: time.Minute}
	default:
		states := []record.State{record.Complete, record.Unknown, record.Tombstone, record.Inflight}
		f := final(c, states[r.IntN(4)], "p")
		if f.State == record.Inflight {
			f.Stamp = 0
		}
		f.Fence = max(1, ref.Fence)
		return record.Command{Op: record.Finish, Next: f}
	}
}
