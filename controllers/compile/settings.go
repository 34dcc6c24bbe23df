// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/config"
)

// proxySettings is nil where the configuration says nothing.
func proxySettings(p config.Proxy) *snapshot.Proxy {
	if p == (config.Proxy{}) {
		return nil
	}
	head, _ := p.HeadBytes.Bytes() // validated, and so are the others
	return &snapshot.Proxy{
		HeadBytes:           uint32(head),
		Connections:         uint32(p.MaxConnections),
		IdleMilliseconds:    milliseconds(p.Timeouts.Idle),
		StallMilliseconds:   milliseconds(p.Timeouts.Stall),
		ConnectMilliseconds: milliseconds(p.Timeouts.Connect),
	}
}

func milliseconds(d v1alpha1.Duration) uint64 {
	v, _ := d.AsDuration()
	return uint64(v.Milliseconds())
}

// telemetrySettings is nil where nothing is to be told.
func telemetrySettings(t *config.Telemetry) *snapshot.Telemetry {
	out := &snapshot.Telemetry{}
	mode := map[config.AccessLogMode]snapshot.AccessLog_Mode{
		config.AccessLogErrors:  snapshot.AccessLog_MODE_ERRORS,
		config.AccessLogSampled: snapshot.AccessLog_MODE_SAMPLED,
		config.AccessLogAll:     snapshot.AccessLog_MODE_ALL,
	}[t.AccessLog.Mode]
	if mode != snapshot.AccessLog_MODE_UNSPECIFIED {
		out.AccessLog = &snapshot.AccessLog{Mode: mode}
	}
	if mode == snapshot.AccessLog_MODE_SAMPLED {
		out.AccessLog.SamplePerMillion = perMillion(t.AccessLog.SamplePercent)
	}
	if t.Tracing.Endpoint != "" {
		out.Tracing = &snapshot.Tracing{Endpoint: t.Tracing.Endpoint, SamplePerMillion: perMillion(t.Tracing.SamplePercent)}
		if tls := t.Tracing.TLS; tls.Enabled {
			out.Tracing.Tls = &snapshot.TLS{ServerName: tls.ServerName, CaPem: tls.CA}
		}
	}
	if out.AccessLog == nil && out.Tracing == nil {
		return nil
	}
	return out
}

func perMillion(percent *float64) uint32 {
	if percent == nil {
		return 0
	}
	n, _ := config.PerMillion(*percent)
	return n
}

func routeTimeouts(list []attach.Timeout) []*snapshot.RouteTimeout {
	var out []*snapshot.RouteTimeout
	for _, t := range list {
		out = append(out, &snapshot.RouteTimeout{Prefix: t.Prefix, ResponseMilliseconds: uint64(t.Response.Milliseconds())})
	}
	return out
}
