// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// finagleUpgrade is the method by which Finagle's clients ask for headers of its own.
const finagleUpgrade = "__can__finagle__trace__v3__"

// respond sends what a filter wants sent.
func (t *txn) respond() {
	r := t.x.Reply()
	if r == nil {
		t.deny()
		return
	}
	t.result, t.status = Replayed, r.Status
	if t.xcall.Oneway {
		t.settle()
		return
	}
	kind := message.Reply
	if r.Status != http.StatusOK {
		kind = message.Exception
	}
	h := &t.call.head
	t.doc = message.AppendReply(t.doc[:0], h.Protocol, kind, t.xcall.Method, h.Seq, r.Body)
	t.call.env.Answer(&t.edited)
	if t.edited.Transport.Headers() {
		for i := range r.Header {
			t.edited.Infos = append(t.edited.Infos, message.Info{Key: r.Header[i].Name, Value: r.Header[i].Value})
		}
		t.addFields()
	}
	t.send()
}

// deny answers with x.Denial: as a TApplicationException or as the exception that the
// method declares. A oneway call is only dropped. The name is without that of the
// service, as multiplexed clients expect it back.
func (t *txn) deny() {
	d := &t.x.Denial
	t.x.Status = d.Status
	t.result = Denied
	if d.Close {
		t.close = true
	}
	if t.xcall.Oneway {
		t.settle()
		return
	}
	t.status = d.Status
	h := &t.call.head
	t.text = appendDenial(t.text[:0], d)
	if field := t.xcall.ExceptionField; field > 0 {
		t.doc = message.AppendDeclared(t.doc[:0], h.Protocol, t.xcall.Method, h.Seq, field, t.text)
	} else {
		code := t.xcall.ExceptionCode
		if code == 0 {
			code = message.InternalError
		}
		t.doc = message.AppendException(t.doc[:0], h.Protocol, t.xcall.Method, h.Seq, code, t.text)
	}
	t.call.env.Answer(&t.edited)
	if t.edited.Transport.Headers() {
		t.addDenial(d)
	}
	t.send()
}

// appendDenial appends the text of api.md: what it is, and for programs the policy, the
// limit and when to try again.
func appendDenial(b []byte, d *exchange.Denial) []byte {
	limited := d.Exhausted || d.Status == http.StatusTooManyRequests
	b = append(b, "weir: "...)
	if limited {
		b = append(b, "rate limited"...)
	} else {
		for _, c := range []byte(d.Problem()) {
			if c == '-' {
				c = ' '
			}
			b = append(b, c)
		}
	}
	if d.Policy != "" {
		b = append(append(b, "; policy="...), d.Policy...)
	}
	for i, limit := range d.Limits {
		if i == 0 {
			b = append(b, "; limit="...)
		} else {
			b = append(b, ',')
		}
		b = append(b, limit...)
	}
	if limited || d.RetryAfter > 0 {
		b = strconv.AppendInt(append(b, "; retry_after_ms="...), millis(d.RetryAfter), 10)
	}
	if !limited && d.Detail != "" {
		b = append(append(b, "; "...), d.Detail...)
	}
	return b
}

// millis rounds up: who comes back earlier is denied again.
func millis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// addFields adds to an answer with headers what filters have added, in lower case.
func (t *txn) addFields() {
	t.x.Fields(func(name string, value []byte) bool {
		t.info(name, value)
		return true
	})
}

// addDenial adds what filters have added, and what the text says.
func (t *txn) addDenial(d *exchange.Denial) {
	t.keys = t.keys[:0]
	t.addFields()
	if d.RetryAfter > 0 {
		from := len(t.keys)
		t.keys = strconv.AppendInt(t.keys, millis(d.RetryAfter), 10)
		t.info("retry-after-ms", t.keys[from:])
	}
	if d.Policy != "" {
		t.info("weir-policy", []byte(d.Policy))
	}
}

// info adds one to t.edited, which may have as many as fit.
func (t *txn) info(name string, value []byte) {
	if len(t.edited.Infos) == message.MaxInfos {
		return
	}
	from := len(t.keys)
	t.keys = append(t.keys, name...)
	key := t.keys[from:len(t.keys):len(t.keys)]
	for i, c := range key {
		if 'A' <= c && c <= 'Z' {
			key[i] = c + 'a' - 'A'
		}
	}
	t.edited.Infos = append(t.edited.Infos, message.Info{Key: key, Value: value})
}

// send sends t.doc, a message of Weir's own, in the envelope t.edited, and makes sure
// that the connection can serve another call or ends.
func (t *txn) send() {
	b, ok := message.AppendEnvelope(t.w[:0], &t.edited, len(t.doc))
	if !ok {
		t.edited.Infos = t.edited.Infos[:0]
		b, _ = message.AppendEnvelope(t.w[:0], &t.edited, len(t.doc))
	}
	t.w = append(b, t.doc...)
	if _, err := t.sock.Write(t.w); err != nil {
		t.close, t.gone, t.status, t.aborted, t.result = true, true, 0, "client-gone", ClientGone
		return
	}
	t.sent = int64(len(t.w))
	t.settle()
}

// settle reads what is left of a call that was answered without it. Where that is not
// worth it the connection ends.
func (t *txn) settle() {
	if t.close || t.call.done {
		t.linger = t.linger || t.close && !t.call.done
		return
	}
	t.waits = time.Now()
	t.c.readWithin(discardWithin)
	for before := t.call.size; !t.call.done; {
		if t.call.left > maxDiscard || t.call.size-before > maxDiscard {
			t.close, t.linger = true, true
			return
		}
		if _, err := t.next(); err != nil {
			t.close, t.linger = true, true
			return
		}
	}
}

// rejectMalformed answers a call whose head could be read, and whose arguments cannot.
func (t *txn) rejectMalformed(err error) {
	d := rules.Malformed("The arguments cannot be read: " + err.Error() + ".")
	var m message.Malformed
	if errors.As(err, &m) {
		d = rules.Malformed("The arguments cannot be read: " + string(m) + ".")
	}
	d.Close = true
	t.aborted = "malformed-body"
	t.call.done = false
	t.refuse(RefusedMalformed)
	t.xcall.ExceptionCode = message.ProtocolError
	t.x.Deny(d)
	t.deny()
	t.linger = true
}

// refuseUpgrade tells a Finagle client that its headers are not known here.
func (t *txn) refuseUpgrade() {
	t.xcall.ExceptionCode = message.UnknownMethod
	t.x.Deny(exchange.Denial{Status: http.StatusNotFound, Type: rules.ProblemUnsupported, Title: "Unknown Method",
		Detail: "Headers of Finagle are not passed on; call without them."})
	t.deny()
}
