// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"errors"
	"io"
	"os"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
	"weir.dev/weir/sidecar/wire/sniff"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// readHead reads a call up to its struct. An error ends the connection: it was refused,
// or the client has left between two calls.
func (t *txn) readHead() error {
	waited := false
	for {
		err := t.parseHead()
		if err == nil || !errors.Is(err, message.ErrShort) {
			if err != nil {
				t.refuse(refusalOf(err))
			} else if waited {
				t.c.resetDeadlines()
			}
			return err
		}
		if t.in.full() {
			t.refuse(RefusedMalformed)
			return message.Malformed("its head is longer than it may be")
		}
		if t.in.len() > 0 && !waited {
			waited = true
			if t.c.form.Transport == 0 {
				t.c.readWithin(t.s.cfg.Timeouts.Sniff)
			} else {
				t.c.readWithin(t.s.cfg.Timeouts.Head)
			}
		}
		if err := t.in.fill(&t.sock); err != nil {
			if t.in.len() > 0 {
				t.endsEarly(err)
			}
			return err
		}
	}
}

// endsEarly handles a connection that ended, or went quiet, inside of a head.
func (t *txn) endsEarly(err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.refuse(RefusedTimeout)
	case errors.Is(err, io.EOF):
		t.refuse(RefusedMalformed)
	}
}

// refuse counts that a connection ends without an answer.
func (t *txn) refuse(why Refusal) {
	if why == RefusedTLS {
		t.s.cfg.Metrics.Encrypted(t.c.target.Port)
	}
	t.s.cfg.Metrics.Refused(t.c.target.Port, why)
}

// refused is why a connection cannot be served.
type refused Refusal

func (r refused) Error() string { return "the connection is refused: " + string(r) }

func refusalOf(err error) Refusal {
	var r refused
	var u message.Unsupported
	switch {
	case errors.As(err, &r):
		return Refusal(r)
	case errors.As(err, &u):
		return RefusedUnsupported
	}
	return RefusedMalformed
}

// parseHead reads the envelope and the head from what has come.
func (t *txn) parseHead() error {
	b := t.in.bytes()
	if t.c.form.Transport == 0 {
		if err := t.detect(b); err != nil {
			return err
		}
	}
	f := &t.call
	f.form = t.c.form
	if err := message.ParseEnvelope(f.form.Transport, b, t.s.cfg.FrameBytes, &f.env); err != nil {
		return err
	}
	p := f.form.Protocol
	if f.env.Protocol != 0 {
		p = f.env.Protocol
	}
	var err error
	if f.env.Zlib {
		if err = t.inflate(); err == nil {
			f.head, err = message.ParseHead(p, t.plain)
			if errors.Is(err, message.ErrShort) {
				err = message.Malformed("it ends in its head")
			}
		}
	} else {
		if f.env.Length > 0 && len(b) > f.env.Length {
			b = b[:f.env.Length]
		}
		f.head, err = message.ParseHead(p, b[f.env.Message:])
		if errors.Is(err, message.ErrShort) && f.env.Length > 0 && len(b) == f.env.Length {
			err = message.Malformed("its frame ends in its head")
		}
	}
	if err == nil && f.head.Type != message.Call && f.head.Type != message.Oneway {
		err = message.Malformed("a reply where a call should be")
	}
	return err
}

// detect says what form the connection has, by its first bytes.
func (t *txn) detect(b []byte) error {
	v := sniff.Classify(b)
	form, ok := message.FormOf(v)
	switch {
	case v == sniff.NeedMore:
		return message.ErrShort
	case v == sniff.TLS:
		return refused(RefusedTLS)
	case v == sniff.HTTP1 || v == sniff.HTTP2:
		return refused(RefusedHTTP)
	case !ok:
		return refused(RefusedUnknown)
	case form.Protocol == message.BinaryLax && !t.s.cfg.Lax:
		return refused(RefusedLax)
	}
	t.c.form = form
	return nil
}

// inflate reads a compressed call to its end, which it takes to know the rest, and
// decompresses it.
func (t *txn) inflate() error {
	f := &t.call
	n := f.env.Length
	if n > t.s.cfg.InflateBytes {
		return message.Unsupported("a compressed message of this size")
	}
	b := t.in.bytes()
	if len(b) < n {
		if n <= headSize {
			return message.ErrShort
		}
		if !t.hold(int64(n)) {
			return message.Unsupported("a compressed message while the memory for them is full")
		}
		if cap(t.whole) < n {
			t.whole = make([]byte, 0, n)
		}
		t.whole = append(t.whole[:0], b...)
		for len(t.whole) < n {
			t.stall()
			k, err := t.sock.Read(t.whole[len(t.whole):n])
			if k == 0 {
				return errors.Join(message.Malformed("it breaks off"), err)
			}
			t.whole = t.whole[:len(t.whole)+k]
		}
		// The buffer's bytes are those of the beginning; none came after the message.
		b = t.whole
	}
	var err error
	t.plain, err = t.deflated(t.plain, b[f.env.Message:n])
	return err
}

// deflated decompresses b into room. What is small needs no memory set aside.
func (t *txn) deflated(room, b []byte) ([]byte, error) {
	limit := t.s.cfg.InflateBytes
	room, err := t.inflater.Inflate(room[:0], b, min(maxKept, limit))
	if err != nil && limit > maxKept && !errors.Is(err, message.ErrShort) {
		if !t.hold(t.reserved + int64(limit)) {
			return room, message.Unsupported("a compressed message while the memory for them is full")
		}
		room, err = t.inflater.Inflate(room[:0], b, limit)
	}
	if errors.Is(err, message.ErrShort) {
		return room, message.Malformed("what is compressed breaks off")
	}
	return room, err
}

