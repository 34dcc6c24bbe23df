// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Results of an admission, the label result of weir_injection_total.
const (
	resultInjected = "injected"
	resultSkipped  = "skipped"
	resultRefused  = "refused"
	resultFailed   = "failed"
)

// Metrics count what became of pods.
type Metrics struct{ total *prometheus.CounterVec }

// NewMetrics registers weir_injection_total{result,reason}; reason is an
// inject.Code, empty for pods that were injected and for failures.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_injection_total",
		Help: "Pods that the webhook saw, by result (injected, skipped, refused, failed) and reason.",
	}, []string{"result", "reason"})}
	if err := r.Register(m.total); err != nil {
		return nil, fmt.Errorf("register weir_injection_total: %w", err)
	}
	return m, nil
}

func (m *Metrics) count(result, reason string) { m.total.WithLabelValues(result, reason).Inc() }
