// SPDX-License-Identifier: Apache-2.0

package status

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir.dev/weir/api/v1alpha1"
)

// Metrics of a Writer. A nil one counts nothing.
type Metrics struct {
	convergence prometheus.Histogram
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{convergence: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "weir_config_convergence_seconds", Help: "Time from a change of a policy to the ack of its last ready pod.",
		Buckets: []float64{0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300},
	})}
	return m, r.Register(m.convergence)
}

// converged observes a generation once, when all pods have acked it. One that met
// anything but pods that were on their way says nothing about them: it is left out.
func (m *Metrics) converged(t *task, p *written, now time.Time) {
	if m == nil || t.pending || p.measured == t.generation {
		return
	}
	var reason v1alpha1.ConditionReason
	for _, c := range t.report.Conditions {
		if c.Type == v1alpha1.ConditionProgrammed {
			reason = c.Reason
		}
	}
	if reason == v1alpha1.ReasonReconciling {
		return
	}
	p.measured = t.generation
	if reason == v1alpha1.ReasonProgrammed && !p.doc.programmed(t.generation) {
		m.convergence.Observe(now.Sub(t.arrived).Seconds())
	}
}

// programmed reports whether the status says so of a generation already: a new leader
// has not seen when it began.
func (d *Document) programmed(generation int64) bool {
	for _, c := range d.Conditions {
		if c.Type == string(v1alpha1.ConditionProgrammed) {
			return c.Status == "True" && c.ObservedGeneration == generation
		}
	}
	return false
}
