// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"time"

	wirehttp "weir.dev/weir/sidecar/wire/http"
	"weir.dev/weir/sidecar/wire/thrift"
)

// Wire returns what the HTTP data plane reports to. encrypted, which may be nil,
// is called with the port of each connection that began with a ClientHello.
func (m *Metrics) Wire(encrypted func(port uint16)) wirehttp.Metrics {
	return wirehttp.Metrics{
		Request: func(_ uint16, p wirehttp.Protocol, status int, start time.Time) {
			var d time.Duration
			if !start.IsZero() {
				d = time.Since(start)
			}
			switch p {
			case wirehttp.GRPC:
				m.GRPCCall(status, d)
			case wirehttp.H2C:
				m.H2CRequest(status, d)
			default:
				m.HTTPRequest(status, d)
			}
		},
		UpstreamError: func(_ uint16, reason wirehttp.UpstreamError) { m.UpstreamError(string(reason)) },
		Refused:       func(_ uint16, why wirehttp.Refusal) { m.Refused(string(why)) },
		Encrypted: func(port uint16) {
			m.Encrypted()
			if encrypted != nil {
				encrypted(port)
			}
		},
	}
}

// Thrift returns what the data plane of Thrift reports to; encrypted as for Wire.
func (m *Metrics) Thrift(encrypted func(port uint16)) thrift.Metrics {
	return thrift.Metrics{
		Call: func(_ uint16, method string, r thrift.Result, start time.Time) {
			m.ThriftCall(method, string(r), time.Since(start))
		},
		UpstreamError: func(_ uint16, reason wirehttp.UpstreamError) { m.UpstreamError(string(reason)) },
		Refused:       func(_ uint16, why thrift.Refusal) { m.Refused(string(why)) },
		Encrypted: func(port uint16) {
			m.Encrypted()
			if encrypted != nil {
				encrypted(port)
			}
		},
	}
}
