// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"time"

	wirehttp "weir.dev/weir/sidecar/wire/http"
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
