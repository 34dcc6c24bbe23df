// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of a Server. A nil one counts nothing.
type Metrics struct {
	streams   prometheus.Gauge
	snapshots prometheus.Counter
	nacks     prometheus.Counter
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_config_streams", Help: "Config streams of sidecars and rate limit services to this replica.",
		}),
		snapshots: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_config_snapshots_total", Help: "Snapshots that this replica has sent.",
		}),
		nacks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_config_nacks_total", Help: "Snapshots that sidecars have refused.",
		}),
	}
	return m, errors.Join(r.Register(m.streams), r.Register(m.snapshots), r.Register(m.nacks))
}

// stream counts one until the returned function is called.
func (m *Metrics) stream() func() {
	if m == nil {
		return func() {}
	}
	m.streams.Inc()
	return m.streams.Dec
}

func (m *Metrics) sent() {
	if m != nil {
		m.snapshots.Inc()
	}
}

func (m *Metrics) nacked() {
	if m != nil {
		m.nacks.Inc()
	}
}
