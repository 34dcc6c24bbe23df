// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"bytes"
	"fmt"
	"slices"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/filter/limiter"
)

// maxOverrides of a limit, api.md.
const maxOverrides = 64

// terms are what a limit grants: to everybody, or by an override to one key.
type terms struct {
	key       limiter.Key // an override's
	unlimited bool
	rule      limiter.Rule
	item      string // its member of RateLimit-Policy
}

// makeTerms of a limit or an override.
func makeTerms(l *snapshot.Limit, c *limiter.Calendar, limit, burst uint64) (terms, error) {
	a, err := algorithm(l.GetAlgorithm())
	if err != nil {
		return terms{}, err
	}
	t := terms{}
	switch {
	case a == limiter.Concurrency && (c != nil || l.GetWindowSeconds() != 0 || burst != 0 || l.GetCost() != 0):
		err = fmt.Errorf("a limit of concurrency has no window, burst or cost")
	case a == limiter.Concurrency:
		t.rule, err = limiter.NewConcurrency(limit)
		t.item = fmt.Sprintf(`"%s";q=%d;qu="concurrent-requests"`, l.GetName(), limit)
		return t, err
	case c == nil:
		t.rule, err = limiter.NewRule(a, limit, l.GetWindowSeconds(), burst)
	case a != limiter.FixedWindow || l.GetWindowSeconds() != 0 || burst != 0:
		err = fmt.Errorf("only a FixedWindow without a window has a calendar")
	default:
		t.rule, err = limiter.NewCalendarRule(limit, c)
	}
	if err != nil {
		return terms{}, err
	}
	if t.rule, err = t.rule.Costing(max(1, l.GetCost())); err != nil {
		return terms{}, err
	}
	if l.GetCostHeader() != "" || l.GetFreeReplays() {
		t.rule = t.rule.Postpaid()
	}
	if l.GetLeased() {
		// A denial that a penalty counts is known to the store only.
		if a != limiter.TokenBucket || l.GetScope() != snapshot.Scope_SCOPE_CLUSTER || l.GetPenalty() != nil {
			return terms{}, fmt.Errorf("only a TokenBucket with scope Cluster and without penalty can be leased")
		}
		t.rule = t.rule.Leased()
	}
	t.item = fmt.Sprintf(`"%s";q=%d;w=%d`, l.GetName(), limit, t.rule.Window()/1e6)
	if a == limiter.TokenBucket {
		t.item += fmt.Sprintf(";weir-burst=%d", burst)
	}
	return t, nil
}

// compileCalendar returns nil for a limit without one.
func compileCalendar(l *snapshot.Limit) (*limiter.Calendar, error) {
	if l.GetCalendar() == nil {
		return nil, nil
	}
	p := map[snapshot.Calendar_Period]limiter.Period{
		snapshot.Calendar_PERIOD_DAY: limiter.Day, snapshot.Calendar_PERIOD_WEEK: limiter.Week, snapshot.Calendar_PERIOD_MONTH: limiter.Month,
	}[l.GetCalendar().GetPeriod()]
	c, err := limiter.NewCalendar(p, l.GetCalendar().GetTimeZone())
	if err != nil {
		return nil, fmt.Errorf("calendar: %w", err)
	}
	return c, nil
}

// every is the rule's window in a sentence.
func (t *terms) every() string {
	if c := t.rule.Calendar(); c != nil {
		return fmt.Sprintf("%s (%s)", c.Period(), c.Zone())
	}
	return fmt.Sprintf("%d s", t.rule.Window()/1e6)
}

// compileOverrides returns the limit's overrides, sorted by key.
func compileOverrides(l *snapshot.Limit, c *limiter.Calendar, spec *keySpec) ([]terms, error) {
	if n := len(l.GetOverrides()); n > maxOverrides {
		return nil, fmt.Errorf("overrides has %d entries, at most %d are possible", n, maxOverrides)
	}
	var out []terms
	for i, o := range l.GetOverrides() {
		t := terms{unlimited: o.GetLimit() == 0}
		var err error
		if !t.unlimited {
			if t, err = makeTerms(l, c, o.GetLimit(), o.GetBurst()); err != nil {
				return nil, fmt.Errorf("overrides[%d]: %w", i, err)
			}
		}
		if t.key, err = spec.keyOf(o.GetKey()); err != nil {
			return nil, fmt.Errorf("overrides[%d]: %w", i, err)
		}
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b terms) int { return bytes.Compare(a.key[:], b.key[:]) })
	for i := 1; i < len(out); i++ {
		if out[i].key == out[i-1].key {
			return nil, fmt.Errorf("two overrides have the same key")
		}
	}
	return out, nil
}

// keyOf is the key of requests whose members have these values.
func (spec *keySpec) keyOf(values []string) (limiter.Key, error) {
	if len(values) != len(spec.parts) || len(values) == 0 {
		return limiter.Key{}, fmt.Errorf("its key has %d values, the limit's key %d members", len(values), len(spec.parts))
	}
	var buf []byte
	for i, v := range values {
		var err error
		if buf, err = spec.parts[i].AppendGiven(buf, v); err != nil {
			return limiter.Key{}, fmt.Errorf("key[%d] %w", i, err)
		}
	}
	return hash(buf), nil
}

// termsFor are what holds for a key.
func (l *limit) termsFor(key *limiter.Key) *terms {
	from, to := 0, len(l.overrides)
	for from < to {
		mid := int(uint(from+to) >> 1)
		switch bytes.Compare(l.overrides[mid].key[:], key[:]) {
		case 0:
			return &l.overrides[mid]
		case -1:
			from = mid + 1
		default:
			to = mid
		}
	}
	return &l.terms
}
