// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strconv"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/ledger"
)

// never is what no replay has: what belongs to one message, connection or client, and
// what Weir says itself.
var never = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "te": true, "trailer": true, "transfer-encoding": true, "upgrade": true,
	"content-length": true, "date": true, "set-cookie": true, "set-cookie2": true,
	"authorization": true, "www-authenticate": true, "authentication-info": true,
	"proxy-authenticate": true, "proxy-authorization": true, "proxy-authentication-info": true,
	"ratelimit": true, "ratelimit-policy": true, "ratelimit-limit": true, "ratelimit-remaining": true, "ratelimit-reset": true,
	"x-ratelimit-limit": true, "x-ratelimit-remaining": true, "x-ratelimit-reset": true,
	"traceparent": true, "tracestate": true, "traceresponse": true, "server-timing": true,
	"b3": true, "x-b3-traceid": true, "x-b3-spanid": true, "x-b3-parentspanid": true, "x-b3-sampled": true, "x-b3-flags": true,
	fieldOutcome: true, lowerStatus: true, lowerReplayed: true,
}

// longestNever is the longest name in never, or longer.
const longestNever = 32

// Values of weir-idempotency-outcome.
const (
	outcomeCommitted   = "committed"
	outcomeNotExecuted = "not-executed"
	outcomeInProgress  = "in-progress"
)

// ResponseHead decides what the response means.
func (f *Filter) ResponseHead(x *exchange.Exchange) {
	if f.shadow {
		if s := f.claimOf(x); s != nil {
			s.plan = f.plan(x)
		}
		return
	}
	if x.Response != nil {
		if _, n := x.Response.Header(fieldOutcome); n > 0 {
			x.HideResponse(fieldOutcome)
		}
	}
	s := f.claimOf(x)
	if s == nil {
		if f.scratch(x).ignored {
			x.HideResponse(lowerStatus)
		}
		return
	}
	s.plan = f.plan(x)
	if s.plan == keep && f.endless(x) {
		s.plan = tombstone
	}
	if s.plan != keep {
		x.Record = false
	}
	x.HideResponse(lowerStatus)
	if s.late {
		return
	}
	if s.plan == unknown {
		x.Add(fieldStatus, []byte("unknown"))
		return
	}
	x.Add(fieldStatus, []byte("executed"))
}

// claimOf returns the memory of an exchange that has a claim, else nil.
func (f *Filter) claimOf(x *exchange.Exchange) *scratch {
	if s, ok := x.State(f.env.Slot).(*scratch); ok && s.claim != nil {
		return s
	}
	return nil
}

func (f *Filter) plan(x *exchange.Exchange) plan {
	var outcome []byte
	if x.Response != nil {
		outcome, _ = x.Response.Header(fieldOutcome)
	}
	switch string(outcome) {
	case outcomeCommitted:
		return keep
	case outcomeNotExecuted:
		return release
	case outcomeInProgress:
		return unknown
	}
	status := x.Status
	switch {
	case x.Delivery != nil && (status < 200 || status > 299):
		return release
	case status >= 0 && status < len(f.release) && f.release[status]:
		return release
	case status >= http.StatusInternalServerError && f.terms.AtLeastOnce:
		return unknown
	}
	return keep
}

// endless reports whether the body cannot be kept, as the head has it.
func (f *Filter) endless(x *exchange.Exchange) bool {
	if x.Status == http.StatusSwitchingProtocols {
		return true
	}
	if x.Response == nil {
		return false
	}
	if kind, _ := x.Response.Header("content-type"); len(kind) >= len(eventStream) && equalFold(kind[:len(eventStream)], eventStream) {
		return true
	}
	length, n := x.Response.Header("content-length")
	size, err := strconv.ParseUint(string(length), 10, 64)
	return n > 0 && err == nil && size > uint64(f.maxResponse)
}

const eventStream = "text/event-stream"

// ResponseBody keeps a piece of the body.
func (f *Filter) ResponseBody(x *exchange.Exchange, p []byte) {
	s := f.claimOf(x)
	if s == nil || s.plan != keep {
		return
	}
	if len(s.body)+len(p) > f.maxResponse {
		s.plan, s.body = tombstone, trim(s.body)
		x.Record = false
		return
	}
	s.body = append(s.body, p...)
}

// ResponseEnd settles the claim. It is false where another's outcome holds.
func (f *Filter) ResponseEnd(x *exchange.Exchange) bool {
	s := f.claimOf(x)
	if s == nil || s.settled {
		return true
	}
	return f.settle(background(x), x, s)
}

