// SPDX-License-Identifier: Apache-2.0

package record

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is one record and those who work on it, in any order: sidecars that claim,
// execute, crash, pause, and lose answers; and a store that may lose writes.
type model struct {
	t      *rapid.T
	amo    bool
	cur    *Record
	since  uint64
	now    uint64
	actors []*actor

	// past are records there were before cur.
	past      []*Record
	lost      bool
	executed  int // dispatches that nobody has taken back
	lastFence uint64
	response  string
}

// actor is one call, in one sidecar.
type actor struct {
	call   Asker
	claim  *Record
	next   *Command
	phase  string // asking, claimed, dispatched, done
	robbed bool   // the store has lost its claim
}

const modelLease = 10 * time.Microsecond

func (m *model) age() time.Duration { return time.Duration(m.now-m.since) * time.Microsecond }

// apply carries out cmd; the answer may be lost.
func (m *model) apply(cmd Command) Answer {
	m.now++
	step := Apply(m.cur, m.age(), m.now, cmd)
	if step.Write {
		m.since = m.now
		m.past = append(m.past, m.cur)
		if m.cur = step.Record; m.cur != nil {
			copied := *m.cur
			m.cur = &copied
		}
	}
	return step.Answer
}

func (m *model) answerLost() bool { return rapid.IntRange(0, 5).Draw(m.t, "answer lost") == 0 }

func (m *model) arrive() {
	if len(m.actors) > 6 {
		return
	}
	a := &actor{phase: "asking", call: Asker{Owner: Owner{byte(len(m.actors) + 1)}, Fingerprint: Digest{1}, AtLeastOnce: !m.amo}}
	a.next = &Command{Op: Begin, Next: m.claimOf(a)}
	m.actors = append(m.actors, a)
}

func (m *model) claimOf(a *actor) *Record {
	r := &Record{State: Inflight, Owner: a.call.Owner, Fingerprint: a.call.Fingerprint, Lease: modelLease, Retention: time.Hour}
	if !m.amo {
		r.Flags |= AtLeastOnce
	}
	return r
}

// ask makes one step of one who has no claim.
func (m *model) ask(a *actor) {
	answer := m.apply(*a.next)
	if m.answerLost() {
		if a.next.Next != nil {
			// It gives up, and takes back what it may have claimed.
			m.apply(Command{Op: Release, Ref: Ref{Owner: a.call.Owner}})
			a.phase = "done"
		}
		return
	}
	v := Mine
	switch {
	case a.next.Op == Expire && a.next.Next == nil && answer.Result == Applied:
		v = OutcomeUnknown
	case answer.Result == Missing:
		a.next = &Command{Op: Begin, Next: m.claimOf(a)}
		return
	case answer.Result == Found:
		v = answer.Record.Decide(answer.Age, &a.call)
	}
	switch v {
	case Mine:
		a.claim, a.phase = a.next.Next, "claimed"
	case Wait, NeedAge:
		a.next = &Command{Op: Look}
	case GiveUp:
		a.next = &Command{Op: Expire, Ref: answer.Record.Ref()}
	case TakeOver:
		a.next = &Command{Op: Expire, Ref: answer.Record.Ref(), Next: m.claimOf(a)}
	case Replay:
		m.sees(string(answer.Record.Payload))
		a.phase = "done"
	default:
		a.phase = "done"
	}
}

// sees checks that there is one response.
func (m *model) sees(response string) {
	if m.response == "" {
		m.response = response
	}
	if m.response != response && !m.lost {
		m.t.Fatalf("two responses: %q and %q", m.response, response)
	}
}

func (m *model) dispatch(a *actor) {
	m.now++
	a.phase = "dispatched"
	m.executed++
	if a.claim.Fence > m.lastFence {
		m.lastFence = a.claim.Fence
	} else if m.amo && !m.lost {
		m.t.Fatalf("fence %d is dispatched after %d", a.claim.Fence, m.lastFence)
	}
	if m.executed > 1 && m.amo && !m.lost {
		m.t.Fatal("two dispatches, and no write was lost")
	}
}

