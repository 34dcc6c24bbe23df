// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

var (
	errNoAnswer = errors.New("the application did not answer in time")
	errDeadline = errors.New("the call's deadline has passed")
)

const (
	// deadlineSlack is how long after a call's own deadline Weir ends it: the
	// client and the application do so first, if they can.
	deadlineSlack = time.Second
	// maxAttempts bounds how often a request is sent that the application says it
	// has not processed.
	maxAttempts = 3
)

// goAway is how net/http says that a GOAWAY does not cover the stream. It exports
// no value for it; TestReplay notices when the words change.
const goAway = "http2: Transport received Server's graceful shutdown GOAWAY"

// forward sends the request to the application and its response to the client.
func (t *stream) forward() exchange.Outcome {
	t.announce()
	switch {
	case t.buffered:
		t.body.fillTrailer()
	case t.r.ContentLength == 0 && !t.empty():
		return exchange.NotSent
	case len(t.whole) > 0:
		// Longer than a filter takes. What sends it may live longer than the stream.
		t.body.resumed, t.body.prefix, t.whole = true, t.whole, nil
		if t.body.ended.Load() {
			t.body.fillTrailer()
		}
	}
	switch {
	case t.translated:
		return t.translate()
	case t.x.Record:
		return t.forwardRecorded()
	}
	ctx, cancel := context.WithCancelCause(t.r.Context())
	defer cancel(nil)
	var head, call timers
	defer head.stop()
	defer call.stop()
	t.bound(&head, &call, cancel, nil)
	// net/http may call what it was given after the stream has ended.
	in, body := &interim{t: t}, t.body
	req := t.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders:   func() { body.sending.Store(true) },
		Got1xxResponse: in.got,
	}))
	sent := time.Now()
	resp, outcome, err := t.roundTrip(req)
	head.stop()
	in.finish()
	if err != nil {
		return t.noResponse(context.Cause(ctx), err, outcome)
	}
	defer func() {
		// Else Close would wait for an application that reads nothing.
		cancel(nil)
		_ = resp.Body.Close()
	}()
	t.body.keep.Store(false)
	t.record.Upstream = time.Since(sent)
	return t.relay(ctx, resp)
}

// timeout is how long the application may take; 0: no bound.
func (t *stream) timeout() time.Duration {
	if t.x.Timeout > 0 || t.port == nil {
		return t.x.Timeout
	}
	return t.port.ResponseTimeout(t.x.Path)
}

// bound ends the request when the call takes longer than it may. When the application
// takes longer than it may for the head of its response it calls late or, where that
// is nil, ends it, too.
func (t *stream) bound(head, call *timers, cancel context.CancelCauseFunc, late func()) {
	if v := t.r.Header["Grpc-Timeout"]; t.grpc && len(v) == 1 {
		if d, ok := parseTimeout(v[0]); ok && d < longest {
			t.deadline = t.start.Add(d)
			call.add(d+deadlineSlack-time.Since(t.start), func() { cancel(errDeadline) })
		}
	}
	if d := t.timeout(); d > 0 {
		if late == nil {
			late = func() { cancel(errNoAnswer) }
		}
		begin := func() { head.add(d, late) }
		if t.body.ended.Load() || t.r.ContentLength == 0 {
			begin()
		} else {
			t.body.onEnd = begin
		}
	}
}

// request is what the application gets.
func (t *stream) request(ctx context.Context) *http.Request {
	r := t.r
	h := r.Header
	for _, name := range [...]string{"Host", "Te", "Http2-Settings"} {
		if v := h[name]; len(v) > 0 && (name == "Host" || rules.HopByHop(bytesOf(name), bytesOf(v[0]))) {
			delete(h, name)
		}
	}
	t.addOwn(h)
	t.setUpstream(h)
	if _, ok := h["User-Agent"]; !ok {
		// Else net/http names itself.
		h["User-Agent"] = nil
	}
	req := (&http.Request{
		Method: r.Method,
		// Its other fields do not come through unchanged.
		URL:           &url.URL{Scheme: "http", Host: r.Host, Opaque: "//" + r.Host + r.RequestURI},
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
		Header:        h,
		Host:          r.Host,
		ContentLength: r.ContentLength,
		Body:          http.NoBody,
	}).WithContext(ctx)
	req.Trailer = t.body.trailer
	switch {
	case t.buffered:
	case r.ContentLength != 0:
		req.Body = t.body
	case req.Trailer != nil:
		// Without a body net/http would never end the stream.
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(nil)), -1
	}
	return req
}