// background outlives the client and the proxy's drain: the ledger bounds its waits.
func background(x *exchange.Exchange) context.Context {
	if x.Context == nil {
		return context.Background()
	}
	return context.WithoutCancel(x.Context)
}

// settle tells the ledger what the plan is.
func (f *Filter) settle(ctx context.Context, x *exchange.Exchange, s *scratch) bool {
	s.settled = true
	var out ledger.Outcome
	switch s.plan {
	case keep:
		out = s.claim.Complete(ctx, f.reply(x, s))
	case tombstone:
		out = s.claim.Tombstone(ctx, x.Status, location(x))
	case release:
		s.claim.Release(ctx)
		return true
	default:
		s.claim.Unknown(ctx)
		return true
	}
	return out.Saved != ledger.Superseded
}

func location(x *exchange.Exchange) []byte {
	if x.Response == nil {
		return nil
	}
	v, _ := x.Response.Header("location")
	return bytes.Clone(v)
}

// reply is the response as it is replayed: without what this client does not get, such
// as a cost that a limit reads.
func (f *Filter) reply(x *exchange.Exchange, s *scratch) *exchange.Reply {
	r := &exchange.Reply{Status: x.Status, Body: s.body}
	if x.Response == nil {
		return r
	}
	x.Response.Each(func(name, value []byte) bool {
		if f.keeps(name) && !x.HidesResponse(name) {
			s.header = append(s.header, exchange.Field{Name: name, Value: value})
		}
		return true
	})
	x.Response.Trailers(func(name, value []byte) bool {
		if f.keeps(name) && !x.HidesResponse(name) {
			s.tail = append(s.tail, exchange.Field{Name: name, Value: value})
		}
		return true
	})
	r.Header, r.Trailer = s.header, s.tail
	return r
}

// keeps reports whether replays have the field.
func (f *Filter) keeps(name []byte) bool {
	var buf [longestNever]byte
	if len(name) <= len(buf) {
		lower := buf[:len(name)]
		for i, c := range name {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			lower[i] = c
		}
		if never[string(lower)] {
			return false
		}
	}
	return !slices.ContainsFunc(f.denied, func(denied string) bool { return equalFold(name, denied) })
}

// Overdue: the client is answered 504, and the outcome is not known yet.
func (f *Filter) Overdue(x *exchange.Exchange) {
	s := f.claimOf(x)
	if s == nil || f.shadow {
		return
	}
	s.late = true
	x.Add(fieldStatus, []byte("unknown"))
	s.claim.Overdue(background(x))
}

// Unanswered: the client is answered without a response, and the outcome is not known.
func (f *Filter) Unanswered(x *exchange.Exchange) {
	if s := f.claimOf(x); s != nil && !f.shadow && !s.late {
		x.Add(fieldStatus, []byte("unknown"))
	}
}

// End lets go of the claim.
func (f *Filter) End(x *exchange.Exchange, outcome exchange.Outcome) {
	s := f.claimOf(x)
	if s == nil {
		return
	}
	if s.settled {
		s.claim.End()
	} else {
		f.abandon(x, s, outcome)
	}
	s.reset()
}

// abandon settles a claim whose response did not come, or not whole. What is told to
// the store is told by a goroutine of its own: End does not wait.
func (f *Filter) abandon(x *exchange.Exchange, s *scratch, outcome exchange.Outcome) {
	end := abandoned{claim: s.claim, plan: s.plan, status: x.Status}
	switch {
	case outcome == exchange.NotSent:
		end.plan = release
	case outcome == exchange.SentNoReply, s.plan == noPlan:
		end.plan = unknown
	case s.plan == keep && (outcome != exchange.Replied || !f.shadow):
		// Its end is missing, and with it what may have said that it failed.
		end.plan = unknown
	case s.plan == keep:
		end.plan = tombstone
	}
	if end.plan == tombstone {
		end.location = location(x)
	}
	go end.settle(background(x))
}

// abandoned is a claim without its exchange.
type abandoned struct {
	claim    *ledger.Claim
	plan     plan
	status   int
	location []byte
}

func (a *abandoned) settle(ctx context.Context) {
	switch a.plan {
	case release:
		a.claim.Release(ctx)
	case tombstone:
		a.claim.Tombstone(ctx, a.status, a.location)
	default:
		a.claim.Unknown(ctx)
	}
	a.claim.End()
}
