// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/filter/ratelimit"
)

// Metrics are the sidecar's counts. No label comes from a request but its status.
type Metrics struct {
	registry *prometheus.Registry

	requests   *prometheus.HistogramVec
	calls      *prometheus.CounterVec
	decisions  *prometheus.CounterVec
	costs      *prometheus.CounterVec
	failOpen   prometheus.Counter
	storeError *prometheus.CounterVec
	breaker    *prometheus.GaugeVec
	upstream   *prometheus.CounterVec
	encrypted  prometheus.Counter
	refused    *prometheus.CounterVec
	unknown    prometheus.Counter

	lines, spans prometheus.Counter

	idempotency idempotencyMetrics

	series series
}

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
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_thrift_calls_total",
			Help: "Calls of Thrift by method, where a policy names it (else other), and by what became of them.",
		}, []string{"method", "result"}),
		costs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_response_costs_total",
			Help: "What responses and replays have changed in what their requests had cost.",
		}, []string{"policy", "limit", "result"}),
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
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_refused_connections_total",
			Help: "Connections that were closed without an answer, by reason.",
		}, []string{"reason"}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_rls_unknown_domain_total",
			Help: "Calls of Envoy's rate limit protocol for a domain that is not known, which is not limited.",
		}),
		lines: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_access_log_dropped_total",
			Help: "Lines of the access log that were not written, because the reader of the output does not keep up.",
		}),
		spans: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_spans_dropped_total",
			Help: "Spans that the trace collector did not get.",
		}),
	}
	m.registry.MustRegister(m.requests, m.calls, m.decisions, m.costs, m.failOpen, m.storeError, m.breaker, m.upstream, m.encrypted, m.refused, m.unknown, m.lines, m.spans,
		m.idempotency.make(),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// UpstreamError counts a request that the application did not answer.
func (m *Metrics) UpstreamError(reason string) { m.upstream.WithLabelValues(reason).Inc() }

// Encrypted counts a connection that began with a ClientHello.
func (m *Metrics) Encrypted() { m.encrypted.Inc() }

// Refused counts a connection that was closed without an answer.
func (m *Metrics) Refused(reason string) { m.refused.WithLabelValues(reason).Inc() }

// RateLimitCall counts a call of Envoy's rate limit protocol by what it came to.
func (m *Metrics) RateLimitCall(code string, d time.Duration) {
	m.requests.WithLabelValues("rls", code).Observe(d.Seconds())
}

// UnknownDomain counts a call of that protocol for a domain that is not known.
func (m *Metrics) UnknownDomain() { m.unknown.Inc() }

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
	corrections   [ratelimit.CostLate + 1]atomic.Pointer[prometheus.Counter]
}

// Corrected implements ratelimit.LimitMetrics.
func (l *limitMetrics) Corrected(c ratelimit.Correction) {
	slot := &l.corrections[c]
	counter := slot.Load()
	if counter == nil {
		found := l.m.costs.WithLabelValues(l.policy, l.limit, c.String())
		counter = &found
		slot.Store(counter)
	}
	(*counter).Inc()
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
