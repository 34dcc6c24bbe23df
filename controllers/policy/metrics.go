// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of a Reconciler. A nil one counts nothing.
type Metrics struct {
	compile prometheus.Histogram
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{compile: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "weir_compile_duration_seconds", Help: "Time to compile the policies of one namespace.",
		Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1},
	})}
	return m, r.Register(m.compile)
}

func (m *Metrics) compiled(d time.Duration) {
	if m != nil {
		m.compile.Observe(d.Seconds())
	}
}
