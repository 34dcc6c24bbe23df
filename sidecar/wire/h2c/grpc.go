// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/protobuf/encoding/protowire"

	"weir.dev/weir/sidecar/exchange"
)

// gRPC's statuses (doc/statuscodes.md of grpc/grpc).
const (
	grpcOK                = 0
	grpcCancelled         = 1
	grpcUnknown           = 2
	grpcDeadlineExceeded  = 4
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// denialCode is the gRPC status of a denial. It is that of gRPC's own table for
// HTTP (doc/http-grpc-status-mapping.md), but where the table is for proxies that
// know nothing of gRPC: 429 and 413 are RESOURCE_EXHAUSTED, 504 and 408 are
// DEADLINE_EXCEEDED, 501 is UNIMPLEMENTED, 500 INTERNAL. A denial that says so is
// RESOURCE_EXHAUSTED whatever its status.
func denialCode(d *exchange.Denial) int {
	if d.Exhausted {
		return grpcResourceExhausted
	}
	switch d.Status {
	case http.StatusTooManyRequests, http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge:
		return grpcResourceExhausted
	case http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return grpcDeadlineExceeded
	case http.StatusNotImplemented:
		return grpcUnimplemented
	case http.StatusInternalServerError:
		return grpcInternal
	}
	return grpcCode(d.Status)
}

// grpcCode is what a gRPC client makes of an HTTP status without a grpc-status.
func grpcCode(status int) int {
	switch status {
	case http.StatusBadRequest:
		return grpcInternal
	case http.StatusUnauthorized:
		return grpcUnauthenticated
	case http.StatusForbidden:
		return grpcPermissionDenied
	case http.StatusNotFound:
		return grpcUnimplemented
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return grpcUnavailable
	}
	return grpcUnknown
}

// resetCode is what a gRPC client makes of the RST_STREAM by which an application
// ends a call: gRPC's servers do when its deadline has passed.
func (t *stream) resetCode(code http2.ErrCode) int {
	switch code {
	case http2.ErrCodeRefusedStream:
		return grpcUnavailable
	case http2.ErrCodeCancel:
		if !t.deadline.IsZero() && !time.Now().Before(t.deadline) {
			return grpcDeadlineExceeded
		}
		return grpcCancelled
	case http2.ErrCodeEnhanceYourCalm:
		return grpcResourceExhausted
	case http2.ErrCodeInadequateSecurity:
		return grpcPermissionDenied
	}
	return grpcInternal
}

// parseStatus reads a grpc-status; -1 where it is none.
func parseStatus(values []string) int {
	if len(values) == 0 {
		return -1
	}
	n, err := strconv.ParseUint(values[0], 10, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

// longest stands for all longer times: it is none that anyone waits for.
const longest time.Duration = 1 << 60

// parseTimeout reads a grpc-timeout: up to eight digits and a unit. What is none
// is the application's to refuse.
func parseTimeout(v string) (time.Duration, bool) {
	if len(v) < 2 || len(v) > 9 {
		return 0, false
	}
	units := map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond}
	unit, ok := units[v[len(v)-1]]
	n, err := strconv.ParseUint(v[:len(v)-1], 10, 32)
	if !ok || err != nil {
		return 0, false
	}
	if n > uint64(longest/unit) {
		return longest, true
	}
	return time.Duration(n) * unit, true
}

// encodeMessage percent-encodes a grpc-message.
func encodeMessage(s string) string {
	var b strings.Builder
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// statusDetails is grpc-status-details-bin of a denial: a google.rpc.Status with an
// ErrorInfo and, where it is known when to try again, a RetryInfo.
func statusDetails(d *exchange.Denial, code int) string {
	var status []byte
	status = protowire.AppendTag(status, 1, protowire.VarintType)
	status = protowire.AppendVarint(status, uint64(code))
	status = appendBytes(status, 2, []byte(d.Detail))

	// ErrorInfo{1: reason, 2: domain, 3: metadata}
	var info []byte
	info = appendBytes(info, 1, []byte(reason(d.Type)))
	info = appendBytes(info, 2, []byte("weir.dev"))
	info = appendPair(info, "type", d.Type)
	if d.Policy != "" {
		info = appendPair(info, "policy", d.Policy)
	}
	if len(d.Limits) > 0 {
		info = appendPair(info, "limits", strings.Join(d.Limits, ","))
	}
	status = appendAny(status, "google.rpc.ErrorInfo", info)

	if d.RetryAfter > 0 {
		// RetryInfo{1: Duration{1: seconds, 2: nanos}}
		var delay []byte
		if s := d.RetryAfter / time.Second; s > 0 {
			delay = protowire.AppendTag(delay, 1, protowire.VarintType)
			delay = protowire.AppendVarint(delay, uint64(s))
		}
		if n := d.RetryAfter % time.Second; n > 0 {
			delay = protowire.AppendTag(delay, 2, protowire.VarintType)
			delay = protowire.AppendVarint(delay, uint64(n))
		}
		status = appendAny(status, "google.rpc.RetryInfo", appendBytes(nil, 1, delay))
	}
	return base64.RawStdEncoding.EncodeToString(status)
}

// reason is the last part of a problem type as an ErrorInfo has it: RATE_LIMITED.
func reason(typ string) string {
	typ = typ[strings.LastIndexByte(typ, '/')+1:]
	return strings.ToUpper(strings.ReplaceAll(typ, "-", "_"))
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}

// appendPair appends an entry of ErrorInfo's map.
func appendPair(b []byte, key, value string) []byte {
	return appendBytes(b, 3, appendBytes(appendBytes(nil, 1, []byte(key)), 2, []byte(value)))
}

// appendAny appends a detail to a google.rpc.Status.
func appendAny(b []byte, typ string, value []byte) []byte {
	return appendBytes(b, 3, appendBytes(appendBytes(nil, 1, []byte("type.googleapis.com/"+typ)), 2, value))
}
