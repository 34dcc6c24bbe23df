// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/filter/idempotency"
	"weir.dev/weir/sidecar/filter/idempotency/ledger"
)

var (
	_ engine.IdempotencyMetrics = (*Metrics)(nil)
	_ ledger.Metrics            = (*idempotencyMetrics)(nil)
)

// idempotencyMetrics are the counts of idempotency: of requests by policy, of records
// by nothing, since they outlive policies. It is one collector.
type idempotencyMetrics struct {
	requests *prometheus.CounterVec
	inflight prometheus.Gauge
	store    *prometheus.HistogramVec

	renewals, fenced, duplicates, lost, unknown, bytes, local prometheus.Counter
}

func (m *idempotencyMetrics) make() prometheus.Collector {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_idempotency_requests_total",
		Help: "Requests that an IdempotencyPolicy matched, by what became of them.",
	}, []string{"policy", "result"})
	m.inflight = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "weir_idempotency_inflight",
		Help: "Requests that are recorded and under way.",
	})
	m.store = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "weir_idempotency_store_seconds",
		Help:    "How long the store has taken, by operation.",
		Buckets: []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5},
	}, []string{"op"})
	m.renewals = counter("weir_idempotency_renewals_total", "Leases of requests under way that were renewed.")
	m.fenced = counter("weir_idempotency_fenced_total", "Writes that the store refused, because the request had become another's.")
	m.duplicates = counter("weir_idempotency_duplicate_executions_total", "Requests that were executed here while another's claim holds.")
	m.lost = counter("weir_idempotency_lost_claims_total", "Claims that the store had acknowledged and lost.")
	m.unknown = counter("weir_idempotency_unknown_total", "Requests of which it was recorded that nobody knows their outcome.")
	m.bytes = counter("weir_idempotency_stored_bytes_total", "Bytes of responses that were given to stores.")
	m.local = counter("weir_idempotency_replays_local_total", "Replays for which the store was not asked.")
	return m
}

func (m *idempotencyMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.inflight, m.store, m.renewals, m.fenced, m.duplicates, m.lost, m.unknown, m.bytes, m.local}
}

// Describe implements prometheus.Collector.
func (m *idempotencyMetrics) Describe(c chan<- *prometheus.Desc) {
	for _, part := range m.all() {
		part.Describe(c)
	}
}

// Collect implements prometheus.Collector.
func (m *idempotencyMetrics) Collect(c chan<- prometheus.Metric) {
	for _, part := range m.all() {
		part.Collect(c)
	}
}

// Ledger implements engine.IdempotencyMetrics.
func (m *Metrics) Ledger() ledger.Metrics { return &m.idempotency }

// InFlight implements ledger.Metrics.
func (m *idempotencyMetrics) InFlight(delta int) { m.inflight.Add(float64(delta)) }

// Renewed implements ledger.Metrics.
func (m *idempotencyMetrics) Renewed(n int) { m.renewals.Add(float64(n)) }

// Fenced implements ledger.Metrics.
func (m *idempotencyMetrics) Fenced() { m.fenced.Inc() }

// Duplicate implements ledger.Metrics.
func (m *idempotencyMetrics) Duplicate() { m.duplicates.Inc() }

// Lost implements ledger.Metrics.
func (m *idempotencyMetrics) Lost() { m.lost.Inc() }

// Unknown implements ledger.Metrics.
func (m *idempotencyMetrics) Unknown() { m.unknown.Inc() }

// Store implements ledger.Metrics.
func (m *idempotencyMetrics) Store(op string, d time.Duration) {
	m.store.WithLabelValues(op).Observe(d.Seconds())
}

// StoredBytes implements ledger.Metrics.
func (m *idempotencyMetrics) StoredBytes(n int) { m.bytes.Add(float64(n)) }

// ReplayedLocally implements ledger.Metrics.
func (m *idempotencyMetrics) ReplayedLocally() { m.local.Inc() }

// Idempotency implements engine.IdempotencyMetrics.
func (m *Metrics) Idempotency(policy string) idempotency.Metrics {
	return &recorderMetrics{m: &m.idempotency, policy: policy}
}

// recorderMetrics keeps the counters of a policy that it has needed so far.
type recorderMetrics struct {
	m        *idempotencyMetrics
	policy   string
	counters [idempotency.Results]atomic.Pointer[prometheus.Counter]
}

// Requested implements idempotency.Metrics.
func (r *recorderMetrics) Requested(result idempotency.Result) {
	slot := &r.counters[result]
	c := slot.Load()
	if c == nil {
		found := r.m.requests.WithLabelValues(r.policy, result.String())
		c = &found
		slot.Store(c)
	}
	(*c).Inc()
}
