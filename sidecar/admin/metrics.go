// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/filter/ratelimit"
)

// Metrics are the sidecar's counts. No label comes from a request but its status.
type Metrics struct {
	registry *prometheus.Registry

	requests   *prometheus.HistogramVec
	decisions  *prometheus.CounterVec
	failOpen   prometheus.Counter
	storeError *prometheus.CounterVec
	breaker    *prometheus.GaugeVec
	upstream   *prometheus.CounterVec
	encrypted  prometheus.Counter

	http, h2c byStatus
}

// maxStatus bounds the status codes that have an observer of their own; others
// count as 0.
const maxStatus = 600

var _ engine.Metrics = (*Metrics)(nil)

// NewMetrics returns metrics in a registry of their own.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "weir_request_duration_seconds",
			Help:    "Requests by protocol and the status the client got (0: none), from their head to the end of the answer.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"protocol", "code"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_decisions_total",
			Help: "What filters decided, by policy and limit, and what the decision was taken from.",
		}, []string{"filter", "decision", "policy", "limit", "source"}),
		failOpen: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_fail_open_total",
			Help: "Decisions that let a request pass because a store was away and failurePolicy is Open.",
		}),
		storeError: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_store_errors_total",
			Help: "Calls of a store that gave no decision, by kind.",
		}, []string{"store", "kind"}),
		breaker: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weir_store_breaker_open",
			Help: "1 while a store is not asked and failure policies hold.",
		}, []string{"store"}),
		upstream: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_upstream_errors_total",
			Help: "Requests that the application did not answer, or not whole.",
		}, []string{"reason"}),
		encrypted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_encrypted_connections_total",
			Help: "Connections to governed ports that began with a TLS ClientHello and were closed.",
		}),
	}
	m.registry.MustRegister(m.requests, m.decisions, m.failOpen, m.storeError, m.breaker, m.upstream, m.encrypted,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// HTTPRequest counts a request over HTTP/1; status 0 says that the client got none.
func (m *Metrics) HTTPRequest(status int, d time.Duration) { m.observe(&m.http, "http", status, d) }

// H2CRequest is HTTPRequest for HTTP/2.
func (m *Metrics) H2CRequest(status int, d time.Duration) { m.observe(&m.h2c, "h2c", status, d) }

// byStatus are the observers of one protocol's requests by status, found once.
type byStatus [maxStatus]atomic.Pointer[prometheus.Observer]

func (m *Metrics) observe(by *byStatus, protocol string, status int, d time.Duration) {
	if status < 0 || status >= maxStatus {
		status = 0
	}
	o := by[status].Load()
	if o == nil {
		found := m.requests.WithLabelValues(protocol, strconv.Itoa(status))
		o = &found
		by[status].Store(o)
	}
	(*o).Observe(d.Seconds())
}

// grpcCodes are the names of gRPC's statuses by number.
var grpcCodes = [...]string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL",
	"UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}

// GRPCCall counts a gRPC call by its status; one below 0 says that the client got
// none.
func (m *Metrics) GRPCCall(status int, d time.Duration) {
	// The label is 0 where there is none, as with HTTP; numbers that no
	// specification knows count as UNKNOWN, so that an application cannot fill
	// the memory with them.
	name := "0"
	switch {
	case status >= len(grpcCodes):
		name = grpcCodes[2]
	case status >= 0:
		name = grpcCodes[status]
	}
	m.requests.WithLabelValues("grpc", name).Observe(d.Seconds())
}

// UpstreamError counts a request that the application did not answer.
func (m *Metrics) UpstreamError(reason string) { m.upstream.WithLabelValues(reason).Inc() }

// Encrypted counts a connection that began with a ClientHello.
func (m *Metrics) Encrypted() { m.encrypted.Inc() }

// StoreError implements engine.StoreMetrics.
func (m *Metrics) StoreError(store, kind string) { m.storeError.WithLabelValues(store, kind).Inc() }

// StoreBreaker implements engine.StoreMetrics.
func (m *Metrics) StoreBreaker(store string, open bool) {
	v := 0.0
	if open {
		v = 1
	}
	m.breaker.WithLabelValues(store).Set(v)
}

// Limit implements ratelimit.Metrics.
func (m *Metrics) Limit(policy, limit string) ratelimit.LimitMetrics {
	return &limitMetrics{m: m, policy: policy, limit: limit}
}

// limitMetrics keeps the counters it has needed so far.
type limitMetrics struct {
	m             *Metrics
	policy, limit string
	counters      [ratelimit.WouldDeny + 1][ratelimit.FromMissingKey + 1]atomic.Pointer[prometheus.Counter]
}

// Decided implements ratelimit.LimitMetrics.
func (l *limitMetrics) Decided(o ratelimit.Outcome, s ratelimit.Source) {
	slot := &l.counters[o][s]
	c := slot.Load()
	if c == nil {
		found := l.m.decisions.WithLabelValues("ratelimit", o.String(), l.policy, l.limit, s.String())
		c = &found
		slot.Store(c)
	}
	(*c).Inc()
	if s == ratelimit.FailedOpen {
		l.m.failOpen.Inc()
	}
}

// watch adds what is looked up when somebody asks.
func (m *Metrics) watch(snapshot func() *stream.SnapshotUpdate, connected func() bool) {
	m.registry.MustRegister(&info{snapshot: snapshot, desc: prometheus.NewDesc(
		"weir_snapshot_info", "The snapshot that serves, by its hash.", []string{"hash"}, nil)})
	if connected == nil {
		return
	}
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weir_config_connected",
		Help: "1 while there is a config stream to the operator.",
	}, func() float64 {
		if connected() {
			return 1
		}
		return 0
	}))
}

// info is the one series of weir_snapshot_info.
type info struct {
	snapshot func() *stream.SnapshotUpdate
	desc     *prometheus.Desc
}

func (i *info) Describe(c chan<- *prometheus.Desc) { c <- i.desc }

func (i *info) Collect(c chan<- prometheus.Metric) {
	if u := i.snapshot(); u != nil {
		c <- prometheus.MustNewConstMetric(i.desc, prometheus.GaugeValue, 1, u.GetHash())
	}
}
