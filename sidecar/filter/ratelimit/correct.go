// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
)

// Correction is what a response has changed in what its request has cost.
type Correction uint8

// The corrections.
const (
	// CostMore and CostLess than was taken, CostSame.
	CostMore Correction = iota
	CostLess
	CostSame
	// CostAbsent and CostMalformed: the response does not say it, or not in a way that
	// can be read.
	CostAbsent
	CostMalformed
	// CostReplayed: what a replay has cost was given back.
	CostReplayed
	// CostDropped: the store was away or busy.
	CostDropped
	// CostLate: it is too late for giving back.
	CostLate
)

// String is the correction as a metric's label.
func (c Correction) String() string {
	return [...]string{"more", "less", "same", "absent", "malformed", "replayed", "dropped", "late"}[c]
}

// fieldRE is a name of a field, lower case.
var fieldRE = regexp.MustCompile("^[a-z0-9!#$%&'*+.^_`|~-]{1,256}$")

// compileCosts reads what a limit's requests cost beside what they take at first.
func (c *limit) compileCosts(l *snapshot.Limit) error {
	c.costHeader, c.byResponse, c.freeReplays = l.GetCostHeader(), l.GetCostByResponse(), l.GetFreeReplays()
	if l.GetAlgorithm() == snapshot.Algorithm_ALGORITHM_CONCURRENCY {
		if c.costHeader != "" || c.byResponse || c.freeReplays {
			return fmt.Errorf("a limit of concurrency has no cost_header, cost_by_response or free_replays")
		}
		return nil
	}
	if c.costHeader != "" && !fieldRE.MatchString(c.costHeader) {
		return fmt.Errorf("cost_header %.40q is no name of a field in lower case", c.costHeader)
	}
	if c.byResponse && (c.costHeader == "" || l.GetCost() > 1) {
		return fmt.Errorf("cost_by_response is set without cost_header, or with a cost")
	}
	return nil
}

// postpaid: what a request has cost is known when it is over.
func (c *limit) postpaid() bool { return c.costHeader != "" || c.freeReplays }

// owe marks what the response can correct. Shadows count what they have allowed,
// whatever the others say.
func (f *Filter) owe(s *scratch, denied bool) {
	s.owing = false
	if !f.postpaid {
		return
	}
	for i := range s.hits {
		h := &s.hits[i]
		h.owes = h.limit.postpaid() && h.decided && h.d.Allowed && (h.limit.shadow || !denied)
		s.owing = s.owing || h.owes
	}
}

// ResponseHead corrects what the request has cost by what the application says.
func (f *Filter) ResponseHead(x *exchange.Exchange) {
	if !f.postpaid {
		return
	}
	for _, name := range f.hidden {
		x.HideResponse(name)
	}
	s, ok := x.State(f.env.Slot).(*scratch)
	if !ok || !s.owing || x.Replayed {
		return
	}
	for i := range s.hits {
		h := &s.hits[i]
		if !h.owes || h.limit.costHeader == "" {
			continue
		}
		cost, c := costOf(x.Response, h.limit.costHeader)
		if c != CostSame {
			h.limit.corrected(c)
			continue
		}
		f.correct(x, h, int64(cost)-int64(h.terms.rule.Cost()))
		h.owes = false
	}
}

// settle is called at the end: replays may be free, and so is what no response has
// said the cost of, with byResponse.
func (f *Filter) settle(x *exchange.Exchange, s *scratch) {
	if !s.owing {
		return
	}
	s.owing = false
	for i := range s.hits {
		h := &s.hits[i]
		if h.owes && (h.limit.byResponse || h.limit.freeReplays && x.Replayed) {
			c := f.giveBack(x, h, int64(h.terms.rule.Cost()))
			if c == CostLess && x.Replayed {
				c = CostReplayed
			}
			h.limit.corrected(c)
		}
		h.owes = false
	}
}

// costOf is what the response says, with CostSame where it can be read.
func costOf(r exchange.ResponseHeaders, name string) (uint64, Correction) {
	if r == nil {
		return 0, CostAbsent
	}
	value, n := r.Header(name)
	switch {
	case n == 0:
		return 0, CostAbsent
	case n > 1 || len(value) == 0 || len(value) > 10:
		return 0, CostMalformed
	}
	cost := uint64(0)
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, CostMalformed
		}
		cost = cost*10 + uint64(c-'0')
	}
	if cost > limiter.MaxDebit {
		return 0, CostMalformed
	}
	return cost, CostSame
}

// correct counts delta units more, or less.
func (f *Filter) correct(x *exchange.Exchange, h *hit, delta int64) {
	c := CostSame
	switch {
	case delta < 0:
		c = f.giveBack(x, h, -delta)
	case delta > 0 && f.change(h, delta):
		c = CostMore
	case delta > 0:
		c = CostDropped
	}
	h.limit.corrected(c)
}

// giveBack gives back n units, while their receipt can be used.
func (f *Filter) giveBack(x *exchange.Exchange, h *hit, n int64) Correction {
	switch {
	case !x.Start.IsZero() && time.Since(x.Start) > limiter.ReceiptLife*time.Microsecond:
		return CostLate
	case !f.change(h, -n):
		return CostDropped
	}
	return CostLess
}

// change corrects where the request was counted. It does not wait.
func (f *Filter) change(h *hit, delta int64) bool {
	if h.source == FromStore || h.source == FromLease {
		return f.store.Correct(limiter.Op{ID: h.limit.id, Rule: &h.terms.rule, Key: h.key, Shadow: h.limit.shadow, Decision: h.d}, delta)
	}
	h.limit.table.Correct(h.key, &h.rule, h.d.Receipt, delta)
	return true
}

func (c *limit) corrected(what Correction) {
	if c.metrics != nil {
		c.metrics.Corrected(what)
	}
}

// hide adds the field in which the application says what a limit's requests cost: it
// is for Weir. A shadow leaves the answer as it is.
func (f *Filter) hide(c *limit) {
	f.postpaid = f.postpaid || c.postpaid()
	if c.costHeader != "" && !c.shadow && !slices.Contains(f.hidden, c.costHeader) {
		f.hidden = append(f.hidden, c.costHeader)
	}
}
