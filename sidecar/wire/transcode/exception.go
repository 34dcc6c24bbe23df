// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"net/http"
	"strconv"
	"strings"

	"weir.dev/weir/sidecar/exchange"
)

// ApplicationException is what a Thrift server says when it has no answer of the
// method's own.
type ApplicationException struct {
	// Code is the type, such as 1 for a method that is not known.
	Code    int32
	Message string
}

// codeUnknownMethod is TApplicationException's UNKNOWN_METHOD.
const codeUnknownMethod = 1

func (x *ApplicationException) Error() string {
	return "TApplicationException " + strconv.Itoa(int(x.Code)) + ": " + x.Message
}

// application reads the struct of a TApplicationException.
func (d *decoder) application() (*ApplicationException, error) {
	x := &ApplicationException{}
	var last int16
	for {
		wire, id, err := d.field(last)
		if err != nil {
			return nil, err
		}
		if wire == wireStop {
			return x, nil
		}
		last = id
		switch {
		case id == 1 && wire == wireString:
			b, err := d.bytes()
			if err != nil {
				return nil, err
			}
			x.Message = strings.ToValidUTF8(string(b), "\uFFFD")
		case id == 2 && wire == wireI32:
			v, err := d.integer(wireI32)
			if err != nil {
				return nil, err
			}
			x.Code = int32(v)
		default:
			if err := d.skip(wire); err != nil {
				return nil, err
			}
		}
	}
}

// refusal is what an HTTP client is told. The application's text is for whoever runs it:
// it may have names of hosts or parts of a stack, and is cut.
func (x *ApplicationException) refusal(m *Method) *Refusal {
	if x.Code == codeUnknownMethod {
		return refuse(http.StatusNotFound, ProblemMethod, "Unknown Method", "The application does not have the method "+m.Call+".")
	}
	const most = 512
	text := strings.ToValidUTF8(x.Message[:min(len(x.Message), most)], "")
	detail := "The application failed in " + m.Call + " with TApplicationException " + strconv.Itoa(int(x.Code))
	if text != "" {
		detail += ": " + text
	}
	return refuse(http.StatusBadGateway, ProblemFailed, "Application Failed", detail)
}

// thrown makes a response of a declared exception: problem+json with its fields as
// members of `exception`.
func (m *Method) thrown(d *decoder, t *throw) (*Response, error) {
	s := t.typ.structure
	start := d.pos
	if err := d.value(t.typ); err != nil {
		return nil, badReply(err)
	}
	value := d.out
	if err := d.endOfReply(); err != nil {
		return nil, badReply(err)
	}
	status := t.status
	again := decoder{in: d.in, pos: start, compact: d.compact}
	detail, stated := again.said(s, t)
	if stated != 0 {
		status = stated
	}
	body := append([]byte(`{"type":"`), ProblemException...)
	body = append(body, `","title":`...)
	body = appendString(body, s.name)
	body = append(body, `,"status":`...)
	body = strconv.AppendInt(body, int64(status), 10)
	if detail != "" {
		body = append(body, `,"detail":`...)
		body = appendString(body, detail)
	}
	body = append(body, `,"exception":`...)
	body = append(body, value...)
	body = append(body, "}\n"...)
	return &Response{
		Status: status, Body: body,
		Header: []exchange.Field{{Name: []byte("content-type"), Value: []byte("application/problem+json")}},
	}, nil
}

// said finds the exception's message and the status that it states, 0 for none. The
// struct was read before, so nothing is wrong with it.
func (d *decoder) said(s *structure, t *throw) (message string, status int) {
	var last int16
	for {
		wire, id, err := d.field(last)
		if err != nil || wire == wireStop {
			return message, status
		}
		last = id
		f := s.byID(id)
		switch {
		case f != nil && f.name == "message" && f.typ.kind == kindString && wire == wireString && !f.hidden:
			b, err := d.bytes()
			if err != nil {
				return message, status
			}
			message = string(b)
		case f != nil && t.hasStatus && id == t.statusOf && wire == f.typ.wire && wire >= wireI8 && wire != wireDouble && wire <= wireI64:
			v, err := d.integer(wire)
			if err != nil {
				return message, status
			}
			if v >= 400 && v <= 599 {
				status = int(v)
			}
		default:
			if d.skip(wire) != nil {
				return message, status
			}
		}
	}
}
