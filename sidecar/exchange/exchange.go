// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"context"
	"net/netip"
	"time"
)

// MaxFilters is how many filters one port can have.
const MaxFilters = 4

// Headers looks up fields of the request's head. Names are lower case and
// compared without case.
type Headers interface {
	// Header returns the value of the first field of that name, without
	// surrounding white space, and how many fields of that name there are.
	// The slice is valid until the exchange ends.
	Header(name string) (value []byte, count int)
}

// Exchange is one request and, later, its response.
type Exchange struct {
	// Context ends when the proxy stops. That the client has gone ends it with no
	// codec yet: what waits by it needs a time of its own.
	Context context.Context
	// Start is when the head had been read.
	Start time.Time

	// Port is the container port, as the snapshot knows it.
	Port uint16
	// Protocol is what the client speaks: "HTTP/1.0", "HTTP/1.1", "HTTP/2".
	Protocol string
	// GRPC: the request is a gRPC call.
	GRPC bool
	// Hits is how many requests x stands for, where a protocol has that; 0: one.
	Hits uint64
	// Call is what is particular to Thrift; nil where the request is none.
	Call *Call
	// Trace is the request's place in a trace, zero where nothing is traced.
	Trace Trace
	// Method of the request, as sent.
	Method []byte
	// RawPath is the path as sent, without the query.
	RawPath []byte
	// Path is RawPath made ready for matching: unreserved characters decoded,
	// dot segments removed, slashes merged, no slash at the end.
	Path []byte
	// DottedPath is Path with its dot segments kept, nil where there are none:
	// some applications route by it, so a rule that covers either covers x.
	DottedPath []byte
	// BarePath is Path without path parameters (";a=b"), made ready after they
	// were taken away, nil where there are none: servlet containers route by it.
	BarePath []byte
	// OpenPath is Path with encoded slashes and backslashes taken for slashes, nil
	// where there are none or the port refuses them: some servers decode before they
	// route.
	OpenPath []byte
	// Query is what follows the first '?', without it.
	Query []byte
	// Request gives the fields of the head.
	Request Headers
	// Peer is the address of the TCP peer.
	Peer netip.Addr
	// Client is who the client is after trusted proxies: Peer, or what
	// X-Forwarded-For says where Peer is trusted.
	Client netip.Addr
	// Body is the whole request body, only between NeedBody and End.
	Body []byte

	// Status of the response, 0 until there is one.
	Status int
	// Response gives the fields of the application's response, from ResponseHead
	// until End; nil before, and where the application gave none.
	Response ResponseHeaders
	// Record: a filter that is a Recorder wants the response. Set in Head or Body.
	// The codec then shows recorders each piece of the body, reads the response to
	// its end even when the client has gone, and keeps the last byte from the client
	// until ResponseEnd has returned. A recorder that wants no more of the body sets it
	// to false in ResponseHead, ResponseBody or Overdue: it is shown no more, and a
	// client that goes ends the request as it does others. ResponseEnd still comes,
	// before the last byte, where all of the response was read.
	Record bool
	// Timeout bounds how long the application may take to the head of its response,
	// in place of what the port says; 0: as the port says. Set in Head or Body.
	Timeout time.Duration
	// Late is how much longer the response is awaited after Timeout, for recorders:
	// the client has been answered by then. Only with Record.
	Late time.Duration
	// Replayed: the answer is a recorded one.
	Replayed bool
	// Delivery is set where the request is one of Weir's own deliveries.
	Delivery *Delivery
	// Denial says what the proxy answers by itself: for a filter, which sets it with
	// Deny, or because the request or the application is not as it should be. Only
	// a filter's names a Policy.
	Denial Denial

	fields   fields
	upstream fields
	hidden   []string
	reply    *Reply
	state    [MaxFilters]any
}

// Reset makes x ready for the next request, keeping its buffers.
func (x *Exchange) Reset() {
	f, u, h, s := x.fields, x.upstream, x.hidden, x.state
	f.reset()
	u.reset()
	// Not in one: a value with fields set is made on the stack and copied.
	*x = Exchange{}
	x.fields, x.upstream, x.hidden, x.state = f, u, h[:0], s
}

// State returns the slot of a filter: what it stored with SetState, kept over
// Reset so that its memory is reused with the exchange.
func (x *Exchange) State(slot int) any { return x.state[slot] }

// SetState stores a pointer in a filter's slot.
func (x *Exchange) SetState(slot int, v any) { x.state[slot] = v }

// Add adds a field that the response to the client will carry, whether it comes
// from the application or from the proxy. The bytes are copied.
func (x *Exchange) Add(name string, value []byte) { x.fields.add(name, value) }

// Fields calls yield with each field that was added, in order.
func (x *Exchange) Fields(yield func(name string, value []byte) bool) { x.fields.each(yield) }

// Deny makes the proxy answer with d; a filter returns Respond after it.
func (x *Exchange) Deny(d Denial) {
	x.reply = nil
	x.Denial = d
	x.Status = d.Status
}

// SetUpstream makes the application get a field of this name, lower case, with this
// value, in place of those the client sent under it, as trailers too. An empty value:
// none of that name. The bytes are copied; control characters, which no field may
// hold, become spaces (RFC 9110 section 5.5). For use in Head and Body.
func (x *Exchange) SetUpstream(name string, value []byte) {
	from := len(x.upstream.values)
	x.upstream.add(name, value)
	for i, c := range x.upstream.values[from:] {
		if c < ' ' && c != '\t' || c == 0x7F {
			x.upstream.values[from+i] = ' '
		}
	}
}

// Upstream calls yield with each field that SetUpstream has set, in order.
func (x *Exchange) Upstream(yield func(name string, value []byte) bool) { x.upstream.each(yield) }

// HasUpstream reports whether SetUpstream was called.
func (x *Exchange) HasUpstream() bool { return len(x.upstream.names) > 0 }

// SetsUpstream reports whether SetUpstream was called for the field of this name, in
// any case, and with '_' for '-', between which CGI and WSGI know no difference: the
// client's own field is not passed on then.
func (x *Exchange) SetsUpstream(name []byte) bool {
	for _, n := range x.upstream.names {
		if sameField(name, n) {
			return true
		}
	}
	return false
}

// HideResponse keeps the application's response fields of this name, lower case, from
// the client. For use in ResponseHead.
func (x *Exchange) HideResponse(name string) { x.hidden = append(x.hidden, name) }

// Hides reports whether HideResponse was called.
func (x *Exchange) Hides() bool { return len(x.hidden) > 0 }

// HidesResponse reports whether a field of the application's response stays here.
func (x *Exchange) HidesResponse(name []byte) bool {
	for _, n := range x.hidden {
		if equalFold(name, n) {
			return true
		}
	}
	return false
}

// Answer makes the proxy answer with r; a filter returns Respond after it. r is the
// filter's until End.
func (x *Exchange) Answer(r *Reply) {
	x.reply = r
	x.Status = r.Status
}

// Reply is what Answer was called with; nil: x.Denial is the answer.
func (x *Exchange) Reply() *Reply { return x.reply }
