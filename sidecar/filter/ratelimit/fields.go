// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"strconv"

	"weir.dev/weir/sidecar/exchange"
)

// The fields of draft-ietf-httpapi-ratelimit-headers-11. An application's own
// are left; ours are further members of the same lists.
const (
	fieldPolicy = "RateLimit-Policy"
	fieldLimit  = "RateLimit"
)

// addFields adds both fields for the limits that show. A limit without a decision
// shows its policy only.
func (f *Filter) addFields(x *exchange.Exchange, s *scratch) {
	if !f.fields {
		return
	}
	s.buf = s.buf[:0]
	for i := range s.hits {
		if l := s.hits[i].limit; l.visible {
			s.buf = append(separate(s.buf), l.item...)
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
		s.buf = append(s.buf, ";t="...)
		s.buf = strconv.AppendInt(s.buf, h.seconds(), 10)
	}
	if len(s.buf) > 0 {
		x.Add(fieldLimit, s.buf)
	}
}

func separate(b []byte) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	return b
}

// seconds is the parameter t: when nothing remains, how long until something
// does; else a time in which no more than the rest should be used, long enough
// that r/t is not above q/w. At least 1.
func (h *hit) seconds() int64 {
	µs := h.d.Retry
	if h.d.Remaining > 0 {
		µs = max(h.d.Reset, int64(float64(h.d.Remaining)*h.rule.Interval()))
	}
	return max(1, (µs+999_999)/1_000_000)
}
