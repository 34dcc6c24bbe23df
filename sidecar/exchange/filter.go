// SPDX-License-Identifier: Apache-2.0

package exchange

// Verdict is what a filter wants to happen next.
type Verdict uint8

const (
	// Continue lets the exchange pass on to the next filter.
	Continue Verdict = iota
	// Respond ends it with x.Reply() or, where that is nil, x.Denial; no later filter
	// sees Head.
	Respond
	// NeedBody asks the codec to read the whole request body, up to the
	// filter's MaxBody, and to call Body.
	NeedBody
)

// Outcome is what became of a request that filters had let through, from bytes
// that were really written and read.
type Outcome uint8

const (
	// NotSent: no byte of the request reached the application.
	NotSent Outcome = iota
	// SentNoReply: some byte may have reached it, no response head came.
	SentNoReply
	// Replied: the response was relayed whole. With Record set: all of it was read and
	// ResponseEnd agreed, whether or not a client was there to get it.
	Replied
	// Aborted: the response head came, its end did not, or ResponseEnd said false.
	Aborted
)

// String returns the outcome's name as metrics and logs have it.
func (o Outcome) String() string {
	switch o {
	case NotSent:
		return "not_sent"
	case SentNoReply:
		return "sent_no_reply"
	case Replied:
		return "replied"
	default:
		return "aborted"
	}
}

// Filter enforces one policy on exchanges. Its calls for one exchange come from
// one goroutine in the order Head, Body (after NeedBody), ResponseHead (when the
// application answered), End (always, once for each filter whose Head was
// called, in reverse order). Head and Body may wait, as long as x.Context
// allows; the others must not. See Recorder for more.
type Filter interface {
	Head(x *Exchange) Verdict
	// MaxBody is how many bytes Body may be given; more is 413.
	MaxBody() int
	Body(x *Exchange) Verdict
	ResponseHead(x *Exchange)
	End(x *Exchange, outcome Outcome)
}
