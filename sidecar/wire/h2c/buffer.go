// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"net/http"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// buffer reads the whole body for a filter. Where it is longer than limit, and not
// longer than the port allows, oversize says so: what was read of it is in t.whole.
func (t *stream) buffer(limit int) (d exchange.Denial, oversize, ok bool) {
	if t.buffered {
		t.x.Body = t.whole
		return rules.TooLarge(limit), len(t.whole) > limit, len(t.whole) <= limit
	}
	if t.r.ContentLength > int64(limit) {
		return rules.TooLarge(limit), true, false
	}
	for ended := t.body.ended.Load(); !ended && len(t.whole) <= limit; {
		if d, ok := t.grow(limit); !ok {
			return d, false, false
		}
		n, err := t.body.Read(t.whole[len(t.whole):cap(t.whole)])
		t.whole = t.whole[:len(t.whole)+n]
		if ended = t.body.ended.Load(); err != nil && !ended {
			return t.bodyDenial(err), false, false
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
func (t *stream) grow(limit int) (exchange.Denial, bool) {
	if int64(len(t.whole)) < t.reserved && len(t.whole) < cap(t.whole) {
		return exchange.Denial{}, true
	}
	size := max(2*int64(len(t.whole)), 4096)
	if t.r.ContentLength >= 0 {
		// One more byte, so that the end is seen in the same read.
		size = t.r.ContentLength + 1
	}
	size = min(size, int64(limit)+1)
	if size > t.reserved {
		if !t.s.http.Reserve(size - t.reserved) {
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
