// SPDX-License-Identifier: Apache-2.0

package http

import (
	"net/http"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// buffer reads the whole body for a filter. Where it is longer than limit, and not
// longer than the port allows, oversize says so: what was read of it is in t.whole.
func (t *txn) buffer(limit int) (d exchange.Denial, oversize, ok bool) {
	if t.buffered {
		t.x.Body = t.whole
		return rules.TooLarge(limit), len(t.whole) > limit, len(t.whole) <= limit
	}
	if t.body.framing == fixedLength && t.body.left > int64(limit) {
		return rules.TooLarge(limit), true, false
	}
	if t.expects100 {
		if !t.flush(append(t.w, "HTTP/1.1 100 Continue\r\n\r\n"...)) {
			return rules.Malformed("The connection ended before the body."), false, false
		}
		t.expects100 = false
	}
	stall, last, waits := t.s.Settings().Stall, time.Time{}, !t.body.inBuffer()
	if waits {
		defer t.c.resetDeadlines()
	}
	for !t.body.ended {
		if now := time.Now(); waits && now.Sub(last) > stall/4 {
			last = now
			_ = t.c.nc.SetReadDeadline(now.Add(stall))
		}
		if len(t.whole) > limit {
			break
		}
		if d, ok := t.grow(limit); !ok {
			return d, false, false
		}
		n, err := t.body.Read(t.whole[len(t.whole):cap(t.whole)])
		t.whole = t.whole[:len(t.whole)+n]
		if t.maxBody > 0 && int64(len(t.whole)) > t.maxBody {
			return rules.BodyTooLarge(), false, false
		}
		if err != nil && !t.body.ended {
			return rules.Malformed("The body ends before its end, or a chunk of it is malformed."), false, false
		}
	}
	if len(t.whole) > limit {
		return rules.TooLarge(limit), true, false
	}
	if t.whole == nil {
		t.whole = []byte{}
	}
	t.buffered, t.x.Body = true, t.whole
	return exchange.Denial{}, false, true
}

// grow makes room in t.whole, doubling it, within what all requests together may
// hold.
func (t *txn) grow(limit int) (exchange.Denial, bool) {
	if int64(len(t.whole)) < t.reserved && len(t.whole) < cap(t.whole) {
		return exchange.Denial{}, true
	}
	size := max(2*int64(len(t.whole)), 4096)
	if t.body.framing == fixedLength {
		size = int64(len(t.whole)) + t.body.left
	}
	size = min(size, int64(limit)+1)
	if size > t.reserved {
		if !t.s.reserve(size - t.reserved) {
			d := rules.Problem(http.StatusServiceUnavailable, rules.ProblemBuffersFull, "Buffers Full",
				"A policy needs the body of this request, and the bodies of other requests fill the memory that is set aside for them; retry in 1 s.")
			d.RetryAfter = time.Second
			return d, false
		}
		t.reserved = size
	}
	if int64(cap(t.whole)) < size {
		t.whole = append(make([]byte, 0, size), t.whole...)
	}
	return exchange.Denial{}, true
}

// discard reads what is left of a request that was answered without it, so that
// the next can be read. It reports false when that is not worth it.
func (t *txn) discard() bool {
	if t.body.ended {
		return true
	}
	if t.expects100 || t.body.framing == fixedLength && t.body.left > maxLinger {
		return false
	}
	if t.body.inBuffer() {
		n, _ := t.br.Discard(int(t.body.left))
		t.body.skip(n)
		return true
	}
	_ = t.c.nc.SetReadDeadline(time.Now().Add(time.Second))
	defer t.c.resetDeadlines()
	if cap(t.out) < 4096 {
		t.out = make([]byte, 0, 4096)
	}
	for n := 0; n <= maxLinger; {
		k, err := t.body.Read(t.out[:4096])
		n += k
		if t.body.ended {
			return true
		}
		if err != nil {
			return false
		}
	}
	return false
}
