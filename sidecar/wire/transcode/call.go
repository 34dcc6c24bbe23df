// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"net/http"

	"weir.dev/weir/sidecar/wire/thrift/message"
)

func (p Protocol) wire() message.Protocol {
	if p == Compact {
		return message.Compact
	}
	return message.Binary
}

func appendHead(dst []byte, p Protocol, m *Method, seq int32) []byte {
	t := message.Call
	if m.Oneway {
		t = message.Oneway
	}
	return message.AppendHead(dst, p.wire(), t, []byte(m.Call), seq)
}

// AppendCall appends the message that calls the method with arguments that are the
// members of a JSON object, by their names; empty: none. The error is a *Refusal.
func (m *Method) AppendCall(dst []byte, p Protocol, seq int32, arguments []byte) ([]byte, error) {
	e := encoder{in: arguments, compact: p == Compact, max: m.limits.Call, out: appendHead(dst, p, m, seq)}
	if len(arguments) == 0 {
		e.in = []byte("{}")
	}
	err := e.object(m.arguments)
	if err == nil {
		err = e.end()
	}
	if err != nil {
		return dst, badRequest("the arguments", err)
	}
	return e.out, nil
}

// Result is what a call has come to. One of the members is set, but for a void method's,
// where Value is null.
type Result struct {
	// Value is the result as JSON.
	Value []byte
	// Exception is the name of the declared exception that was thrown, Thrown its fields.
	Exception string
	Thrown    []byte
	// Application is a TApplicationException.
	Application *ApplicationException
}

// Result reads the message that answers a call. The error is a *Refusal with status 502.
func (m *Method) Result(reply []byte, seq int32) (*Result, error) {
	d := decoder{in: reply, max: m.limits.Response, out: make([]byte, 0, 64+2*len(reply))}
	o, err := m.begin(&d, seq)
	if err != nil {
		return nil, err
	}
	out := &Result{}
	switch {
	case o.application != nil:
		out.Application = o.application
		return out, nil //nolint:nilerr // an exception of the application's is a result here
	case o.ended:
		out.Value = []byte("null")
		return out, nil
	case o.throw != nil:
		err = d.value(o.throw.typ)
		out.Exception, out.Thrown = o.throw.typ.structure.name, d.out
	case m.result == nil:
		return nil, refuse(http.StatusBadGateway, ProblemReply, "Invalid Reply", "The application answers a void method with a value.")
	default:
		err = d.value(m.result)
		out.Value = d.out
	}
	if err == nil {
		err = d.endOfReply()
	}
	if err != nil {
		return nil, badReply(err)
	}
	return out, nil
}