// announce names the trailers that may come.
func (t *stream) announce() {
	for name := range t.r.Trailer {
		if rules.HeadOnly(bytesOf(name)) || t.x.SetsUpstream(bytesOf(name)) {
			continue
		}
		if t.body.trailer == nil {
			t.body.trailer = http.Header{}
		}
		t.body.trailer[name] = nil
	}
}

// empty makes sure that a request which says that it has no body has none, and
// leaves of its trailers those that have come. Where it reports false, what there is
// to say has been said.
func (t *stream) empty() bool {
	if len(t.r.Header["Content-Length"]) > 0 {
		// Without the field, the stream has ended with its head.
		if err := t.body.empty(); err != nil {
			t.record.Aborted = aborted(err)
			if t.r.Context().Err() != nil {
				t.record.Aborted, t.reset = abortedClientGone, true
			} else {
				t.answer(t.bodyDenial(err))
			}
			return false
		}
	}
	maps.DeleteFunc(t.body.trailer, func(_ string, v []string) bool { return len(v) == 0 })
	if len(t.body.trailer) == 0 {
		t.body.trailer = nil
	}
	return true
}

// addOwn adds what Weir says: who the peer is, as every proxy does, and where in a
// trace the request is.
func (t *stream) addOwn(h http.Header) {
	if p := t.x.Trace.Parent; len(p) > 0 {
		h["Traceparent"] = []string{string(p)}
		if t.x.Trace.ParentID == [8]byte{} {
			// The trace begins here.
			delete(h, "Tracestate")
		}
	}
	if xff := h["X-Forwarded-For"]; len(xff) == 0 {
		if t.c.peer.IsValid() {
			h["X-Forwarded-For"] = []string{t.c.peer.String()}
		}
	} else {
		xff[len(xff)-1] = appendPeer(xff[len(xff)-1], t.c.peer)
	}
	if _, ok := h["X-Forwarded-Proto"]; !ok {
		h["X-Forwarded-Proto"] = []string{"http"}
	}
}

func appendPeer(value string, peer netip.Addr) string {
	return string(rules.AppendForwardedFor(nil, []byte(value), peer))
}

// roundTrip sends the request, again only where the application has not processed
// it for certain. outcome is valid where there is no response.
func (t *stream) roundTrip(req *http.Request) (*http.Response, exchange.Outcome, error) {
	origin := t.s.origins.at(t.c.target.Upstream)
	for attempt := 1; ; attempt++ {
		t.rewind(req)
		c, err := origin.conn(req.Context())
		if err != nil {
			if req.Context().Err() == nil {
				err = unreachable{err}
			}
			return nil, exchange.NotSent, err
		}
		if !t.buffered {
			t.body.keep.Store(true)
		}
		t.body.sending.Store(false)
		resp, err := c.RoundTrip(req)
		if err == nil {
			return resp, exchange.SentNoReply, nil
		}
		outcome := t.lost(req.Context(), err)
		if outcome == exchange.NotSent && req.Context().Err() == nil && attempt < maxAttempts && t.again() {
			continue
		}
		return nil, outcome, err
	}
}

// lost says what has become of a request without a response.
func (t *stream) lost(ctx context.Context, err error) exchange.Outcome {
	var reset http2.StreamError
	switch {
	case ctx.Err() != nil:
		// net/http may be writing it right now.
		return exchange.SentNoReply
	case !t.body.sending.Load():
		return exchange.NotSent
	case errors.As(err, &reset) && reset.Code == http2.ErrCodeRefusedStream:
		return exchange.NotSent
	case err.Error() == goAway:
		return exchange.NotSent
	}
	return exchange.SentNoReply
}

// rewind puts the body at its beginning.
func (t *stream) rewind(req *http.Request) {
	switch {
	case t.buffered:
		req.Body = io.NopCloser(bytes.NewReader(t.whole))
	case t.body.resumed:
	case t.body.ended.Load():
		req.Body = io.NopCloser(bytes.NewReader(t.body.kept))
	}
}

