// SPDX-License-Identifier: Apache-2.0

package http

import (
	"errors"
	"net/http"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// Failure is what became of a request that got no response.
type Failure struct {
	// Reason is empty where the application is not to blame.
	Reason UpstreamError
	// Denial is what the client is told; Status is 0 when nobody is there.
	Denial exchange.Denial
	// Aborted is Record.Aborted.
	Aborted string
}

// Values of exchange.Record.Aborted that are no UpstreamError.
const (
	abortedClientGone = "client-gone"
	abortedBadBody    = "malformed-body"
	abortedTooLarge   = "body-too-large"
)

// abortedBy is Record.Aborted for a body that did not come whole.
func abortedBy(body error) string {
	switch {
	case errors.Is(body, ErrBadBody):
		return abortedBadBody
	case errors.Is(body, ErrBodyTooLarge):
		return abortedTooLarge
	}
	return abortedClientGone
}

func (l *Leg) overdue() Failure {
	return Failure{UpstreamTimeout, rules.Problem(http.StatusGatewayTimeout, rules.ProblemUpstreamTimeout, "Upstream Timeout",
		"The application did not answer within "+l.timeout.String()+"; whether it has processed the request is not known."), string(UpstreamTimeout)}
}

// Await goes on waiting for the response, for that long, after Receive has returned
// ErrNoResponse, and says what the client is to be told. Receive is to be called again.
func (l *Leg) Await(more time.Duration) Failure {
	l.late = time.Now().Add(more)
	return l.overdue()
}

// Fail ends the leg after an error of Send or Receive and says what it means.
func (l *Leg) Fail(err error) Failure {
	l.reusable = false
	if errors.Is(err, ErrUnreachable) {
		return Failure{UpstreamUnreachable, rules.Problem(http.StatusBadGateway, rules.ProblemUnreachable, "Upstream Unreachable",
			"The application behind this sidecar does not accept connections, or closed this one before it took the request."), string(UpstreamUnreachable)}
	}
	l.Finish()
	body := l.BodyError()
	var f Failure
	switch {
	case errors.Is(body, ErrBadBody):
		return Failure{Denial: rules.Malformed("The body is malformed: a chunk or a trailer cannot be read."), Aborted: abortedBy(body)}
	case errors.Is(body, ErrBodyTooLarge):
		return Failure{Denial: rules.BodyTooLarge(), Aborted: abortedBy(body)}
	case errors.Is(err, ErrClientGone), body != nil:
		return Failure{Aborted: abortedClientGone}
	case errors.Is(err, ErrNoResponse):
		f = l.overdue()
	case errors.Is(err, ErrInvalidResponse) || isTooLong(err):
		f = Failure{Reason: UpstreamInvalid, Denial: rules.Problem(http.StatusBadGateway, rules.ProblemUpstreamInvalid, "Invalid Upstream Response",
			"The application's response is not HTTP/1.1, or its head is too long.")}
	default:
		f = Failure{Reason: UpstreamClosed, Denial: rules.Problem(http.StatusBadGateway, rules.ProblemUpstreamClosed, "Upstream Closed",
			"The application closed the connection without a response; whether it has processed the request is not known.")}
	}
	f.Aborted = string(f.Reason)
	l.s.cfg.Logger.Debug("the application did not answer", "upstream", l.pool.address, "reason", f.Reason, "error", err)
	return f
}
