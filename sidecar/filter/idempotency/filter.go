// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"context"
	"encoding/hex"
	"strconv"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/ledger"
	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/nskey"
)

// Fields to the application, and from it.
const (
	fieldID      = "weir-idempotency-id"
	fieldFence   = "weir-idempotency-fence"
	fieldAttempt = "weir-idempotency-attempt"
	fieldOutcome = "weir-idempotency-outcome"
)

// Fields to the client.
const (
	fieldStatus   = "Idempotency-Status"
	fieldReplayed = "Idempotent-Replayed"
	lowerStatus   = "idempotency-status"
	lowerReplayed = "idempotent-replayed"
)

// Head decides what the head alone decides.
func (f *Filter) Head(x *exchange.Exchange) exchange.Verdict {
	s := f.scratch(x)
	s.ignored = false
	rule, ok := f.match.Match(x, &s.params)
	if !ok {
		f.strip(x)
		return exchange.Continue
	}
	s.reset()
	s.rule = rule
	if passes(x) {
		return f.ignore(x, Ignored)
	}
	if state, why := f.findScope(x, s); state != keyFound {
		return f.without(x, state, why)
	}
	state, why := f.findKey(x, s, false)
	switch {
	case state == keyMissing || state == keyInvalid:
		return f.without(x, state, why)
	case state == keyLater || f.body:
		return exchange.NeedBody
	}
	return f.decide(x, s)
}

// passes reports whether x is never recorded.
func passes(x *exchange.Exchange) bool {
	switch string(x.Method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "CONNECT":
		return true
	}
	return x.GRPC
}

// MaxBody bounds the body of a request that is recorded.
func (f *Filter) MaxBody() int { return f.maxRequest }

// Body decides where the body was needed.
func (f *Filter) Body(x *exchange.Exchange) exchange.Verdict {
	s := f.scratch(x)
	if state, why := f.findKey(x, s, true); state != keyFound {
		return f.without(x, state, why)
	}
	return f.decide(x, s)
}

// Oversize does as the policy says.
func (f *Filter) Oversize(x *exchange.Exchange) exchange.Verdict {
	switch {
	case f.passOversize:
		return f.ignore(x, Ignored)
	case f.shadow:
		return f.wouldRefuse()
	}
	return f.denyTooLarge(x)
}

// without handles a request that has no key to go by.
func (f *Filter) without(x *exchange.Exchange, state keyState, why string) exchange.Verdict {
	reject := f.missing == snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_REJECT && x.Delivery == nil
	switch {
	case state == keyMissing && !reject:
		return f.ignore(x, Ignored)
	case f.shadow:
		return f.wouldRefuse()
	case state == keyMissing:
		return f.denyMissing(x, why)
	}
	return f.denyInvalid(x, why)
}

// ignore lets x pass unrecorded.
func (f *Filter) ignore(x *exchange.Exchange, r Result) exchange.Verdict {
	f.count(r)
	if f.shadow {
		return exchange.Continue
	}
	f.strip(x)
	f.scratch(x).ignored = true
	x.Add(fieldStatus, []byte("ignored"))
	return exchange.Continue
}

// strip takes away what only Weir may tell the application.
func (f *Filter) strip(x *exchange.Exchange) {
	if f.shadow {
		return
	}
	x.SetUpstream(fieldID, nil)
	x.SetUpstream(fieldFence, nil)
	x.SetUpstream(fieldAttempt, nil)
}

// decide asks the ledger.
func (f *Filter) decide(x *exchange.Exchange, s *scratch) exchange.Verdict {
	pair := f.env.Keys.Load()
	if pair == nil || f.env.Sealer != nil && !f.env.Sealer.Ready() {
		return f.unavailable(x, ledger.Result{Kind: ledger.Unavailable})
	}
	ctx := x.Context
	if ctx == nil {
		ctx = context.Background()
	}
	keys, err := f.keysOf(ctx, pair, s)
	if err != nil {
		return f.unavailable(x, ledger.Result{Kind: ledger.Unavailable})
	}
	f.print(x, s)
	s.call = ledger.Call{
		ID:          f.id(keys, s),
		Fingerprint: record.Digest(s.records.mac(&keys.Records, ofFingerprint, s.buf)),
		Credentials: f.credentials(x, keys, s),
		Terms:       &f.terms,
	}
	switch {
	case x.Delivery != nil:
		s.call.Terms = &f.delivered
	case s.derived:
		s.call.Terms = &f.derived
	}
	r := f.env.Ledger.Begin(ctx, &s.call)
	if f.shadow {
		return f.observe(s, r)
	}
	switch r.Kind {
	case ledger.Claimed:
		return f.execute(x, s, r)
	case ledger.Replay, ledger.Joined:
		return f.replay(x, r)
	case ledger.Unavailable:
		return f.unavailable(x, r)
	}
	return f.refuse(x, r)
}

// keysOf are those that the record of s was made with: while a rotation lasts there may
// be one that was made before it.
func (f *Filter) keysOf(ctx context.Context, pair *nskey.Pair, s *scratch) (*nskey.Keys, error) {
	if pair.Previous == nil {
		return pair.Current, nil
	}
	before, err := f.env.Store.Do(ctx, f.id(pair.Previous, s), record.Command{Op: record.Look})
	if err != nil {
		return nil, err
	}
	if before.Result == record.Found && before.Record != nil {
		return pair.Previous, nil
	}
	return pair.Current, nil
}

// execute lets x pass with its claim.
func (f *Filter) execute(x *exchange.Exchange, s *scratch, r ledger.Result) exchange.Verdict {
	if !r.Claim.Dispatch() {
		r.Claim.End()
		return f.refuse(x, ledger.Result{Kind: ledger.InFlight})
	}
	f.count(Executed)
	s.claim = r.Claim
	var buf [2 * len(record.ID{})]byte
	x.SetUpstream(fieldID, hex.AppendEncode(buf[:0], r.Claim.ID[:]))
	x.SetUpstream(fieldFence, strconv.AppendUint(buf[:0], r.Claim.Fence, 10))
	x.SetUpstream(fieldAttempt, strconv.AppendUint(buf[:0], uint64(r.Claim.Attempt), 10))
	x.Record, x.Timeout, x.Late = true, f.timeout, f.late
	return exchange.Continue
}

// unavailable does what the failure policy says.
func (f *Filter) unavailable(x *exchange.Exchange, r ledger.Result) exchange.Verdict {
	if f.open || f.shadow {
		return f.ignore(x, FailedOpen)
	}
	return f.denyUnavailable(x, r)
}

func (f *Filter) count(r Result) {
	if f.env.Metrics != nil {
		f.env.Metrics.Requested(r)
	}
}
