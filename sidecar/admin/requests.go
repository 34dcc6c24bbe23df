// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir.dev/weir/sidecar/exchange"
)

// Statuses outside of these count as 0, none: the label code has a bound that no
// client and no application can move.
const minStatus, maxStatus = 100, 600

// grpcCodes is how many statuses gRPC has.
const grpcCodes = 17

// series are the histograms of requests, found once each.
type series struct {
	http, h2c [maxStatus]atomic.Pointer[prometheus.Observer]
	// grpc has the status that is none first.
	grpc [1 + grpcCodes]atomic.Pointer[prometheus.Observer]
	// calls of Thrift, copied when there is a new one. They are bounded by what there is,
	// and by what policies name.
	calls atomic.Pointer[map[thriftCall]callSeries]
	mu    sync.Mutex
}

// thriftCall is what calls of Thrift are told apart by.
type thriftCall struct{ method, result string }

type callSeries struct {
	count prometheus.Counter
	times prometheus.Observer
}

// HTTPRequest counts a request over HTTP/1; status 0 says that the client got none.
func (m *Metrics) HTTPRequest(status int, d time.Duration) {
	status = bounded(status)
	m.observe(&m.series.http[status], "http", status, strconv.Itoa, d)
}

// H2CRequest is HTTPRequest for HTTP/2.
func (m *Metrics) H2CRequest(status int, d time.Duration) {
	status = bounded(status)
	m.observe(&m.series.h2c[status], "h2c", status, strconv.Itoa, d)
}

// GRPCCall counts a gRPC call by its status; one below 0 says that the client got
// none. Numbers that no specification knows count as UNKNOWN.
func (m *Metrics) GRPCCall(status int, d time.Duration) {
	const unknown = 2
	if status >= grpcCodes {
		status = unknown
	}
	status = max(status, -1)
	m.observe(&m.series.grpc[1+status], "grpc", status, grpcCode, d)
}

// ThriftCall counts a call of Thrift. method is one that a policy names, or other.
func (m *Metrics) ThriftCall(method, result string, d time.Duration) {
	key := thriftCall{method, result}
	var found callSeries
	known := false
	if all := m.series.calls.Load(); all != nil {
		found, known = (*all)[key]
	}
	if !known {
		found = m.newCall(key)
	}
	found.count.Inc()
	found.times.Observe(d.Seconds())
}

func (m *Metrics) newCall(key thriftCall) callSeries {
	m.series.mu.Lock()
	defer m.series.mu.Unlock()
	all := map[thriftCall]callSeries{}
	if before := m.series.calls.Load(); before != nil {
		maps.Copy(all, *before)
	}
	all[key] = callSeries{m.calls.WithLabelValues(key.method, key.result), m.requests.WithLabelValues("thrift", key.result)}
	m.series.calls.Store(&all)
	return all[key]
}

func bounded(status int) int {
	if status < minStatus || status >= maxStatus {
		return 0
	}
	return status
}

func grpcCode(status int) string {
	if status < 0 {
		return "0"
	}
	return exchange.GRPCStatusName(status)
}

// observe looks a series up the first time only.
func (m *Metrics) observe(slot *atomic.Pointer[prometheus.Observer], protocol string, status int, code func(int) string, d time.Duration) {
	o := slot.Load()
	if o == nil {
		found := m.requests.WithLabelValues(protocol, code(status))
		o = &found
		slot.Store(o)
	}
	(*o).Observe(d.Seconds())
}
