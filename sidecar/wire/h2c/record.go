// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"weir.dev/weir/sidecar/exchange"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// abortedUnrecorded is Record.Aborted where a recorder did not let a response end.
const abortedUnrecorded = "not-recorded"

var errAbandoned = errors.New("the client has gone, and the application has taken too long for those that record")

// patience is how long a response is awaited that only recorders want. What they are
// after is of a size that they have bounded, so time is all that has to be.
func (t *stream) patience() time.Duration {
	return max(t.s.http.Settings().Stall, t.timeout()+t.x.Late)
}

// recording keeps a request from ending with its client, as long as the response is
// wanted for a record.
type recording struct {
	cancel   context.CancelCauseFunc
	patience time.Duration

	mu sync.Mutex
	// gone: there is no client; unwanted: no recorder.
	gone, unwanted, ended bool
	timer                 *time.Timer
}

// clientGone is called once nobody waits for the response but recorders.
func (r *recording) clientGone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.gone = true; {
	case r.ended:
	case r.unwanted:
		r.cancel(nil)
	case r.timer == nil:
		r.timer = time.AfterFunc(r.patience, func() { r.cancel(errAbandoned) })
	}
}

// giveUp is called when recorders want no more.
func (r *recording) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unwanted = true; r.gone && !r.ended {
		r.cancel(nil)
	}
}

// headed: the head has come, and the rest may take its time.
func (r *recording) headed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil && r.timer.Stop() {
		r.timer.Reset(r.patience)
	}
}

func (r *recording) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended = true; r.timer != nil {
		r.timer.Stop()
	}
	r.cancel(nil)
}

// result of a round trip.
type result struct {
	resp    *http.Response
	outcome exchange.Outcome
	err     error
}

// forwardRecorded is forward for recorders: the request does not end with its client.
func (t *stream) forwardRecorded() exchange.Outcome {
	ctx, cancel := context.WithCancelCause(t.s.http.Context())
	rec := &recording{cancel: cancel, patience: t.patience()}
	t.recording = rec
	stop := context.AfterFunc(t.r.Context(), rec.clientGone)
	var head, call timers
	release := func() {
		stop()
		head.stop()
		call.stop()
		rec.end()
	}
	defer func() {
		if t.later == nil {
			release()
		}
	}()
	late := make(chan struct{})
	t.bound(&head, &call, cancel, func() { close(late) })
	in, body := &interim{t: t}, t.body
	req := t.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders:   func() { body.sending.Store(true) },
		Got1xxResponse: in.got,
	}))
	sent := time.Now()
	done := t.send(req)
	var got result
	select {
	case got = <-done:
	case <-late:
		if t.awaitLater(in.finish) {
			t.later = func() exchange.Outcome {
				defer release()
				wait := time.AfterFunc(t.x.Late, func() { cancel(errNoAnswer) })
				got := <-done
				wait.Stop()
				return t.recordResponse(ctx, got, sent)
			}
			return exchange.SentNoReply
		}
		cancel(errNoAnswer)
		if got = <-done; got.err == nil {
			// It came in that very moment, and ends with the context.
			_ = got.resp.Body.Close()
			got = result{outcome: exchange.SentNoReply, err: errNoAnswer}
		}
	}
	head.stop()
	in.finish()
	return t.recordResponse(ctx, got, sent)
}

// send does the round trip, on a goroutine of its own where the client may have to be
// answered meanwhile.
func (t *stream) send(req *http.Request) <-chan result {
	done := make(chan result, 1)
	send := func() {
		var got result
		got.resp, got.outcome, got.err = t.roundTrip(req)
		done <- got
	}
	if t.timeout() > 0 {
		go send()
	} else {
		send()
	}
	return done
}

// recordResponse goes on from the response's head, or from that there is none.
func (t *stream) recordResponse(ctx context.Context, got result, sent time.Time) exchange.Outcome {
	if got.err != nil {
		return t.noResponse(context.Cause(ctx), got.err, got.outcome)
	}
	resp := got.resp
	defer func() {
		t.recording.cancel(nil)
		_ = resp.Body.Close()
	}()
	t.recording.headed()
	t.body.keep.Store(false)
	t.record.Upstream = time.Since(sent)
	t.x.Status, t.x.Response = resp.StatusCode, t.responseOf(resp)
	outcome, err := t.relayRecorded(&recorded{
		head: func() { t.writeHead(resp) }, trailers: func() { t.writeTrailers(resp) },
		body: resp.Body, length: resp.ContentLength, bodyless: t.bodyless(resp.StatusCode),
	})
	switch {
	case err == nil:
		return outcome
	case t.deaf:
		return exchange.Aborted
	}
	return t.aborted(ctx, err)
}

