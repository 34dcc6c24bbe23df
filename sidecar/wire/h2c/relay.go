// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"golang.org/x/net/http2"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

const (
	// firstRead is how much of a response is read at once until so much has come:
	// a stream that waits for its next message holds little.
	firstRead, bulk = 4 << 10, 32 << 10
)

// relay sends the response on: its head with what filters have added, its body as
// it comes, its trailers.
func (t *stream) relay(ctx context.Context, resp *http.Response) exchange.Outcome {
	t.x.Status, t.x.Response = resp.StatusCode, t.responseOf(resp)
	t.chain.ResponseHead(&t.x)
	t.writeHead(resp)
	// Where nothing follows, the stream ends with the head, as the application's
	// has: so it must with the Trailers-Only responses of gRPC.
	if t.r.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified {
		return exchange.Replied
	}
	var err error
	if resp.ContentLength == 0 {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		err = t.relayBody(resp.Body)
	}
	if err != nil {
		return t.aborted(ctx, err)
	}
	t.writeTrailers(resp)
	return exchange.Replied
}

// writeHead sends the response's head on, with what filters have added.
func (t *stream) writeHead(resp *http.Response) {
	h := t.header()
	copyFields(h, resp.Header)
	for name := range resp.Trailer {
		if !t.x.HidesResponse(bytesOf(name)) {
			h.Add("Trailer", name)
		}
	}
	t.hide(h)
	t.addFields(h)
	t.w.WriteHeader(resp.StatusCode)
	t.status = resp.StatusCode
	if t.grpc {
		t.grpcStatus = parseStatus(resp.Header["Grpc-Status"])
	}
}

// hide takes away what filters keep from clients.
func (t *stream) hide(h http.Header) {
	if !t.x.Hides() {
		return
	}
	for name := range h {
		if t.x.HidesResponse(bytesOf(name)) {
			delete(h, name)
		}
	}
}

// writeTrailers sends the response's trailers on, with which the stream will end.
func (t *stream) writeTrailers(resp *http.Response) {
	for name, values := range resp.Trailer {
		if rules.HopByHop(bytesOf(name), nil) || t.x.HidesResponse(bytesOf(name)) {
			continue
		}
		t.w.Header()[http.TrailerPrefix+name] = values
		if t.grpc && name == "Grpc-Status" {
			t.grpcStatus = parseStatus(values)
		}
	}
}

// copyFields copies what does not end here.
func copyFields(to, from http.Header) {
	for name, values := range from {
		if len(values) > 0 && rules.HopByHop(bytesOf(name), bytesOf(values[0])) || name == "Transfer-Encoding" {
			continue
		}
		to[name] = values
	}
}

var errClientGone = errors.New("the client has gone, or takes nothing")

// relayBody sends each piece on when it has come; the head, before it, when a
// piece may be long in coming.
func (t *stream) relayBody(from io.Reader) error {
	buf := make([]byte, firstRead)
	if waits(from) && !t.write(nil) {
		return errClientGone
	}
	for {
		n, err := from.Read(buf)
		if n > 0 {
			t.record.ResponseBytes += int64(n)
			if waits(from) && !t.write(buf[:n]) || !waits(from) && !t.put(buf[:n]) {
				return errClientGone
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case n == len(buf) && n < bulk:
			buf = make([]byte, bulk)
		}
	}
}

func (t *stream) clientGone() exchange.Outcome {
	t.reset = true
	t.record.Aborted = abortedClientGone
	return exchange.Aborted
}

// aborted ends a response that the application has not ended: a gRPC call with a
// status, all else with RST_STREAM, so that the client does not take the part for
// the whole.
func (t *stream) aborted(ctx context.Context, err error) exchange.Outcome {
	if errors.Is(err, errClientGone) || t.r.Context().Err() != nil {
		return t.clientGone()
	}
	if failed := t.body.failed.Load(); failed != nil {
		t.record.Aborted = aborted(*failed)
		d := t.bodyDenial(*failed)
		t.endGRPC(denialCode(&d), d.Detail)
		return exchange.Aborted
	}
	if errors.Is(context.Cause(ctx), errDeadline) {
		t.record.Aborted = string(wirehttp.UpstreamTimeout)
		t.s.cfg.Metrics.UpstreamError(t.c.target.Port, wirehttp.UpstreamTimeout)
		t.endGRPC(grpcDeadlineExceeded, "The application did not end the call within the call's own timeout.")
		return exchange.Aborted
	}
	t.record.Aborted = string(wirehttp.UpstreamAborted)
	t.s.cfg.Metrics.UpstreamError(t.c.target.Port, wirehttp.UpstreamAborted)
	t.s.cfg.Logger.Debug("the application's response broke off", "upstream", t.c.target.Upstream, "error", err)
	code := grpcUnavailable
	var reset http2.StreamError
	if errors.As(err, &reset) {
		code = t.resetCode(reset.Code)
	}
	t.endGRPC(code, "The application ended the call without a status.")
	return exchange.Aborted
}

// endGRPC ends a gRPC call whose head has been sent; other streams are reset.
func (t *stream) endGRPC(code int, message string) {
	if !t.grpc {
		t.reset = true
		return
	}
	t.grpcStatus = code
	h := t.w.Header()
	h[http.TrailerPrefix+"Grpc-Status"] = []string{strconv.Itoa(code)}
	h[http.TrailerPrefix+"Grpc-Message"] = []string{encodeMessage(message)}
}
