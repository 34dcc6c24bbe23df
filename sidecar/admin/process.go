// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/telemetry"
)

var _ telemetry.Metrics = (*Metrics)(nil)

// AccessLogDropped implements telemetry.Metrics.
func (m *Metrics) AccessLogDropped(lines int) { m.lines.Add(float64(lines)) }

// SpansDropped implements telemetry.Metrics.
func (m *Metrics) SpansDropped(spans int) { m.spans.Add(float64(spans)) }

// watch adds what is looked up when somebody asks.
func (m *Metrics) watch(o *Options) {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "weir_build_info",
		Help:        "1: the sidecar's version and the Go that it was built with.",
		ConstLabels: prometheus.Labels{"version": o.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(build, &info{snapshot: o.Snapshot, desc: prometheus.NewDesc(
		"weir_snapshot_info", "The snapshot that serves, by its hash.", []string{"hash"}, nil)})
	if o.Connections != nil {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_connections",
			Help: "Connections of clients that are open, spliced ones and tunnels among them.",
		}, func() float64 { return float64(o.Connections()) }))
	}
	if o.Connected != nil {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_config_connected",
			Help: "1 while there is a config stream to the operator.",
		}, func() float64 {
			if o.Connected() {
				return 1
			}
			return 0
		}))
	}
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
