// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"weir.dev/weir/sidecar/exchange"
)

// Problem types of the data plane itself, see docs/problems.md.
const (
	problems = "https://weir.dev/problems/"

	ProblemMalformed       = problems + "malformed-request"
	ProblemHeadTooLarge    = problems + "request-head-too-large"
	ProblemRequestTimeout  = problems + "request-timeout"
	ProblemEncodedSlash    = problems + "encoded-slash"
	ProblemBodyTooLarge    = problems + "body-too-large"
	ProblemBuffersFull     = problems + "buffers-full"
	ProblemUnsupported     = problems + "not-supported-yet"
	ProblemVersion         = problems + "http-version-not-supported"
	ProblemNoConfig        = problems + "no-configuration"
	ProblemTooManyConns    = problems + "too-many-connections"
	ProblemConnect         = problems + "connect-not-allowed"
	ProblemUnreachable     = problems + "upstream-unreachable"
	ProblemUpstreamTimeout = problems + "upstream-timeout"
	ProblemUpstreamClosed  = problems + "upstream-closed"
	ProblemUpstreamInvalid = problems + "upstream-invalid-response"
)

// Problem is an answer of Weir's own.
func Problem(status int, typ, title, detail string) exchange.Denial {
	return exchange.Denial{Status: status, Type: typ, Title: title, Detail: detail}
}

// Malformed ends the connection.
func Malformed(detail string) exchange.Denial {
	d := Problem(http.StatusBadRequest, ProblemMalformed, "Malformed Request", detail)
	d.Close = true
	return d
}

// Unsupported ends the connection.
func Unsupported(status int, detail string) exchange.Denial {
	d := Problem(status, ProblemUnsupported, "Not Supported Yet", detail)
	d.Close = true
	return d
}

// TooLarge is for a body that a filter reads.
func TooLarge(limit int) exchange.Denial {
	return Problem(http.StatusRequestEntityTooLarge, ProblemBodyTooLarge, "Body Too Large",
		"A policy of this port reads the bodies of such requests, up to "+strconv.Itoa(limit)+" bytes; this one is longer.")
}

// BodyTooLarge is for a body that is longer than the port allows.
func BodyTooLarge() exchange.Denial {
	d := Problem(http.StatusRequestEntityTooLarge, ProblemBodyTooLarge, "Body Too Large", "The body is longer than this port allows.")
	d.Close = true
	return d
}

// TooManyConnections is for one connection more than there may be.
func TooManyConnections() exchange.Denial {
	d := Problem(http.StatusServiceUnavailable, ProblemTooManyConns, "Too Many Connections",
		"This sidecar serves as many connections as it may; retry in 1 s.")
	d.RetryAfter, d.Close = time.Second, true
	return d
}

// ConnectRefused is for CONNECT, in whatever version of HTTP.
func ConnectRefused() exchange.Denial {
	d := Problem(http.StatusNotImplemented, ProblemConnect, "CONNECT Is Not Allowed",
		"This is a server's sidecar and no forward proxy: it opens no tunnels to hosts of a client's choice.")
	d.Close = true
	return d
}

// AppendProblem appends the problem+json document of d (RFC 9457).
func AppendProblem(dst []byte, d *exchange.Denial) []byte {
	dst = append(dst, `{"type":`...)
	dst = appendString(dst, d.Type)
	dst = append(dst, `,"title":`...)
	dst = appendString(dst, d.Title)
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(d.Status), 10)
	if d.Detail != "" {
		dst = append(dst, `,"detail":`...)
		dst = appendString(dst, d.Detail)
	}
	for i, l := range d.Limits {
		if i == 0 {
			dst = append(dst, `,"violated-policies":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendString(dst, l)
	}
	if len(d.Limits) > 0 {
		dst = append(dst, ']')
	}
	return append(dst, "}\n"...)
}

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&0xF])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// RetryAfter is the value of Retry-After: whole seconds, rounded up, at least 1.
func RetryAfter(d time.Duration) int64 {
	return max(1, int64((d+time.Second-1)/time.Second))
}