// recordLeg is relayLeg for recorders.
func (t *stream) recordLeg(l *wirehttp.Leg, status int) exchange.Outcome {
	if !t.until.IsZero() {
		t.until = time.Now().Add(t.patience())
	}
	outcome, err := t.relayRecorded(&recorded{
		head: func() { t.writeLegHead(l, status) }, trailers: func() { t.writeLegTrailers(l) },
		body: legBody{l}, length: l.ContentLength(), bodyless: t.bodyless(status),
	})
	switch {
	case err == nil:
		return outcome
	case t.deaf:
		l.Break()
		return exchange.Aborted
	}
	return t.legAborted(l, err)
}

// recorded is a response on its way to the client, past recorders.
type recorded struct {
	head, trailers func()
	body           io.Reader
	// length is -1 where it is not known.
	length   int64
	bodyless bool
	// end is the last byte of a body of known length, if held.
	end  [1]byte
	held bool
}

// relayRecorded is relay for recorders: they see the body, read to its end even if no
// client is there to get it, and have ended before the client gets the end of it. An
// error says that the response broke off.
func (t *stream) relayRecorded(r *recorded) (exchange.Outcome, error) {
	t.chain.ResponseHead(&t.x)
	t.stillWanted()
	empty := r.bodyless || r.length == 0
	if !empty && !t.deaf {
		r.head()
	}
	if !r.bodyless {
		if err := t.recordBody(r); err != nil {
			return exchange.Aborted, err
		}
	}
	if failed := t.body.failed.Load(); failed != nil {
		// The request broke off, so this is no answer to it.
		return exchange.Aborted, *failed
	}
	if !t.chain.ResponseEnd(&t.x) {
		if t.reset = true; t.record.Aborted == "" {
			t.record.Aborted = abortedUnrecorded
		}
		return exchange.Aborted, nil
	}
	if t.deaf {
		return exchange.Replied, nil
	}
	if empty {
		r.head()
	}
	if r.held {
		t.sendOn(r.end[:], false)
	}
	if !r.bodyless && !t.deaf {
		r.trailers()
	}
	if t.r.Context().Err() != nil {
		t.hangUp()
	}
	return exchange.Replied, nil
}

// recordBody reads the body to its end, and sends on all but the last byte of one of
// known length. Where nothing was sent before, as of an empty one, nothing is sent.
func (t *stream) recordBody(r *recorded) error {
	buf := make([]byte, firstRead)
	if r.length != 0 && waits(r.body) {
		t.sendOn(nil, true)
	}
	for got := int64(0); ; {
		n, err := r.body.Read(buf)
		p := buf[:n]
		if got += int64(n); n > 0 {
			if t.x.Record {
				t.chain.ResponseBody(&t.x, p)
				t.stillWanted()
			}
			if r.length > 0 && got >= r.length {
				r.end[0], r.held = p[n-1], true
				p = p[:n-1]
			}
			t.sendOn(p, err == nil && waits(r.body))
		}
		switch {
		case err == io.EOF:
			if r.length != 0 {
				t.sendOn(nil, true)
			}
			return nil
		case err != nil:
			return err
		case t.deaf && !t.x.Record:
			return errClientGone
		case t.s.http.Context().Err() != nil || !t.until.IsZero() && !time.Now().Before(t.until):
			return errAbandoned
		case n == len(buf) && n < bulk:
			buf = make([]byte, bulk)
		}
	}
}

// stillWanted ends the request where nobody wants its response any more.
func (t *stream) stillWanted() {
	if t.recording != nil && !t.x.Record {
		t.recording.giveUp()
	}
}

// sendOn sends p to a client that may have gone.
func (t *stream) sendOn(p []byte, flush bool) {
	switch {
	case t.deaf:
	case flush && t.write(p), !flush && (len(p) == 0 || t.put(p)):
		t.record.ResponseBytes += int64(len(p))
	default:
		t.hangUp()
	}
}

// hangUp says that the client has gone.
func (t *stream) hangUp() {
	t.deaf, t.reset = true, true
	if t.record.Aborted == "" {
		t.record.Aborted = abortedClientGone
	}
	if t.recording != nil {
		t.recording.clientGone()
	} else if t.until.IsZero() {
		t.until = time.Now().Add(t.patience())
	}
}
