// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"bytes"
	"errors"
	"net/http"
	"time"

	"weir.dev/weir/sidecar/exchange"
	wirehttp "weir.dev/weir/sidecar/wire/http"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// relay reads the reply and sends it on.
func (t *txn) relay() exchange.Outcome {
	t.expect()
	result, err := t.readReply()
	if errors.Is(err, errNoReply) && t.x.Record {
		if result, err = t.overdue(); err != nil {
			t.reusable = false
			return exchange.SentNoReply
		}
	}
	if errors.Is(err, errOvertaken) {
		t.c.owed++
		t.result = Unanswered
		return exchange.SentNoReply
	}
	if err != nil {
		t.fail(err)
		return exchange.SentNoReply
	}
	t.until = time.Time{}
	if t.observer != nil {
		t.upstream = time.Since(t.sending)
	}
	t.tell(result)
	t.recorded = t.x.Record
	t.chain.ResponseHead(&t.x)
	if t.reply.env.Zlib && t.x.Record {
		return t.relayPlain()
	}
	return t.relayChunks()
}

// tell fills the exchange from what the reply says.
func (t *txn) tell(r message.Result) {
	t.xcall.Result = exchange.CallResult{Exception: r.Type == message.Exception, Code: r.Code, Field: r.Field}
	status := http.StatusOK
	result := Success
	switch {
	case r.Type == message.Exception && r.Code == message.UnknownMethod:
		status, result = http.StatusNotFound, Exception
	case r.Type == message.Exception:
		status, result = http.StatusInternalServerError, Exception
	case r.Field > 0:
		result = Declared
	}
	t.x.Status = status
	if t.reply.env.Transport.Headers() {
		t.x.Response = &t.response
	}
	if !t.gone {
		t.status, t.result = status, result
	}
}

// overdue tells recorders that there is no reply in time, answers the client and goes on
// waiting for who records it.
func (t *txn) overdue() (message.Result, error) {
	t.chain.Overdue(&t.x)
	t.close = true
	t.fail(errNoReply)
	t.gone = true
	if !t.x.Record || t.x.Late <= 0 {
		return message.Result{}, errNoReply
	}
	if h, ok := t.c.nc.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite()
	}
	t.reusable = true
	t.wait(time.Now(), t.x.Late)
	return t.readReply()
}

// readReply reads the reply up to what says how it ends.
func (t *txn) readReply() (message.Result, error) {
	for {
		r, err := t.parseReply()
		switch {
		case err == nil && t.c.owed > 0 && !t.answers():
			// It is to an earlier call.
			if err := t.passOwed(); err != nil {
				return r, err
			}
			continue
		case err == nil:
			t.c.overtakes = t.c.owed > 0
			return r, nil
		case !errors.Is(err, message.ErrShort), t.out.full():
			t.s.cfg.Logger.Debug("a reply cannot be read", "upstream", t.c.target.Upstream, "error", err)
			return r, errInvalid
		}
		if err := t.out.fill(t); err != nil {
			return r, err
		}
	}
}

// answers reports whether the reply is to this call. Names come back without that of
// their service.
func (t *txn) answers() bool {
	h := &t.reply.head
	return h.Seq == t.call.head.Seq && (bytes.Equal(h.Name, t.xcall.Method) || bytes.Equal(h.Name, t.call.head.Name))
}

// passOwed sends on a reply to a call that is over.
func (t *txn) passOwed() error {
	f := &t.reply
	for b := t.out.bytes()[:f.have]; ; {
		if !t.pass(b) {
			return errClientGone
		}
		if f.done {
			break
		}
		if f.big == nil {
			f.big = t.s.chunks.Get().(*[chunkSize]byte)
		}
		var err error
		if b, err = f.next(t, &t.out); err != nil {
			return err
		}
	}
	f.end(&t.out)
	f.size = 0
	t.c.owed--
	t.c.overtakes, t.c.pipelines = false, true
	t.sent = 0
	return nil
}

// parseReply reads the envelope and the head from what has come, and begins to look for
// the end of the reply.
func (t *txn) parseReply() (message.Result, error) {
	var r message.Result
	b, f := t.out.bytes(), &t.reply
	if len(b) == 0 {
		return r, message.ErrShort
	}
	f.form = t.call.form
	if err := message.ParseEnvelope(f.form.Transport, b, 0, &f.env); err != nil {
		return r, err
	}
	p := t.call.head.Protocol
	if f.env.Protocol != 0 {
		p = f.env.Protocol
	}
	whole := f.env.Length > 0 && len(b) >= f.env.Length
	if whole {
		b = b[:f.env.Length]
	}
	m := b[f.env.Message:]
	var err error
	if f.env.Zlib {
		const enough = 1 << 10
		t.unpacked, err = t.inflater.Prefix(t.unpacked[:0], m, enough)
		m = t.unpacked
	}
	if err != nil {
		return r, err
	}
	if f.head, err = message.ParseHead(p, m); err == nil {
		r, err = message.ResultOf(&f.head, m[f.head.Struct:])
	}
	switch {
	case errors.Is(err, message.ErrShort) && whole:
		return r, errInvalid
	case err != nil:
		return r, err
	}
	if f.head.Seq != t.call.head.Seq && t.c.owed == 0 {
		// It is passed on, and the client may think of it what it does; but whatever else
		// comes on this connection is nobody's.
		t.reusable = false
	}
	return r, f.start(t.out.bytes(), f.form.Transport == message.Unframed)
}

