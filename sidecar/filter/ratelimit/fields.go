// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"strconv"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
)

// The fields of draft-ietf-httpapi-ratelimit-headers-11, and those that were common
// before it. An application's own are left; ours are further members of the same
// lists.
const (
	fieldPolicy     = "RateLimit-Policy"
	fieldLimit      = "RateLimit"
	fieldXLimit     = "X-RateLimit-Limit"
	fieldXRemaining = "X-RateLimit-Remaining"
	fieldXReset     = "X-RateLimit-Reset"
)

// addFields adds the fields for the limits that show.
func (f *Filter) addFields(x *exchange.Exchange, s *scratch) {
	if f.ietf {
		addIETF(x, s)
	}
	if f.xrate {
		addXRateLimit(x, s)
	}
}

// addIETF adds both fields of the draft. A limit without a decision shows its policy
// only.
func addIETF(x *exchange.Exchange, s *scratch) {
	s.buf = s.buf[:0]
	for i := range s.hits {
		if h := &s.hits[i]; h.limit.visible {
			s.buf = append(separate(s.buf), h.terms.item...)
		}
	}
	if len(s.buf) == 0 {
		return
	}
	x.Add(fieldPolicy, s.buf)
	s.buf = s.buf[:0]
	for i := range s.hits {
		h := &s.hits[i]
		if !h.limit.visible || !h.decided {
			continue
		}
		s.buf = append(separate(s.buf), h.limit.quoted...)
		s.buf = append(s.buf, ";r="...)
		s.buf = strconv.AppendUint(s.buf, h.d.Remaining, 10)
		// Nobody knows when a request in progress will end.
		if h.rule.Algorithm() != limiter.Concurrency {
			s.buf = append(s.buf, ";t="...)
			s.buf = strconv.AppendInt(s.buf, h.seconds(), 10)
		}
	}
	if len(s.buf) > 0 {
		x.Add(fieldLimit, s.buf)
	}
}

// addXRateLimit adds the three fields, which have room for one limit.
func addXRateLimit(x *exchange.Exchange, s *scratch) {
	tightest := s.tightest()
	if tightest == nil {
		return
	}
	s.buf = strconv.AppendUint(s.buf[:0], tightest.terms.rule.Limit(), 10)
	x.Add(fieldXLimit, s.buf)
	s.buf = strconv.AppendUint(s.buf[:0], tightest.d.Remaining, 10)
	x.Add(fieldXRemaining, s.buf)
	s.buf = strconv.AppendInt(s.buf[:0], tightest.seconds(), 10)
	x.Add(fieldXReset, s.buf)
}

// tightest is the limit that shows and has denied, else that with the least left, and
// of equals that with the longest t; nil where none shows.
func (s *scratch) tightest() *hit {
	var tightest *hit
	for i := range s.hits {
		if h := &s.hits[i]; h.limit.visible && h.decided && (tightest == nil || h.tighter(tightest)) {
			tightest = h
		}
	}
	return tightest
}

func (h *hit) tighter(than *hit) bool {
	switch {
	case h.d.Allowed != than.d.Allowed:
		return !h.d.Allowed
	case h.d.Allowed && h.d.Remaining != than.d.Remaining:
		return h.d.Remaining < than.d.Remaining
	default:
		return h.seconds() > than.seconds()
	}
}

func separate(b []byte) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	return b
}

// seconds is the parameter t: when what remains is not enough for a request, how long
// until it is; else a time in which no more than the rest should be used. Either is
// long enough that r/t is not above q/w. At least 1.
func (h *hit) seconds() int64 {
	µs := h.d.Reset
	if h.d.Remaining < h.rule.Cost() {
		µs = h.d.Retry
	}
	µs = max(µs, int64(float64(h.d.Remaining)*h.rule.Interval()))
	return max(1, (µs+999_999)/1_000_000)
}
