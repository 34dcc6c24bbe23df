// SPDX-License-Identifier: Apache-2.0

package rls

import (
	"math"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	"weir.dev/weir/api/rls"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/filter/ratelimit"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// statusOf is what a descriptor's status says of x.
func statusOf(x *exchange.Exchange, code rls.Response_Code) *rls.Status {
	s := &rls.Status{Code: code}
	at, ok := ratelimit.Stands(x)
	if !ok {
		return s
	}
	s.CurrentLimit = &rls.Limit{Name: at.Limit, RequestsPerUnit: clamp(at.Requests), Unit: unit(&at)}
	s.LimitRemaining = clamp(at.Remaining)
	s.DurationUntilReset = durationpb.New(at.Reset)
	return s
}

// unit is the protocol's for a window, if there is one as long.
func unit(at *ratelimit.Standing) rls.Limit_Unit {
	switch at.Period {
	case limiter.Day:
		return rls.Limit_UNIT_DAY
	case limiter.Week:
		return rls.Limit_UNIT_WEEK
	case limiter.Month:
		return rls.Limit_UNIT_MONTH
	}
	switch at.Window.Seconds() {
	case 1:
		return rls.Limit_UNIT_SECOND
	case 60:
		return rls.Limit_UNIT_MINUTE
	case 3600:
		return rls.Limit_UNIT_HOUR
	case 24 * 3600:
		return rls.Limit_UNIT_DAY
	case 7 * 24 * 3600:
		return rls.Limit_UNIT_WEEK
	}
	return rls.Limit_UNIT_UNKNOWN
}

func clamp(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }

// addFields adds what x's filter has to say to the client. Of further descriptors
// RateLimit has further members; X-RateLimit has room for one, the first.
func addFields(r *rls.Response, x *exchange.Exchange) {
	first := len(r.ResponseHeadersToAdd) == 0
	for name, value := range x.Fields {
		if first || !strings.HasPrefix(name, "X-") {
			r.ResponseHeadersToAdd = append(r.ResponseHeadersToAdd, &rls.Field{Key: name, Value: string(value)})
		}
	}
}

// deny makes r the answer of d, as sidecars give it over HTTP. Envoy has one status
// for all denials, which is 429 unless it is told another one.
func deny(r *rls.Response, x *exchange.Exchange, d exchange.Denial) {
	r.OverallCode = rls.Response_CODE_OVER_LIMIT
	r.ResponseHeadersToAdd = nil
	addFields(r, x)
	d.Status = http.StatusTooManyRequests
	r.RawBody = rules.AppendProblem(nil, &d)
	add := func(name, value string) {
		r.ResponseHeadersToAdd = append(r.ResponseHeadersToAdd, &rls.Field{Key: name, Value: value})
	}
	add("Content-Type", "application/problem+json")
	add("Cache-Control", "no-store")
	if d.RetryAfter > 0 {
		add("Retry-After", strconv.FormatInt(rules.RetryAfter(d.RetryAfter), 10))
	}
}
