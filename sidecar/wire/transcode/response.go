// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"unicode/utf8"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// Response is an HTTP response, made of a reply.
type Response struct {
	// Status is 200 to 599.
	Status int
	// Header does not have Content-Length.
	Header []exchange.Field
	Body   []byte

	route *Route
	// raw: the body is a field's bytes.
	raw []byte
	// isRaw tells an empty raw body from none.
	isRaw bool
}

// Oneway is the response to a call that has no reply.
func Oneway() *Response { return &Response{Status: http.StatusAccepted} }

// Response makes a response of the message that answers a call with this sequence id.
// The bytes of Body and Header are copies. The error is a *Refusal.
func (r *Route) Response(reply []byte, seq int32) (*Response, error) {
	d := decoder{in: reply, max: r.Method.limits.Response, out: make([]byte, 0, 64+2*len(reply))}
	outcome, err := r.Method.begin(&d, seq)
	if err != nil {
		return nil, err
	}
	to := &Response{Status: http.StatusOK, route: r}
	switch {
	case outcome.application != nil:
		return nil, outcome.application.refusal(r.Method)
	case outcome.throw != nil:
		return r.Method.thrown(&d, outcome.throw)
	case outcome.ended:
		to.Status = http.StatusNoContent
	case r.Method.result.kind == kindStruct && len(r.outputs) > 0:
		err = d.object(r.Method.result.structure, to)
	default:
		err = d.value(r.Method.result)
	}
	if err == nil && !outcome.ended {
		err = d.endOfReply()
	}
	if err != nil {
		return nil, badReply(err)
	}
	return to.finish(d.out), nil
}

func (to *Response) finish(json []byte) *Response {
	switch {
	case to.isRaw:
		to.Body = to.raw
		if !to.has("content-type") {
			to.add("content-type", []byte("application/octet-stream"))
		}
	case to.Status == http.StatusNoContent || to.Status == http.StatusResetContent || to.Status == http.StatusNotModified:
	default:
		to.Body = json
		if !to.has("content-type") {
			to.add("content-type", []byte("application/json"))
		}
	}
	return to
}

func (to *Response) has(name string) bool {
	for _, f := range to.Header {
		if bytes.EqualFold(f.Name, []byte(name)) {
			return true
		}
	}
	return false
}

func (to *Response) add(name string, value []byte) {
	to.Header = append(to.Header, exchange.Field{Name: []byte(name), Value: value})
}

// take reads a field of the result that is no member of the body.
func (to *Response) take(d *decoder, f *field) error {
	var at place
	for _, o := range to.route.outputs {
		if o.field == f {
			at = o.place
		}
	}
	switch at.kind {
	case snapshot.TranscodingPlace_KIND_STATUS:
		v, err := d.integer(f.typ.wire)
		if err != nil {
			return err
		}
		if v < 200 || v > 599 {
			return bad("is " + string(integerText(v)) + ", no status of a response")
		}
		to.Status = int(v)
		return nil
	case snapshot.TranscodingPlace_KIND_RAW_BODY:
		b, err := d.bytes()
		to.raw, to.isRaw = bytes.Clone(b), true
		return err
	case snapshot.TranscodingPlace_KIND_HEADER, snapshot.TranscodingPlace_KIND_COOKIE:
		mark := len(d.out)
		if err := d.scalar(f.typ); err != nil {
			return err
		}
		value := bytes.Clone(d.out[mark:])
		d.out = d.out[:mark]
		if at.kind == snapshot.TranscodingPlace_KIND_COOKIE {
			to.add("set-cookie", []byte(at.name+"="+cookieValue(value)))
			return nil
		}
		if !fieldValue(value) {
			return bad("has characters that no header may have")
		}
		to.add(at.name, value)
		return nil
	}
	return d.skip(f.typ.wire)
}

// fieldValue: a response must not be split by what an application says.
func fieldValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7F {
			return false
		}
	}
	return utf8.Valid(b)
}

// cookieValue escapes what RFC 6265 does not have in a value.
func cookieValue(b []byte) string {
	for _, c := range b {
		if c <= ' ' || c >= 0x7F || c == '"' || c == ',' || c == ';' || c == '\\' {
			return url.PathEscape(string(b))
		}
	}
	return string(b)
}

// outcome is how a reply begins.
type outcome struct {
	throw       *throw
	application *ApplicationException
	// ended: the method is void, and the reply was read to its end.
	ended bool
}

// begin reads a reply up to the value: the decoder stands at it. The message says itself
// which protocol it is in.
func (m *Method) begin(d *decoder, seq int32) (outcome, error) {
	p := message.Binary
	if len(d.in) > 0 && d.in[0] == 0x82 {
		p, d.compact = message.Compact, true
	}
	h, err := message.ParseHead(p, d.in)
	switch {
	case err != nil:
		return outcome{}, badReply(err)
	case h.Seq != seq:
		return outcome{}, badReply(bad("it answers call " + strconv.Itoa(int(h.Seq)) + ", not " + strconv.Itoa(int(seq))))
	}
	d.pos = h.Struct
	switch h.Type {
	case message.Exception:
		x, err := d.application()
		if err != nil {
			return outcome{}, badReply(err)
		}
		return outcome{application: x}, nil
	case message.Reply:
	default:
		return outcome{}, badReply(bad("it is no reply but a call"))
	}
	if string(h.Name) != m.Call && string(h.Name) != m.Name {
		return outcome{}, badReply(bad("it is one of another method, " + clip(h.Name)))
	}
	var last int16
	for {
		wire, id, err := d.field(last)
		if err != nil {
			return outcome{}, badReply(err)
		}
		if wire == wireStop {
			break
		}
		last = id
		if id == 0 && m.result != nil && wire == m.result.wire {
			return outcome{}, nil
		}
		for i := range m.throws {
			if m.throws[i].id == id && wire == wireStruct {
				return outcome{throw: &m.throws[i]}, nil
			}
		}
		if err := d.skip(wire); err != nil {
			return outcome{}, badReply(err)
		}
	}
	if m.result != nil {
		return outcome{}, badReply(bad("it has neither a result nor an exception that the IDL declares"))
	}
	if d.left() > 0 {
		return outcome{}, badReply(errTail)
	}
	return outcome{ended: true}, nil
}

var errTail error = &valueError{what: "something follows its end", whole: true}

// endOfReply skips what follows the value in the reply's struct.
func (d *decoder) endOfReply() error {
	if err := d.skip(wireStruct); err != nil {
		return err
	}
	if d.left() > 0 {
		return errTail
	}
	return nil
}
