// SPDX-License-Identifier: Apache-2.0

package http

import (
	"time"

	"weir.dev/weir/sidecar/exchange"
)

// observe lets the port's observer see the request, before any filter.
func (t *txn) observe() {
	if t.observer != nil {
		t.observing = true
		t.observer.Start(&t.x)
	}
}

// observed tells it what became of the request, after the filters' End.
func (t *txn) observed(outcome exchange.Outcome) {
	if !t.observing {
		return
	}
	t.observing = false
	end := t.answered
	if end.IsZero() {
		end = time.Now()
	}
	t.record = exchange.Record{
		Status: t.status, GRPCStatus: -1, Outcome: outcome,
		RequestBytes: t.body.size, ResponseBytes: t.sent,
		Upstream: t.upstream, Duration: end.Sub(t.x.Start), Aborted: t.aborted,
	}
	t.observer.Done(&t.x, &t.record)
}