// readArgs walks over what has come of the arguments.
func (t *txn) readArgs() error {
	f := &t.call
	if f.env.Zlib {
		return t.readPlain()
	}
	if err := f.start(t.in.bytes(), true); err != nil {
		return err
	}
	t.args = t.in.bytes()[f.env.Message+f.head.Struct : f.have]
	if t.all = f.done; t.all {
		t.args = trimEnd(f.head.Protocol, t.args)
	}
	return nil
}

// readPlain is readArgs for a compressed call, all of which is there.
func (t *txn) readPlain() error {
	f := &t.call
	f.walked, f.left, f.from, f.to, f.done = false, 0, 0, 0, true
	f.have = f.env.Length
	f.size = int64(f.have)
	args := t.plain[f.head.Struct:]
	f.scan.Reset(f.head.Protocol, int64(len(args)))
	n, err := f.scan.Scan(args)
	switch {
	case err != nil:
		return err
	case !f.scan.Done() || n < len(args):
		return message.Malformed("it does not end with its frame")
	}
	t.args, t.all = trimEnd(f.head.Protocol, args), true
	return nil
}

// trimEnd takes off what ends a message after its struct.
func trimEnd(p message.Protocol, b []byte) []byte {
	if p == message.JSON && len(b) > 0 {
		return b[:len(b)-1]
	}
	return b
}

// hold makes the bytes that are set aside for this call n, and reports whether they are
// to be had.
func (t *txn) hold(n int64) bool {
	if n <= t.reserved {
		return true
	}
	if !t.s.reserve(n - t.reserved) {
		return false
	}
	t.reserved = n
	return true
}

// stall gives the client some more time for the rest of its message.
func (t *txn) stall() {
	stall := t.s.settings.Load().Stall
	if now := time.Now(); now.Sub(t.waits) > stall/4 {
		t.waits = now
		_ = t.c.nc.SetReadDeadline(now.Add(stall))
	}
}

// errTooLarge: a message without frame has become longer than the port allows.
var errTooLarge = errors.New("the message is longer than this port allows")

// next reads the next of the call.
func (t *txn) next() ([]byte, error) {
	if t.call.big == nil {
		t.call.big = t.s.chunks.Get().(*[chunkSize]byte)
	}
	t.stall()
	b, err := t.call.next(&t.sock, &t.in)
	if err == nil && t.port != nil && t.port.MaxBody > 0 && t.call.size > t.port.MaxBody {
		err = errTooLarge
	}
	return b, err
}

// withinPort checks the length of a message against the port's bound.
func (t *txn) withinPort() (exchange.Denial, bool) {
	if t.port != nil && t.port.MaxBody > 0 && max(int64(t.call.env.Length), t.call.size) > t.port.MaxBody {
		return rules.BodyTooLarge(), false
	}
	return exchange.Denial{}, true
}

// buffer reads the rest of the call for a filter that wants the arguments, and goes on
// with the filters.
func (t *txn) buffer(limit int) (exchange.Denial, bool, exchange.Verdict) {
	f := &t.call
	if !t.all && f.left < int64(limit) {
		if d, ok := t.readWhole(limit); !ok {
			return d, false, exchange.Respond
		}
	}
	if !t.all || len(t.args) > limit {
		v, asked := t.chain.Oversize(&t.x, &t.progress)
		return rules.TooLarge(limit), asked, v
	}
	t.x.Body = t.args
	return exchange.Denial{}, true, t.chain.Body(&t.x, &t.progress)
}

// readWhole reads the rest of the call, as far as it is not longer than limit.
func (t *txn) readWhole(limit int) (exchange.Denial, bool) {
	f := &t.call
	at := f.env.Message + f.head.Struct
	t.whole = append(t.whole[:0], t.in.bytes()[:f.have]...)
	for !f.done && len(t.whole)-at <= limit {
		b, err := t.next()
		if err != nil {
			t.breaksOff(err)
			return rules.Malformed("The message breaks off, or is malformed."), false
		}
		if !t.hold(int64(len(t.whole) + len(b))) {
			d := rules.Problem(503, rules.ProblemBuffersFull, "Buffers Full",
				"A policy needs the arguments of this call, and those of other calls fill the memory that is set aside for them; retry in 1 s.")
			d.RetryAfter = time.Second
			return d, false
		}
		t.whole = append(t.whole, b...)
	}
	t.args = t.whole[at:]
	if f.done {
		t.all, t.args = true, trimEnd(f.head.Protocol, t.args)
	}
	return exchange.Denial{}, true
}

// breaksOff notes that the rest of a call cannot be read, and so no other can.
func (t *txn) breaksOff(err error) {
	t.close, t.linger = true, true
	var m message.Malformed
	switch {
	case errors.As(err, &m):
		t.aborted = "malformed-body"
	case errors.Is(err, errTooLarge):
		t.aborted = "body-too-large"
	default:
		t.aborted, t.gone, t.linger = "client-gone", true, false
	}
}

// Field implements exchange.Args.
func (t *txn) Field(path []int16) ([]byte, exchange.FieldState) {
	v, found, whole, err := message.Find(t.call.head.Protocol, t.args, path)
	switch {
	case err != nil:
		return nil, exchange.FieldInvalid
	case found:
		if b := v.Bytes(); b != nil {
			return b, exchange.FieldFound
		}
		t.text = v.Append(t.text[:0])
		return t.text, exchange.FieldFound
	case !whole && !t.all:
		return nil, exchange.FieldBeyond
	}
	return nil, exchange.FieldAbsent
}

// Digest implements exchange.Args.
func (t *txn) Digest() (sum [32]byte, err error) {
	return t.digester.Digest(t.call.head.Protocol, t.args)
}