// settle ends a dispatched claim; answers that are lost are asked for again.
func (m *model) settle(a *actor, state State) {
	final := *a.claim
	final.State = state
	cmd := Command{Op: Finish, Next: &final}
	switch state {
	case Complete:
		final.Payload = []byte{a.call.Owner[0]}
	case Released:
		cmd = Command{Op: Release, Ref: a.claim.Ref(), Next: &final}
		m.executed--
	}
	answer := m.apply(cmd)
	for m.answerLost() {
		again := m.apply(cmd)
		if answer.Result == Applied && again.Result != Applied && !m.lost {
			m.t.Fatalf("repeated, %s of %c is %d", cmd.Op, state, again.Result)
		}
		// What is lost is found out by the first that arrives.
		if answer.Result != Lost {
			answer = again
		}
	}
	a.phase = "done"
	flagged := answer.Result == Lost || answer.Result == Found && a.claim.LostBefore(answer.Record)
	// Another's record is a duplicate, to say the least.
	other := answer.Result == Found && answer.Record.Owner != a.claim.Owner
	if a.robbed && cmd.Op == Finish && !flagged && !other {
		m.t.Fatalf("its claim was lost, and it is told %d with %+v", answer.Result, answer.Record)
	}
	if flagged && !m.lost {
		m.t.Fatal("a loss is told where there was none")
	}
	if state == Complete && answer.Result != Found {
		m.sees(string(final.Payload))
	}
	if state == Complete && answer.Result == Found && answer.Record.State == Complete {
		m.sees(string(answer.Record.Payload))
	}
}

// TestModel: any interleaving keeps what is promised.
func TestModel(t *testing.T) {
	for name, lossy := range map[string]bool{"no write is lost": false, "writes are lost": true} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := &model{t: t, amo: rapid.Bool().Draw(t, "at most once"), now: 1000}
				for range 60 {
					m.step(lossy)
				}
			})
		})
	}
}

// lose puts one of the records of before in the place of the one there is.
func (m *model) lose() {
	owner := m.cur.Owner
	n := rapid.IntRange(0, len(m.past)-1).Draw(m.t, "back to")
	m.cur, m.past, m.lost = m.past[n], m.past[:n], true
	for _, a := range m.actors {
		a.robbed = a.robbed || a.call.Owner == owner && (m.cur == nil || m.cur.Owner != owner)
	}
}

func (m *model) step(lossy bool) {
	m.now++
	switch rapid.IntRange(0, 9).Draw(m.t, "step") {
	case 0:
		m.arrive()
		return
	case 1:
		m.now += 20 // a pause longer than the lease
		return
	case 2:
		if lossy && m.cur != nil && (m.cur.State == Inflight || m.cur.State == Unknown) {
			m.lose()
		}
		return
	}
	var live []*actor
	for _, a := range m.actors {
		if a.phase != "done" {
			live = append(live, a)
		}
	}
	if len(live) == 0 {
		return
	}
	a := live[rapid.IntRange(0, len(live)-1).Draw(m.t, "actor")]
	switch what := rapid.IntRange(0, 9).Draw(m.t, "what"); {
	case what == 0:
		a.phase = "done" // crashed
	case a.phase == "asking":
		m.ask(a)
	case what == 1 && a.phase == "dispatched" && rapid.Bool().Draw(m.t, "assert"):
		claim := *a.claim
		answer := m.apply(Command{Op: Finish, Next: &claim})
		if answer.Result == Lost && !m.lost {
			m.t.Fatal("a loss is told where there was none")
		}
		a.robbed = a.robbed && answer.Result != Lost
	case what == 1:
		m.apply(Command{Op: Renew, Next: a.claim})
	case a.phase == "claimed" && what == 2:
		m.apply(Command{Op: Release, Ref: a.claim.Ref()})
		a.phase = "done"
	case a.phase == "claimed":
		m.dispatch(a)
	case what == 2:
		m.settle(a, Released)
	case what == 3 && m.amo:
		m.settle(a, Unknown)
	default:
		m.settle(a, Complete)
	}
}
