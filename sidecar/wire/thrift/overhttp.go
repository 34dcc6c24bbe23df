// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"bytes"
	"errors"
	"net/http"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
	"weir.dev/weir/sidecar/wire/sniff"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// OverHTTP makes of the filters of a port those of the same port when its calls come
// over HTTP: bodies of POST requests of type application/x-thrift, without frame, of at
// most maxBytes. They are read whole. Requests that are no calls are denied. What a
// filter answers becomes a response with status 200 and a message in it, which is what
// clients take. What a reply says is known from ResponseEnd on, and only to recorders.
func OverHTTP(chain exchange.Chain, maxBytes int) exchange.Chain {
	return exchange.Chain{&overHTTP{chain: chain, maxBytes: maxBytes}}
}

const contentType = "application/x-thrift"

type overHTTP struct {
	chain    exchange.Chain
	maxBytes int
}

// httpCall is one call over HTTP: x.Call.Args of its exchange.
type httpCall struct {
	call     exchange.Call
	head     message.Head
	args     []byte
	text     []byte
	digester message.Digester
	progress exchange.Progress

	// begun is the beginning of the reply, until its head has come; then held is the
	// last byte of what came, in JSON, where it may be the message's end.
	begun  []byte
	headed bool
	held   []byte
}

// Head implements exchange.Filter.
func (f *overHTTP) Head(x *exchange.Exchange) exchange.Verdict {
	x.Call = nil
	kind, n := x.Request.Header("content-type")
	kind, _, _ = bytes.Cut(kind, []byte(";"))
	if string(x.Method) != http.MethodPost || n != 1 || !bytes.EqualFold(bytes.TrimSpace(kind), []byte(contentType)) {
		x.Deny(rules.Problem(http.StatusUnsupportedMediaType, rules.ProblemUnsupported, "Not Thrift",
			"Policies of this port need calls of Thrift: POST with Content-Type: "+contentType+"."))
		return exchange.Respond
	}
	return exchange.NeedBody
}

// MaxBody implements exchange.Filter.
func (f *overHTTP) MaxBody() int { return f.maxBytes }

// Body implements exchange.Filter.
func (f *overHTTP) Body(x *exchange.Exchange) exchange.Verdict {
	c := &httpCall{}
	if err := c.parse(x.Body); err != nil {
		d := rules.Malformed("The body is no call of Thrift: " + err.Error() + ".")
		x.Deny(d)
		return exchange.Respond
	}
	c.call.Service, c.call.Method = c.head.Split()
	c.call.Protocol, c.call.Oneway, c.call.Args = protocolName(c.head.Protocol), c.head.Type == message.Oneway, c
	x.Call = &c.call
	body := x.Body
	x.Body = nil
	verdict := f.chain.Head(x, &c.progress)
	for verdict == exchange.NeedBody {
		limit := f.chain.MaxBody(&c.progress)
		if len(c.args) > limit {
			v, asked := f.chain.Oversize(x, &c.progress)
			if !asked {
				x.Deny(rules.TooLarge(limit))
				v = exchange.Respond
			}
			verdict = v
			continue
		}
		x.Body = c.args
		verdict = f.chain.Body(x, &c.progress)
	}
	x.Body = body
	switch {
	case verdict == exchange.Respond:
		x.Answer(c.answer(x))
	case x.Record:
		// What is compressed cannot be looked into.
		x.SetUpstream("accept-encoding", []byte("identity"))
	}
	return verdict
}

// parse reads a message that takes all of b.
func (c *httpCall) parse(b []byte) error {
	form, ok := message.FormOf(sniff.Classify(b))
	if !ok || form.Transport != message.Unframed || form.Protocol == message.BinaryLax {
		return message.Malformed("no message without frame, with a version")
	}
	var err error
	if c.head, err = message.ParseHead(form.Protocol, b); err != nil {
		return err
	}
	if c.head.Type != message.Call && c.head.Type != message.Oneway {
		return message.Malformed("a reply where a call should be")
	}
	c.args = b[c.head.Struct:]
	var s message.Scanner
	s.Reset(form.Protocol, int64(len(c.args)))
	n, err := s.Scan(c.args)
	if err == nil && (!s.Done() || n < len(c.args)) {
		err = message.Malformed("it does not end with the body")
	}
	c.args = trimEnd(form.Protocol, c.args)
	return err
}

