// SPDX-License-Identifier: Apache-2.0

package status

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// samples are how many were observed, and their sum in seconds.
func samples(t *testing.T, r *prometheus.Registry) (uint64, float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	h := families[0].GetMetric()[0].GetHistogram()
	return h.GetSampleCount(), h.GetSampleSum()
}

func TestConvergence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		metrics, err := NewMetrics(registry)
		if err != nil {
			t.Fatal(err)
		}
		want := func(b *bench, count uint64, sum float64) {
			t.Helper()
			synctest.Wait()
			if n, s := samples(t, registry); n != count || s != sum {
				t.Errorf("%d samples of %v s together, want %d of %v", n, s, count, sum)
			}
		}
		b := start(t, &memory{uid: "u"})
		b.writer.Metrics = metrics
		b.decide(1) // no pods: not measured
		synctest.Wait()
		b.addPod("a")
		b.decide(1)
		b.ack("a", 1)
		want(b, 0, 0)
		b.decide(2)
		time.Sleep(2 * time.Second)
		b.ack("a", 2)
		want(b, 1, 2)
		b.decide(2)
		time.Sleep(time.Hour)
		want(b, 1, 2) // once
		b.decide(3)
		time.Sleep(time.Second)
		b.ack("a", 3)
		want(b, 2, 3)

		// A new leader finds what is there.
		c := start(t, &memory{uid: "u", doc: b.store.document()})
		c.writer.Metrics = metrics
		c.pods = b.pods
		c.ack("a", 3)
		c.decide(3)
		want(c, 2, 3)
	})
}
