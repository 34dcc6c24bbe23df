// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"weir.dev/weir/sidecar/exchange"
	wirehttp "weir.dev/weir/sidecar/wire/http"
	"weir.dev/weir/sidecar/wire/http/rules"
	"weir.dev/weir/sidecar/wire/socket"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// pollEvery is how often a wait for the application is interrupted to see whether the
// client is still there; pollOften where it is known to go on without replies.
const (
	pollEvery = time.Second
	pollOften = 20 * time.Millisecond
)

// Errors of the application's side.
var (
	errUnreachable = errors.New("the application cannot be reached")
	errClientGone  = errors.New("the client has gone")
	errOvertaken   = errors.New("the client goes on without a reply")
	errNoReply     = errors.New("the application did not answer in time")
	errInvalid     = errors.New("the application's reply is not the Thrift that it was asked in")
)

// forward sends the call to the application and its reply to the client.
func (t *txn) forward() exchange.Outcome {
	t.reusable, t.wrote = true, false
	defer t.release()
	if err := t.dispatch(t.first()); err != nil {
		t.fail(err)
		if t.wrote {
			return exchange.SentNoReply
		}
		return exchange.NotSent
	}
	for !t.call.done {
		b, err := t.next()
		if err != nil {
			t.reusable = false
			t.callBroken(err)
			return exchange.SentNoReply
		}
		if err := t.write(b); err != nil {
			t.reusable = false
			t.fail(err)
			return exchange.SentNoReply
		}
	}
	if t.xcall.Oneway {
		t.result, t.status, t.x.Status = Oneway, http.StatusOK, http.StatusOK
		t.keep()
		return exchange.Replied
	}
	return t.relay()
}

// first is what there is of the call, with the envelope that the application gets.
func (t *txn) first() []byte {
	b := t.in.bytes()[:min(t.call.have, t.in.len())]
	if len(t.whole) > 0 {
		b = t.whole
	}
	e := &t.call.env
	parent := t.x.Trace.Parent
	if !e.Transport.Headers() || !t.x.HasUpstream() && len(parent) == 0 {
		return b
	}
	infos := t.edited.Infos[:0]
	for i := range e.Infos {
		in := &e.Infos[i]
		switch {
		case !in.Numbered && t.x.SetsUpstream(in.Key), len(parent) > 0 && string(in.Key) == "traceparent":
		default:
			infos = append(infos, *in)
		}
	}
	t.edited, t.keys = *e, t.keys[:0]
	t.edited.Infos = infos
	t.x.Upstream(func(name string, value []byte) bool {
		if len(value) > 0 {
			t.info(name, value)
		}
		return true
	})
	if len(parent) > 0 {
		t.info("traceparent", parent)
	}
	w, ok := message.AppendEnvelope(t.w[:0], &t.edited, e.Length-e.Message)
	if !ok {
		return b
	}
	t.w = append(w, b[e.Message:]...)
	return t.w
}

// dispatch takes a connection and writes b to it. A second time it does so only where
// no byte was taken by a connection that had been kept.
func (t *txn) dispatch(b []byte) error {
	now := time.Now()
	t.sending = now
	u := t.c.kept(now)
	for reused := u != nil; ; reused = false {
		if u == nil {
			var err error
			if u, err = t.s.dial(t.c.target.Upstream); err != nil {
				t.s.cfg.Logger.Debug("the application cannot be reached", "upstream", t.c.target.Upstream, "error", err)
				return errUnreachable
			}
		}
		t.take(u, now)
		n, err := u.Write(b)
		if t.wrote = n > 0; t.wrote || err == nil {
			return err
		}
		_ = u.Close()
		t.up, t.c.owed = nil, 0
		t.c.up.Store(nil)
		if !reused {
			return errUnreachable
		}
		u = nil
	}
}

// take makes u the connection of this call.
func (t *txn) take(u *socket.Conn, now time.Time) {
	t.up = u
	t.c.up.Store(u)
	t.until = time.Time{}
	t.out.reset()
	t.reply.size = 0
	if t.s.ctx.Err() != nil {
		t.c.interrupt()
	}
	every := t.poll()
	if d := u.Tick.Sub(now); d < every/2 || d > every {
		u.Tick = now.Add(every)
		_ = u.SetReadDeadline(u.Tick)
	}
}

// poll is how often the wait for the application is interrupted: more often where the
// client has gone on without a reply before.
func (t *txn) poll() time.Duration {
	if t.c.overtakes {
		return pollOften
	}
	return pollEvery
}

// write writes more of the call. The application may take its time, but not for ever.
func (t *txn) write(b []byte) error {
	if stall := t.s.settings.Load().Stall; time.Until(t.writing) < stall/2 {
		t.writing = time.Now().Add(stall)
		_ = t.up.SetWriteDeadline(t.writing)
	}
	_, err := t.up.Write(b)
	return err
}

// expect begins the time for the reply.
func (t *txn) expect() {
	t.timeout = t.x.Timeout
	if t.timeout <= 0 && t.port != nil {
		t.timeout = t.port.ResponseTimeout(t.x.Path)
	}
	if t.timeout > 0 {
		t.wait(time.Now(), t.timeout)
	}
}