// answer is what a filter has answered, as a response.
func (c *httpCall) answer(x *exchange.Exchange) *exchange.Reply {
	out := &exchange.Reply{Status: http.StatusOK, Header: []exchange.Field{{Name: []byte("Content-Type"), Value: []byte(contentType)}}}
	h := &c.head
	switch r := x.Reply(); {
	case c.call.Oneway:
	case r != nil:
		kind := message.Reply
		if r.Status != http.StatusOK {
			kind = message.Exception
		}
		out.Body = message.AppendReply(nil, h.Protocol, kind, c.call.Method, h.Seq, r.Body)
		out.Header = append(out.Header, r.Header...)
	case c.call.ExceptionField > 0:
		out.Body = message.AppendDeclared(nil, h.Protocol, c.call.Method, h.Seq, c.call.ExceptionField, appendDenial(nil, &x.Denial))
	default:
		code := c.call.ExceptionCode
		if code == 0 {
			code = message.InternalError
		}
		out.Body = message.AppendException(nil, h.Protocol, c.call.Method, h.Seq, code, appendDenial(nil, &x.Denial))
	}
	return out
}

// callOf is the call of x, nil where there is none.
func callOf(x *exchange.Exchange) *httpCall {
	if x.Call == nil {
		return nil
	}
	c, _ := x.Call.Args.(*httpCall)
	return c
}

// ResponseHead implements exchange.Filter.
func (f *overHTTP) ResponseHead(x *exchange.Exchange) {
	if callOf(x) != nil {
		f.chain.ResponseHead(x)
	}
}

// ResponseBody implements exchange.Recorder.
func (f *overHTTP) ResponseBody(x *exchange.Exchange, p []byte) {
	c := callOf(x)
	if c == nil || len(p) == 0 {
		return
	}
	if !c.headed {
		c.begun = append(c.begun, p...)
		h, err := message.ParseHead(c.head.Protocol, c.begun)
		if errors.Is(err, message.ErrShort) {
			return
		}
		c.headed, p = true, c.begun
		if err == nil {
			p = c.begun[h.Struct:]
			c.result(&h, p)
		}
	}
	if c.head.Protocol == message.JSON && len(p) > 0 {
		if len(c.held) > 0 {
			f.chain.ResponseBody(x, c.held)
		}
		c.held = append(c.held[:0], p[len(p)-1])
		p = p[:len(p)-1]
	}
	if len(p) > 0 {
		f.chain.ResponseBody(x, p)
	}
}

// result notes what the reply says.
func (c *httpCall) result(h *message.Head, b []byte) {
	if r, err := message.ResultOf(h, b); err == nil {
		c.call.Result = exchange.CallResult{Exception: r.Type == message.Exception, Code: r.Code, Field: r.Field}
	}
}

// ResponseEnd implements exchange.Recorder.
func (f *overHTTP) ResponseEnd(x *exchange.Exchange) bool {
	return callOf(x) == nil || f.chain.ResponseEnd(x)
}

// Overdue implements exchange.Recorder.
func (f *overHTTP) Overdue(x *exchange.Exchange) {
	if callOf(x) != nil {
		f.chain.Overdue(x)
	}
}

// End implements exchange.Filter.
func (f *overHTTP) End(x *exchange.Exchange, outcome exchange.Outcome) {
	if c := callOf(x); c != nil {
		f.chain.End(x, &c.progress, outcome)
	}
}

// Field implements exchange.Args.
func (c *httpCall) Field(path []int16) ([]byte, exchange.FieldState) {
	v, found, _, err := message.Find(c.head.Protocol, c.args, path)
	switch {
	case err != nil:
		return nil, exchange.FieldInvalid
	case found:
		c.text = v.Append(c.text[:0])
		return c.text, exchange.FieldFound
	}
	return nil, exchange.FieldAbsent
}

// Digest implements exchange.Args.
func (c *httpCall) Digest() ([32]byte, error) { return c.digester.Digest(c.head.Protocol, c.args) }
