// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"net/http"
	"strconv"
	"strings"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

func tooLarge() *Refusal {
	return refuse(http.StatusRequestEntityTooLarge, ProblemRequest, "Request Too Large",
		"The body is larger than "+strconv.Itoa(maxBody)+" bytes, which is the most that becomes a Thrift call.")
}

func busy() *Refusal {
	return refuse(http.StatusServiceUnavailable, ProblemFailed, "Too Many Bodies", "The sidecar holds as much of requests as it may; try again.")
}

func unreachable() *Refusal {
	return refuse(http.StatusServiceUnavailable, ProblemFailed, "Application Unreachable", "The application cannot be reached.")
}

// convert makes the call of the request and finds the route. A Refusal is the answer
// without the application.
func (t *translated) convert() ([]byte, *Refusal) {
	table, in := t.by.table, &t.request
	if len(table.methods) == 0 {
		return nil, refuse(http.StatusServiceUnavailable, ProblemNoMapping, "No Mapping",
			"This port answers with a Thrift application, and the operator has no valid mapping for it.")
	}
	path, _ := exchange.NormalizePath(nil, in.path)
	m := table.Find(in.method, path)
	switch {
	case m.Route != nil:
	case len(m.Allow) > 0:
		r := refuse(http.StatusMethodNotAllowed, ProblemNoRoute, "Method Not Allowed", "This path has no Thrift method for "+clip(in.method)+".")
		r.allow = strings.Join(m.Allow, ", ")
		return nil, r
	default:
		return nil, refuse(http.StatusNotFound, ProblemNoRoute, "No Route", "No Thrift method is mapped to this path.")
	}
	call, err := m.Route.AppendCall(nil, table.Protocol, callSeq, &Request{Params: m.Params, Query: in.query, Header: in.fields, Body: in.body})
	if err != nil {
		return nil, asRefusal(err)
	}
	t.route = m.Route
	return call, nil
}

// respond makes the response ready.
func (t *translated) respond(r *Response) {
	b := appendStatus(t.answer[:0], r.Status)
	for _, f := range r.Header {
		b = rules.AppendField(b, f.Name, f.Value)
	}
	t.end(b, r.Status, r.Body, t.route != nil && !t.route.Method.Oneway && t.calls.Pending())
}

// refuse answers with a problem. closes: the connection is good for nothing more.
func (t *translated) refuse(r *Refusal, closes bool) {
	b := appendStatus(t.answer[:0], r.Status)
	b = append(b, "Content-Type: application/problem+json\r\nCache-Control: no-store\r\n"...)
	if r.allow != "" {
		b = rules.AppendField(b, []byte("Allow"), []byte(r.allow))
	}
	if t.phase != waiting || r.Type == ProblemMethod {
		// An IdempotencyPolicy lets the key be used again, and takes the field out.
		if _, n := t.request.fields.Header("weir-idempotency-id"); n > 0 {
			b = append(b, "Weir-Idempotency-Outcome: not-executed\r\n"...)
		}
	}
	t.end(b, r.Status, rules.AppendProblem(nil, &r.Denial), closes)
}

func (t *translated) end(b []byte, status int, body []byte, closes bool) {
	if closes {
		b = append(b, "Connection: close\r\n"...)
	}
	if status != http.StatusNoContent && status != http.StatusNotModified {
		b = rules.AppendField(b, []byte("Content-Length"), strconv.AppendInt(nil, int64(len(body)), 10))
	}
	b = append(b, "\r\n"...)
	if string(t.request.method) != http.MethodHead {
		b = append(b, body...)
	}
	t.answer, t.phase = b, answered
	if len(t.out) == 0 {
		t.out = b
	} else {
		t.out = append(t.out, b...)
	}
}

func appendStatus(b []byte, status int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	return append(b, "\r\n"...)
}