// wait makes the time for the reply end d from now.
func (t *txn) wait(now time.Time, d time.Duration) {
	if t.until = now.Add(d); t.until.Before(t.up.Tick) {
		t.up.Tick = t.until
		_ = t.up.SetReadDeadline(t.until)
	}
}

// Read reads from the application. The deadline on the connection is only a tick: it is
// looked whether the client is gone or the time is over, and waiting goes on.
func (t *txn) Read(p []byte) (int, error) {
	for {
		n, err := t.up.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		now := time.Now()
		switch {
		case t.s.ctx.Err() != nil:
			return 0, t.s.ctx.Err()
		case !t.until.IsZero() && !now.Before(t.until):
			return 0, errNoReply
		case !t.gone:
			if err := t.lookAtClient(); err != nil {
				return 0, err
			}
		}
		// A stall is counted from when there is something to write.
		_ = t.c.nc.SetWriteDeadline(now.Add(t.s.settings.Load().Stall))
		t.up.Tick = now.Add(t.poll())
		if !t.until.IsZero() && t.until.Before(t.up.Tick) {
			t.up.Tick = t.until
		}
		_ = t.up.SetReadDeadline(t.up.Tick)
	}
}

// lookAtClient says what the client has done while it waits for the application: it has
// gone, or it goes on with another call although no byte of the reply has come.
func (t *txn) lookAtClient() error {
	state := socket.Quiet
	if t.c.wait != nil {
		state = t.c.wait.Look()
	}
	switch {
	case state == socket.Gone && !t.x.Record:
		return errClientGone
	case t.c.pipelines || t.out.len() > 0 || t.reply.size > 0:
		return nil
	case state == socket.Readable, t.in.len() > t.call.have:
		return errOvertaken
	}
	return nil
}

// release lets go of the application's connection.
func (t *txn) release() {
	u := t.up
	if u == nil {
		return
	}
	t.up = nil
	t.c.up.Store(nil)
	if !t.writing.IsZero() {
		t.writing = time.Time{}
		_ = u.SetWriteDeadline(time.Time{})
	}
	switch {
	case !t.reusable || t.c.owed == 0 && t.out.len() > 0:
		t.c.owed = 0
		_ = u.Close()
	case t.c.owed > 0:
		t.c.after = u
	default:
		t.c.pool.Put(u, time.Now())
	}
}

// kept is a connection for the client's next call, nil where there is none.
func (c *conn) kept(now time.Time) *socket.Conn {
	if u := c.after; u != nil {
		c.after = nil
		if c.owed > 0 || u.Quiet() {
			return u
		}
		_ = u.Close()
	}
	return c.pool.Get(now)
}

// keep keeps the application's connection for the client's next call: that comes after
// the oneway call then, as it does without a proxy, and nobody else's waits for it.
func (t *txn) keep() {
	if t.c.after = t.up; !t.writing.IsZero() {
		t.writing = time.Time{}
		_ = t.up.SetWriteDeadline(time.Time{})
	}
	t.up = nil
	t.c.up.Store(nil)
}

// callBroken handles a call whose rest cannot be read after its beginning was sent.
func (t *txn) callBroken(err error) {
	t.breaksOff(err)
	if t.gone {
		t.result = ClientGone
		return
	}
	d := rules.Malformed("The message breaks off, or is malformed.")
	if errors.Is(err, errTooLarge) {
		d = rules.BodyTooLarge()
	}
	t.xcall.ExceptionCode = message.ProtocolError
	t.x.Deny(d)
	t.deny()
}

// fail answers for an application that gave no reply.
func (t *txn) fail(err error) {
	t.reusable = false
	reason, d := failure(err, t.timeout)
	if errors.Is(err, errClientGone) {
		t.result, t.aborted = ClientGone, "client-gone"
		t.close, t.gone = true, true
		return
	}
	t.s.cfg.Metrics.UpstreamError(t.c.target.Port, reason)
	aborted := string(reason)
	if !t.gone {
		t.xcall.ExceptionCode, t.xcall.ExceptionField = 0, 0
		t.x.Deny(d)
		t.deny()
	}
	t.result, t.aborted = Failed, aborted
}

func failure(err error, timeout time.Duration) (wirehttp.UpstreamError, exchange.Denial) {
	switch {
	case errors.Is(err, errUnreachable):
		return wirehttp.UpstreamUnreachable, rules.Problem(http.StatusBadGateway, rules.ProblemUnreachable, "Upstream Unreachable",
			"The application behind this sidecar does not accept connections, or closed this one before it took the call.")
	case errors.Is(err, errNoReply):
		return wirehttp.UpstreamTimeout, rules.Problem(http.StatusGatewayTimeout, rules.ProblemUpstreamTimeout, "Upstream Timeout",
			"The application did not answer within "+timeout.String()+"; whether it has executed the call is not known.")
	case errors.Is(err, errInvalid):
		return wirehttp.UpstreamInvalid, rules.Problem(http.StatusBadGateway, rules.ProblemUpstreamInvalid, "Invalid Upstream Response",
			"The application's answer is not a Thrift reply in the caller's protocol and transport.")
	}
	return wirehttp.UpstreamClosed, rules.Problem(http.StatusBadGateway, rules.ProblemUpstreamClosed, "Upstream Closed",
		"The application closed the connection before it answered; whether it has executed the call is not known.")
}

var _ io.Reader = (*txn)(nil)
