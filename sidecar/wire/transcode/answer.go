// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"errors"
	"net/http"
	"os"
	"strings"

	"weir.dev/weir/sidecar/exchange"
)

// Caller is the way to the application.
type Caller interface {
	// Call sends a call and returns its reply, valid until the next one; nil where the
	// call is oneway. sent is false where no byte of it can have left. An error that is
	// os.ErrDeadlineExceeded is one of time.
	Call(call []byte, seq int32, oneway bool) (reply []byte, sent bool, err error)
}

// callSeq is the sequence id of calls: a connection has one under way.
const callSeq = 1

// Answer makes the call that x asks for and a response of its reply. The policies of the
// port have let x through; x.Body is all of its body. The outcome is for End. An error is
// a *Refusal; where its status is 405 a field Allow was added to x.
func (t *Table) Answer(x *exchange.Exchange, caller Caller) (*Response, exchange.Outcome, error) {
	m := t.Find(x.Method, x.Path)
	if m.Route == nil {
		if len(m.Allow) > 0 {
			x.Add("Allow", []byte(strings.Join(m.Allow, ", ")))
			return nil, exchange.NotSent, refuse(http.StatusMethodNotAllowed, ProblemNoRoute, "Method Not Allowed",
				"This path has no Thrift method for "+clip(x.Method)+".")
		}
		return nil, exchange.NotSent, refuse(http.StatusNotFound, ProblemNoRoute, "No Route", "No Thrift method is mapped to this path.")
	}
	call, err := m.Route.AppendCall(nil, t.Protocol, callSeq, &Request{Params: m.Params, Query: x.Query, Header: x.Request, Body: x.Body})
	if err != nil {
		return nil, exchange.NotSent, err
	}
	method := m.Route.Method
	reply, sent, err := caller.Call(call, callSeq, method.Oneway)
	switch {
	case err != nil && !sent:
		return nil, exchange.NotSent, refuse(http.StatusServiceUnavailable, ProblemFailed, "Application Unreachable", "The application cannot be reached.")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, exchange.SentNoReply, refuse(http.StatusGatewayTimeout, ProblemFailed, "Application Timeout", "The application did not answer "+method.Call+" in time.")
	case err != nil:
		return nil, exchange.SentNoReply, refuse(http.StatusBadGateway, ProblemFailed, "Application Failed", "The application ended the connection before it answered "+method.Call+".")
	case method.Oneway:
		return Oneway(), exchange.Replied, nil
	}
	out, err := m.Route.Response(reply, callSeq)
	return out, exchange.Replied, err
}
