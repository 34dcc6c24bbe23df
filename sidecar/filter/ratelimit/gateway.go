// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"fmt"
	"net/http"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
)

// times are the terms for an exchange that stands for n requests; nil where so many
// never fit.
func (t *terms) times(n uint64) *terms {
	if n > limiter.MaxCost {
		return nil
	}
	rule, err := t.rule.Costing(n * t.rule.Cost())
	if err != nil {
		return nil
	}
	c := *t
	c.rule = rule
	return &c
}

// denyTooMany answers for a limit that the exchange's requests never fit into.
// Nothing was spent.
func (f *Filter) denyTooMany(x *exchange.Exchange, l *limit) exchange.Verdict {
	l.decided(Denied, FromMemory)
	x.Deny(exchange.Denial{
		Status: http.StatusTooManyRequests,
		Type:   TypeQuotaExceeded,
		Title:  "Quota Exceeded",
		Detail: fmt.Sprintf("Limit %s never lets %d requests pass at once.", l.name, x.Hits),
		Policy: f.policy,
		Limits: []string{l.name},

		Exhausted: true,
	})
	return exchange.Respond
}

// Standing is where a limit stands.
type Standing struct {
	Limit string
	// Requests are possible per Window, or Period of the calendar where there is one.
	Requests uint64
	Window   time.Duration
	Period   limiter.Period
	// Remaining and Reset are r and t of RateLimit.
	Remaining uint64
	Reset     time.Duration
}

// Stands returns, between Head and the next one, where the limit stands that
// X-RateLimit fields are about: that has denied, else that with the least left. It is
// false where no limit shows. For protocols that say it in other ways than fields.
func Stands(x *exchange.Exchange) (Standing, bool) {
	for slot := range exchange.MaxFilters {
		s, ok := x.State(slot).(*scratch)
		if !ok {
			continue
		}
		h := s.tightest()
		if h == nil {
			return Standing{}, false
		}
		at := Standing{
			Limit: h.limit.name, Requests: h.terms.rule.Limit(), Window: time.Duration(h.terms.rule.Window()) * time.Microsecond,
			Remaining: h.d.Remaining, Reset: time.Duration(h.seconds()) * time.Second,
		}
		if c := h.terms.rule.Calendar(); c != nil {
			at.Period = c.Period()
		}
		return at, true
	}
	return Standing{}, false
}
