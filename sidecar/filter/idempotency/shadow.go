// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/ledger"
)

// wouldRefuse counts a refusal that does not happen.
func (f *Filter) wouldRefuse() exchange.Verdict {
	f.env.Shadow.Refuse.Add(1)
	f.count(WouldRefuse)
	return exchange.Continue
}

// observe counts what would have come of the request, and lets it pass.
func (f *Filter) observe(s *scratch, r ledger.Result) exchange.Verdict {
	switch r.Kind {
	case ledger.Claimed:
		f.count(WouldExecute)
		if !r.Claim.Dispatch() {
			r.Claim.End()
			return exchange.Continue
		}
		s.claim = r.Claim
	case ledger.Replay, ledger.Joined, ledger.NotRetained:
		// Records of Shadow have no bodies.
		f.env.Shadow.Replay.Add(1)
		f.count(WouldReplay)
	case ledger.InFlight:
		f.env.Shadow.Wait.Add(1)
		f.count(WouldWait)
	case ledger.Unavailable:
		f.count(FailedOpen)
	default:
		return f.wouldRefuse()
	}
	return exchange.Continue
}
