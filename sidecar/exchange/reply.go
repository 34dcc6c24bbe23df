// SPDX-License-Identifier: Apache-2.0

package exchange

import "time"

// Reply is an answer of the proxy's own that is no refusal: a response that was
// recorded before.
type Reply struct {
	// Status is a final HTTP status.
	Status int
	// Header in order, as it is spelt. Hop-by-hop fields and Content-Length are left
	// out by the codec, which frames by itself; the Content-Length of an answer to HEAD
	// stays.
	Header []Field
	// Body is whole.
	Body []byte
	// Trailer follows the body: HTTP/2 and gRPC; HTTP/1 sends it where the client gets
	// chunks.
	Trailer []Field
}

// Field is one field of a head or a trailer section.
type Field struct{ Name, Value []byte }

// ResponseHeaders are the fields of the application's response.
type ResponseHeaders interface {
	Headers
	// Each calls yield with each field that is neither hop-by-hop nor
	// Transfer-Encoding, in order, as it was spelt: hidden ones and Content-Length too.
	// HTTP/2 has them sorted by name. Valid until End.
	Each(yield func(name, value []byte) bool)
	// Trailers is Each for the trailer section: empty before ResponseEnd.
	Trailers(yield func(name, value []byte) bool)
}

// Recorder is a filter that keeps responses. Its calls come only for exchanges with
// Record set, for the filters that the exchange has passed: ResponseHead,
// ResponseBody for each piece, ResponseEnd once all of the response was read. After an
// upload or a response that broke off there is no ResponseEnd, nor after 101, with
// which a tunnel begins; End follows in any case. They come from one goroutine after
// the other, as the Filter's do; after Overdue it is another.
type Recorder interface {
	Filter
	// ResponseBody must not wait and must not keep p.
	ResponseBody(x *Exchange, p []byte)
	// ResponseEnd is called before the client gets the last byte, and may wait. false:
	// the client must not take the response for whole; its connection is aborted.
	ResponseEnd(x *Exchange) bool
	// Overdue is called when x.Timeout, or the port's, has passed without a response,
	// before the client is answered 504; may wait. If the response comes within x.Late
	// the calls of a response follow, with nobody to send it to; else End alone, with
	// SentNoReply.
	Overdue(x *Exchange)
}

// Wonderer is a filter with something to say to a client whose request may have reached
// the application, and that gets an answer of the proxy's own for want of a response.
type Wonderer interface {
	Filter
	// Unanswered is called before that answer, which carries what it adds to x; after
	// Overdue, where that was called. It must not wait.
	Unanswered(x *Exchange)
}

// Oversizer is a filter that has a say when a body is larger than its MaxBody.
type Oversizer interface {
	Filter
	// Oversize is called in place of Body. Continue: the request passes with x.Body
	// nil, streaming; where another filter has got the body, x.Body stays. Respond: as
	// x.Denial says.
	Oversize(x *Exchange) Verdict
}

// Delivery is what a valid weir-delivery field says (design §5).
type Delivery struct {
	// Operation is the id of the operation.
	Operation string
	// Attempt counts from 1.
	Attempt uint32
	// Expires is when the field stops being valid.
	Expires time.Time
}
