// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
)

// One pod has one stream: a newer one ends the older.
func TestOneStreamPerPod(t *testing.T) {
	f := start(t, nil)
	older := f.connect(t, "one").hello("")
	if _, err := older.stream.Header(); err != nil {
		t.Fatal(err)
	}
	silent := f.connect(t, "one") // it counts before its Hello
	if err := older.end(); status.Code(err) != codes.Aborted {
		t.Errorf("the older stream: %v, want Aborted", err)
	}
	newest := f.connect(t, "one").hello("")
	if err := silent.end(); status.Code(err) != codes.Aborted {
		t.Errorf("a stream without Hello: %v, want Aborted", err)
	}
	other := f.connect(t, "two").hello("")
	for _, s := range []*sidecar{newest, other} {
		if _, err := s.stream.Header(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both connected", func() bool {
		p := f.tracker.Pods("shop")
		return len(p) == 2 && p[0].GetConnected() && p[1].GetConnected()
	})
}

// A sidecar that comes back serves what it has brought along, from the first moment on:
// a status that is written in between must not say otherwise.
func TestBroughtAlong(t *testing.T) {
	f := start(t, nil)
	snap := publication(3).Snapshot
	s := f.connect(t, "one")
	s.send(&stream.FromSidecar{Message: &stream.FromSidecar_Hello{Hello: &stream.Hello{
		Version: "v0.1.0", Features: []string{stream.FeatureRateLimit}, LastHash: snapshot.Hash(snap), Serving: snap,
	}}})
	// Nothing is published, so that this state stays.
	eventually(t, "connected", func() bool { return len(f.tracker.Pods("shop")) == 1 })
	p := f.tracker.Pods("shop")[0]
	if g := p.GetAcked(); len(g) != 1 || g[0].GetGeneration() != 3 || p.GetAckedHash() != snapshot.Hash(snap) {
		t.Errorf("acked %v by hash %q, want generation 3", g, p.GetAckedHash())
	}
}

// Answers are as many as snapshots, however many these are.
func TestAnswersAreNotCounted(t *testing.T) {
	f := start(t, nil)
	f.hub.Assign(podOf("one"), workload)
	s := f.connect(t, "one").hello("")
	for i := range int64(2 * burst) {
		p := publication(i + 1)
		p.Secrets = nil
		f.hub.Publish(workload, p)
		s.ack(s.receive().GetSnapshot().GetHash())
	}
	eventually(t, "the last is acked", func() bool {
		g := f.tracker.Pods("shop")[0].GetAcked()
		return len(g) == 1 && g[0].GetGeneration() == 2*burst
	})
}

// A sidecar that refuses a policy comes back: it refuses until it is heard again.
func TestRefusalOutlivesTheStream(t *testing.T) {
	f := start(t, nil)
	f.hub.Assign(podOf("one"), workload)
	f.hub.Publish(workload, publication(1))
	s := f.connect(t, "one").hello("")
	s.receive() // secrets
	served := s.receive().GetSnapshot()
	s.ack(served.GetHash())
	refused := func() string {
		p := f.tracker.Pods("shop")
		if len(p) != 1 || !p[0].GetConnected() || len(p[0].GetRefused()) != 1 {
			return ""
		}
		return p[0].GetRefused()[0].GetReason()
	}
	f.hub.Publish(workload, publication(2))
	u := s.receive().GetSnapshot()
	s.send(&stream.FromSidecar{Message: &stream.FromSidecar_Nack{Nack: &stream.Nack{
		Hash: u.GetHash(), Policy: "RateLimitPolicy/pay", Reason: "No.",
	}}})
	eventually(t, "refused", func() bool { return refused() == "No." })
	again := f.connect(t, "one").hello(served.GetHash())
	again.receive() // secrets
	u = again.receive().GetSnapshot()
	if r := refused(); r != "No." {
		t.Errorf("asked again, and not answered: refused %q", r)
	}
	again.ack(u.GetHash())
	eventually(t, "it has changed its mind", func() bool {
		p := f.tracker.Pods("shop")[0]
		return len(p.GetRefused()) == 0 && p.GetNack() == nil && p.GetAckedHash() == u.GetHash()
	})
}
