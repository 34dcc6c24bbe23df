// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
)

// Problem types, see docs/problems.md.
const (
	// TypeQuotaExceeded is registered by the RateLimit fields' draft.
	TypeQuotaExceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	// TypeAbnormalUsage is a limit's penalty; registered there too.
	TypeAbnormalUsage = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"
	// TypeReducedCapacity is a limit of concurrency; registered there too.
	TypeReducedCapacity = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
	// TypeStoreUnavailable is failurePolicy Closed.
	TypeStoreUnavailable = "https://weir.dev/problems/store-unavailable"
	// TypeMissingKey is onMissingKey Deny.
	TypeMissingKey = "https://weir.dev/problems/rate-limit-key-missing"
)

// denyQuota answers for the limits that have denied: 429, or 503 when all that is
// exceeded is how many requests are in progress.
func (f *Filter) denyQuota(x *exchange.Exchange, s *scratch) exchange.Verdict {
	d := exchange.Denial{
		Status: http.StatusServiceUnavailable,
		Type:   TypeReducedCapacity,
		Title:  "Temporarily Reduced Capacity",
		Policy: f.policy,

		Exhausted: true,
	}
	var detail strings.Builder
	var retry int64
	for i := range s.hits {
		h := &s.hits[i]
		if !h.decided || h.limit.shadow || h.d.Allowed {
			continue
		}
		d.Limits = append(d.Limits, h.limit.name)
		retry = max(retry, h.seconds())
		word := "Limit"
		if detail.Len() > 0 {
			word = "; limit"
		}
		if p := h.limit.penalty; h.d.Banned {
			d.Status, d.Type, d.Title = http.StatusTooManyRequests, TypeAbnormalUsage, "Abnormal Usage Detected"
			fmt.Fprintf(&detail, "%s %s denies everything for %d s after %d denial%s within %d s",
				word, h.limit.name, p.Ban()/1e6, p.Denials(), plural(p.Denials()), p.Within()/1e6)
			continue
		}
		// Named by what was published, also while this pod's share holds.
		n := h.terms.rule.Limit()
		if h.rule.Algorithm() == limiter.Concurrency {
			fmt.Fprintf(&detail, "%s %s allows %d request%s in progress", word, h.limit.name, n, plural(n))
			continue
		}
		if d.Type != TypeAbnormalUsage {
			d.Status, d.Type, d.Title = http.StatusTooManyRequests, TypeQuotaExceeded, "Quota Exceeded"
		}
		fmt.Fprintf(&detail, "%s %s allows %d request%s per %s", word, h.limit.name, n, plural(n), h.terms.every())
		if cost := h.terms.rule.Cost(); cost > 1 {
			fmt.Fprintf(&detail, ", and this one counts as %d", cost)
		}
	}
	fmt.Fprintf(&detail, "; retry in %d s.", retry)
	d.Detail = detail.String()
	d.RetryAfter = time.Duration(f.spread(retry)) * time.Second
	f.deny(x, d)
	return exchange.Respond
}

// Bounds of what spread adds, in seconds.
const (
	leastSpread = 5
	mostSpread  = 60
)

// spread lengthens a wait by up to a tenth, so that the clients that were denied in
// one window do not all come back in the same second. It is whole seconds: waits of 5
// to 9 s get up to one, shorter ones none.
func (f *Filter) spread(seconds int64) int64 {
	if f.env.Random == nil || seconds < leastSpread {
		return seconds
	}
	return seconds + f.env.Random(min(max(1, seconds/10), mostSpread)+1)
}

func plural(n uint64) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// denyClosed answers 503 for a store that does not decide.
func (f *Filter) denyClosed(x *exchange.Exchange, s *scratch) exchange.Verdict {
	d := exchange.Denial{
		Status:     http.StatusServiceUnavailable,
		Type:       TypeStoreUnavailable,
		Title:      "Store Unavailable",
		Policy:     f.policy,
		RetryAfter: time.Second,
	}
	for i := range s.hits {
		if l := s.hits[i].limit; l.shared && !l.shadow {
			d.Limits = append(d.Limits, l.name)
		}
	}
	d.Detail = fmt.Sprintf("The store that counts %s does not answer, and the policy's failurePolicy is Closed; retry in 1 s.", strings.Join(d.Limits, ", "))
	f.deny(x, d)
	return exchange.Respond
}

// denyMissing answers 400 for a request that lacks what l counts by.
func (f *Filter) denyMissing(x *exchange.Exchange, l *limit) exchange.Verdict {
	l.decided(Denied, FromMissingKey)
	f.deny(x, exchange.Denial{
		Status: http.StatusBadRequest,
		Type:   TypeMissingKey,
		Title:  "Rate Limit Key Missing",
		Detail: fmt.Sprintf("Limit %s counts requests by %s; each must be sent exactly once and not empty.", l.name, f.specs[l.spec].describe()),
		Policy: f.policy,
		Limits: []string{l.name},
	})
	return exchange.Respond
}

func (spec *keySpec) describe() string {
	var names []string
	for i := range spec.parts {
		names = append(names, spec.parts[i].String())
	}
	return strings.Join(names, " and ")
}