// again reports whether the body can be sent once more.
func (t *stream) again() bool {
	return t.buffered || t.r.ContentLength == 0 || !t.body.resumed && (!t.body.begun.Load() || t.body.ended.Load() && !t.body.over)
}

// unreachable is why there is no connection to the application.
type unreachable struct{ error }

// noResponse answers for an application that gave no response.
func (t *stream) noResponse(cause, err error, outcome exchange.Outcome) exchange.Outcome {
	if t.deaf {
		return outcome
	}
	if t.r.Context().Err() != nil {
		// Nobody is there to be answered.
		t.record.Aborted = abortedClientGone
		t.reset = true
		return outcome
	}
	if outcome == exchange.SentNoReply {
		t.chain.Unanswered(&t.x)
	}
	if failed := t.body.failed.Load(); failed != nil {
		t.record.Aborted = aborted(*failed)
		t.answer(t.bodyDenial(*failed))
		return outcome
	}
	reason, d := wirehttp.UpstreamClosed, rules.Problem(http.StatusBadGateway, rules.ProblemUpstreamClosed, "Upstream Closed",
		"The application ended the request without a response; whether it has processed the request is not known.")
	var gone unreachable
	switch {
	case errors.Is(cause, errDeadline):
		reason, d = wirehttp.UpstreamTimeout, rules.Problem(http.StatusGatewayTimeout, rules.ProblemUpstreamTimeout, "Upstream Timeout",
			"The application did not answer within the call's own timeout; whether it has processed the call is not known.")
	case errors.Is(cause, errNoAnswer):
		reason, d = wirehttp.UpstreamTimeout, t.overdue()
	case errors.As(err, &gone) && errors.Is(gone.error, errStranger):
		reason, d = wirehttp.UpstreamUnreachable, rules.Problem(http.StatusBadGateway, rules.ProblemUnreachable, "Upstream Unreachable",
			"The application behind this sidecar does not speak HTTP/2; with appProtocol http at the Service's port, HTTP/2 requests reach it as HTTP/1.1.")
	case errors.As(err, &gone):
		reason, d = wirehttp.UpstreamUnreachable, rules.Problem(http.StatusBadGateway, rules.ProblemUnreachable, "Upstream Unreachable",
			"The application behind this sidecar does not accept connections.")
	case outcome == exchange.NotSent:
		reason, d = wirehttp.UpstreamUnreachable, rules.Problem(http.StatusBadGateway, rules.ProblemUnreachable, "Upstream Unreachable",
			"The application behind this sidecar did not take the request; it has not processed it.")
	case isInvalid(err):
		reason, d = wirehttp.UpstreamInvalid, rules.Problem(http.StatusBadGateway, rules.ProblemUpstreamInvalid, "Invalid Upstream Response",
			"The application's response is not HTTP/2, or its head is too long.")
	}
	t.record.Aborted = string(reason)
	t.s.cfg.Metrics.UpstreamError(t.c.target.Port, reason)
	t.s.cfg.Logger.Debug("the application did not answer", "upstream", t.c.target.Upstream, "reason", reason, "error", err)
	var reset http2.StreamError
	if t.grpc && outcome == exchange.SentNoReply && errors.As(err, &reset) {
		t.x.Status = d.Status
		t.answerGRPC(&d, t.resetCode(reset.Code))
		return outcome
	}
	t.answer(d)
	return outcome
}

// overdue is for an application that has not answered in time.
func (t *stream) overdue() exchange.Denial {
	return rules.Problem(http.StatusGatewayTimeout, rules.ProblemUpstreamTimeout, "Upstream Timeout",
		"The application did not answer within "+t.timeout().String()+"; whether it has processed the request is not known.")
}

// isInvalid reports whether the application broke the protocol.
func isInvalid(err error) bool {
	var reset http2.StreamError
	if errors.As(err, &reset) {
		return reset.Code == http2.ErrCodeProtocol && (reset.Cause == nil || !strings.Contains(reset.Cause.Error(), "received from peer"))
	}
	s := err.Error()
	return strings.Contains(s, "malformed") || strings.Contains(s, "PROTOCOL_ERROR") || strings.Contains(s, "response header list") ||
		strings.Contains(s, "looked like an HTTP/1.1 header")
}
