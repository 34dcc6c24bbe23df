// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/telemetry/trace"
)

// Bounds of what clients choose, in bytes.
const (
	maxMethod    = 32
	maxPath      = 1024
	maxHost      = 256
	maxUserAgent = 256
)

// appendEntry appends the line of an exchange. What is not there is left out.
func appendEntry(b []byte, x *exchange.Exchange, r *exchange.Record) []byte {
	b = append(b, `{"log":"access","time":"`...)
	b = append(appendTime(b, x.Start), '"')
	b = appendText(b, "method", x.Method, maxMethod)
	b = appendText(b, "path", x.RawPath, maxPath)
	b = appendText(b, "protocol", x.Protocol, len(x.Protocol))
	b = appendInt(b, "status", int64(r.Status))
	if r.GRPCStatus >= 0 && x.GRPC {
		b = appendInt(b, "grpc_status", int64(r.GRPCStatus))
	}
	b = appendMilliseconds(b, "duration_ms", r.Duration)
	if r.Upstream > 0 {
		b = appendMilliseconds(b, "upstream_ms", r.Upstream)
	}
	b = appendInt(b, "request_bytes", r.RequestBytes)
	b = appendInt(b, "response_bytes", r.ResponseBytes)
	b = appendAddr(b, "client", x.Client)
	b = appendAddr(b, "peer", x.Peer)
	b = appendInt(b, "port", int64(x.Port))
	if v, n := x.Request.Header("host"); n > 0 {
		b = appendText(b, "host", v, maxHost)
	}
	if v, n := x.Request.Header("user-agent"); n > 0 {
		b = appendText(b, "user_agent", v, maxUserAgent)
	}
	b = appendText(b, "outcome", r.Outcome.String(), 32)
	if problem := x.Denial.Problem(); problem != "" {
		b = appendText(b, "problem", problem, maxPath)
	}
	if x.Denial.Policy != "" {
		b = appendText(b, "denied_by", x.Denial.Policy, maxPath)
	}
	b = appendList(b, "limits", x.Denial.Limits)
	b = appendTraceID(b, x)
	if r.Aborted != "" {
		b = appendText(b, "aborted", r.Aborted, maxPath)
	}
	return append(b, '}', '\n')
}

// appendTime writes RFC 3339 in UTC with milliseconds. The package time is quick
// with its own constant only, which has none.
func appendTime(b []byte, t time.Time) []byte {
	b = t.UTC().AppendFormat(b, time.RFC3339)
	ms := t.Nanosecond() / int(time.Millisecond)
	return append(b[:len(b)-1], '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}

func appendKey(b []byte, key string) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	return append(b, '"', ':')
}

func appendInt(b []byte, key string, n int64) []byte {
	return strconv.AppendInt(appendKey(b, key), n, 10)
}

// appendMilliseconds keeps microseconds, without zeros at the end.
func appendMilliseconds(b []byte, key string, d time.Duration) []byte {
	us := max(d.Microseconds(), 0)
	b = strconv.AppendInt(appendKey(b, key), us/1000, 10)
	rest := us % 1000
	if rest == 0 {
		return b
	}
	b = append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

func appendAddr(b []byte, key string, a netip.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	// A zone is the client's kernel's to name, not the client's.
	return append(a.WithZone("").AppendTo(append(appendKey(b, key), '"')), '"')
}

func appendList(b []byte, key string, values []string) []byte {
	if len(values) == 0 {
		return b
	}
	b = append(appendKey(b, key), '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, v)
	}
	return append(b, ']')
}

// appendTraceID writes the id of Weir's trace, or else of the client's.
func appendTraceID(b []byte, x *exchange.Exchange) []byte {
	id := x.Trace.TraceID
	if id == [16]byte{} {
		p, ok := trace.Incoming(x)
		if !ok {
			return b
		}
		id = p.TraceID
	}
	return append(hex.AppendEncode(append(appendKey(b, "trace_id"), '"'), id[:]), '"')
}

func appendText[T string | []byte](b []byte, key string, s T, most int) []byte {
	return appendQuoted(appendKey(b, key), cut(s, most))
}

// cut shortens s to at most so many bytes, and not within a character.
func cut[T string | []byte](s T, most int) T {
	if len(s) <= most {
		return s
	}
	for i := most; i > most-utf8.UTFMax && i >= 0; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:most]
}

// appendQuoted writes s as a JSON string (RFC 8259 §7). Bytes that are no UTF-8
// become U+FFFD, so that every line can be read.
func appendQuoted[T string | []byte](b []byte, s T) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		b = append(b, s[done:i]...)
		if c < utf8.RuneSelf {
			if c == '"' || c == '\\' {
				b = append(b, '\\', c)
			} else {
				b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
			}
			i++
			done = i
			continue
		}
		r, size := decodeRune(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, "\uFFFD"...)
		case escaped(r):
			b = append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
		default:
			b = append(b, s[i:i+size]...)
		}
		i += size
		done = i
	}
	b = append(b, s[done:]...)
	return append(b, '"')
}

func decodeRune[T string | []byte](s T) (rune, int) {
	var buf [utf8.UTFMax]byte
	return utf8.DecodeRune(buf[:copy(buf[:], s)])
}

// escaped are characters that some readers take for the end of a line, and those
// that turn the direction of what a terminal shows.
func escaped(r rune) bool {
	return r >= 0x80 && r <= 0x9f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
