// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/telemetry/accesslog"
	"weir.dev/weir/sidecar/telemetry/trace"
)

// observer is a log, a tracer, or both.
type observer struct {
	log    *accesslog.Logger
	tracer *trace.Tracer
}

var _ exchange.Observer = (*observer)(nil)

// Start implements exchange.Observer.
func (o *observer) Start(x *exchange.Exchange) {
	if o.tracer != nil {
		o.tracer.Start(x)
	}
}

// Done implements exchange.Observer.
func (o *observer) Done(x *exchange.Exchange, r *exchange.Record) {
	if o.log != nil {
		o.log.Done(x, r)
	}
	if o.tracer != nil {
		o.tracer.Done(x, r)
	}
}