// edit is the beginning of the reply with the envelope that the client gets.
func (t *txn) edit(b []byte) []byte {
	e := &t.reply.env
	added := false
	t.x.Fields(func(string, []byte) bool { added = true; return false })
	if !e.Transport.Headers() || !added && !t.x.Hides() {
		return b
	}
	infos := t.edited.Infos[:0]
	for i := range e.Infos {
		if in := &e.Infos[i]; in.Numbered || !t.x.HidesResponse(in.Key) {
			infos = append(infos, *in)
		}
	}
	t.edited, t.keys = *e, t.keys[:0]
	t.edited.Infos = infos
	t.addFields()
	w, ok := message.AppendEnvelope(t.w[:0], &t.edited, e.Length-e.Message)
	if !ok {
		return b
	}
	t.w = append(w, b[e.Message:]...)
	return t.w
}

// relayChunks sends the reply on as it comes.
func (t *txn) relayChunks() exchange.Outcome {
	f := &t.reply
	b := t.out.bytes()[:f.have]
	t.show(b[f.env.Message+f.head.Struct:])
	first := t.edit(b)
	for {
		if f.done && !t.ended() {
			return t.abort("record")
		}
		if !t.pass(first) {
			return t.abort("client-gone")
		}
		if f.done {
			break
		}
		if f.big == nil {
			f.big = t.s.chunks.Get().(*[chunkSize]byte)
		}
		var err error
		if first, err = f.next(t, &t.out); err != nil {
			if errors.Is(err, errClientGone) {
				return t.abort("client-gone")
			}
			t.s.cfg.Metrics.UpstreamError(t.c.target.Port, wirehttp.UpstreamAborted)
			return t.abort(string(wirehttp.UpstreamAborted))
		}
		t.show(first)
	}
	f.end(&t.out)
	return exchange.Replied
}

// show shows recorders what of the result b is; what ends a message is none of it.
func (t *txn) show(b []byte) {
	if !t.x.Record {
		return
	}
	if t.reply.done {
		b = trimEnd(t.reply.head.Protocol, b)
	}
	t.chain.ResponseBody(&t.x, b)
}

// ended tells recorders that the reply is whole. They are told also where they wanted
// no more of it.
func (t *txn) ended() bool { return !t.recorded || t.chain.ResponseEnd(&t.x) }

// pass sends b to the client. It reports false when nobody is there who wants it.
func (t *txn) pass(b []byte) bool {
	if t.gone {
		return t.x.Record || t.reply.done
	}
	if _, err := t.sock.Write(b); err != nil {
		t.gone, t.close = true, true
		t.result, t.status, t.aborted = ClientGone, 0, "client-gone"
		return t.x.Record
	}
	t.sent += int64(len(b))
	return true
}

// abort ends both sides in the middle of a reply.
func (t *txn) abort(why string) exchange.Outcome {
	t.reusable, t.close = false, true
	t.aborted = why
	if why == "client-gone" {
		t.result = ClientGone
	} else {
		t.result = Failed
	}
	return exchange.Aborted
}

// relayPlain reads a compressed reply whole, for who records what it says.
func (t *txn) relayPlain() exchange.Outcome {
	f := &t.reply
	if f.env.Length > t.s.cfg.InflateBytes || !t.hold(t.reserved+int64(f.env.Length)) {
		// Nobody can record it.
		t.x.Record = false
		return t.relayChunks()
	}
	t.packed = append(t.packed[:0], t.out.bytes()[:f.have]...)
	for !f.done {
		if f.big == nil {
			f.big = t.s.chunks.Get().(*[chunkSize]byte)
		}
		b, err := f.next(t, &t.out)
		if err != nil {
			t.fail(err)
			return exchange.Aborted
		}
		t.packed = append(t.packed, b...)
	}
	var err error
	if t.unpacked, err = t.deflated(t.unpacked, t.packed[f.env.Message:]); err != nil || len(t.unpacked) < f.head.Struct {
		t.fail(errInvalid)
		return exchange.Aborted
	}
	t.show(t.unpacked[f.head.Struct:])
	if !t.ended() {
		return t.abort("record")
	}
	if !t.pass(t.edit(t.packed)) {
		return t.abort("client-gone")
	}
	f.end(&t.out)
	return exchange.Replied
}
