// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/filter/idempotency"
)

// TestIdempotencyMetrics: each count is under its name, and a result under its own.
func TestIdempotencyMetrics(t *testing.T) {
	m := NewMetrics()
	p := m.Idempotency("payments")
	for r := range idempotency.Results {
		p.Requested(r)
		p.Requested(r)
	}
	l := m.Ledger()
	l.InFlight(3)
	l.InFlight(-1)
	l.Renewed(4)
	l.Fenced()
	l.Duplicate()
	l.Lost()
	l.Unknown()
	l.StoredBytes(5)
	l.ReplayedLocally()
	l.Store("begin", time.Millisecond)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if name, ok := strings.CutPrefix(f.GetName(), "weir_idempotency_"); ok {
			for _, s := range f.GetMetric() {
				got[name] += s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
			}
			if n := len(f.GetMetric()); name == "requests_total" && n != int(idempotency.Results) {
				t.Errorf("%d series, want %d: two results share a label", n, idempotency.Results)
			}
		}
	}
	if diff := cmp.Diff(map[string]float64{
		"requests_total": 2 * float64(idempotency.Results), "inflight": 2, "renewals_total": 4, "fenced_total": 1, "duplicate_executions_total": 1,
		"lost_claims_total": 1, "unknown_total": 1, "stored_bytes_total": 5, "replays_local_total": 1, "store_seconds": 1,
	}, got); diff != "" {
		t.Error(diff)
	}
}

// TestRedactsIdempotency: values that headers are compared with may be secrets.
func TestRedactsIdempotency(t *testing.T) {
	s := &snapshot.Snapshot{IdempotencyPolicies: []*snapshot.IdempotencyPolicy{{Match: []*snapshot.Match{{
		Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{Headers: []*snapshot.HeaderMatch{{Name: "x-token", Value: "hunter2"}}}},
	}}}}}
	if got := Redact(s).String(); strings.Contains(got, "hunter2") || !strings.Contains(got, "x-token") {
		t.Error(got)
	}
	if !strings.Contains(s.String(), "hunter2") {
		t.Error("the snapshot itself was changed")
	}
}
