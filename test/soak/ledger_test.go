// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"weir.dev/weir/sidecar/exchange"
)

// reckless is the first id of calls whose clients may leave at any time.
const reckless = 1 << 40

// entry is what is known of one call by its client and by the filter.
type entry struct {
	call *call
	// sure: the client behaves, and its port has filters all the time.
	sure bool
	// finished: the client is through with it.
	finished bool
	heads    int
	ends     int
	outcome  exchange.Outcome
	status   int
}

// ledger is a filter too, the first of each port. It forgets a call when all sides
// have said what they have to.
type ledger struct {
	fail func(format string, args ...any)
	// asked is called with each request, before its policies.
	asked    func()
	outcomes [4]atomic.Int64

	mu      sync.Mutex
	entries map[uint64]*entry
	// late is how many calls filters have begun and not ended whose clients had
	// left before.
	late int
}

func newLedger(fail func(string, ...any)) *ledger {
	return &ledger{fail: fail, entries: map[uint64]*entry{}}
}

func (l *ledger) begin(c *call, sure bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[c.id] = &entry{call: c, sure: sure}
}

func (l *ledger) finish(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[c.id].finished = true
	l.settle(c.id)
}

// seen reports whether a filter has seen one of the calls, which are not finished.
func (l *ledger) seen(calls []*call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range calls {
		if l.entries[c.id].heads > 0 {
			return true
		}
	}
	return false
}

func idOf(x *exchange.Exchange) uint64 {
	path := string(x.RawPath)
	id, _ := strconv.ParseUint(path[strings.LastIndexByte(path, '/')+1:], 10, 64)
	return id
}

// Head counts the request.
func (l *ledger) Head(x *exchange.Exchange) exchange.Verdict {
	id := idOf(x)
	l.mu.Lock()
	switch e := l.entries[id]; {
	case e != nil:
		if e.heads++; e.heads > 1 {
			l.fail("a filter sees %q again", x.RawPath)
		}
	case id >= reckless:
		l.late++
	default:
		l.fail("a filter sees %q, which nobody has sent, or not now", x.RawPath)
	}
	l.mu.Unlock()
	l.asked()
	return exchange.Continue
}

func (*ledger) MaxBody() int                             { return 0 }
func (*ledger) Body(*exchange.Exchange) exchange.Verdict { return exchange.Continue }
func (*ledger) ResponseHead(*exchange.Exchange)          {}

// End keeps how it ended.
func (l *ledger) End(x *exchange.Exchange, o exchange.Outcome) {
	l.outcomes[o].Add(1)
	id := idOf(x)
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[id]
	if e == nil {
		if l.late--; id < reckless || l.late < 0 {
			l.fail("a filter is told the end of %q again", x.RawPath)
		}
		return
	}
	e.ends++
	e.outcome, e.status = o, x.Status
	l.settle(id)
}

// settle holds an entry against what must be, once nothing more is to come.
func (l *ledger) settle(id uint64) {
	e := l.entries[id]
	if !e.finished || e.heads != e.ends || e.sure && e.heads == 0 {
		return
	}
	delete(l.entries, id)
	if e.sure && !fits(e) {
		l.fail("%s: filters were told %v, %d", e.call.target(), e.outcome, e.status)
	}
}

// fits reports whether filters were told the truth of a call whose client behaves.
func fits(e *entry) bool {
	if e.call.limited && e.status == 429 {
		return e.outcome == exchange.NotSent
	}
	switch replies[e.call.reply] {
	case answered:
		return e.outcome == exchange.Replied && (e.status == 200 || e.status == 204 || e.status == 304 || e.status == 101 && e.call.reply == "tunnel")
	case unanswered:
		return e.outcome == exchange.SentNoReply
	case torn:
		return e.outcome == exchange.Aborted || e.call.reply == "shortreset" && e.outcome == exchange.SentNoReply
	default:
		return e.outcome != exchange.NotSent
	}
}

// audit is called when nothing goes on any more.
func (l *ledger) audit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.late != 0 {
		l.fail("%d calls whose clients had left were begun and not ended", l.late)
	}
	for _, e := range l.entries {
		switch {
		case e.heads != e.ends:
			l.fail("%s: %d times begun, %d times ended", e.call.target(), e.heads, e.ends)
		case e.sure:
			l.fail("%s: no filter has seen it", e.call.target())
		}
	}
}
