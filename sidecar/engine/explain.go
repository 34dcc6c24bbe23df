// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency"
	"weir.dev/weir/sidecar/filter/ratelimit"
)

// RateLimit is the filter of a port that enforces its RateLimitPolicy, nil where
// there is none, for those who want it explained.
func RateLimit(p *exchange.Port) *ratelimit.Filter {
	for _, f := range p.Chain {
		if c, ok := f.(*crowdFilter); ok {
			f = c.Filter
		}
		if r, ok := f.(*ratelimit.Filter); ok {
			return r
		}
	}
	return nil
}

// Idempotency is the filter of a port that enforces its IdempotencyPolicy, nil where
// there is none, for those who want it explained.
func Idempotency(p *exchange.Port) *idempotency.Filter {
	for _, f := range p.Chain {
		if r, ok := f.(*idempotency.Filter); ok {
			return r
		}
	}
	return nil
}
