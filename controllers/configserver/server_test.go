// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/hub"
)

func TestWhoMayConnect(t *testing.T) {
	f := start(t, nil)
	for name, tc := range map[string]struct {
		token string
		want  codes.Code
		text  string
	}{
		"no token":           {"", codes.Unauthenticated, "authorization"},
		"unknown token":      {"stranger", codes.Unauthenticated, "not accepted"},
		"not bound to a pod": {"unbound", codes.PermissionDenied, "not bound"},
		"not injected":       {"bare", codes.PermissionDenied, "pod shop/bare was not injected"},
		"not seen yet":       {"unseen", codes.Unavailable, "not known here yet"},
		"another pod's uid":  {"recreated", codes.Unavailable, "not known here yet"},
	} {
		t.Run(name, func(t *testing.T) {
			err := f.connect(t, tc.token).hello("").end()
			if status.Code(err) != tc.want || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %s with %q", err, tc.want, tc.text)
			}
		})
	}
	f.auth.down.Store(true)
	if err := f.connect(t, "one").hello("").end(); status.Code(err) != codes.Unavailable {
		t.Errorf("when tokens can't be checked: %v, want Unavailable", err)
	}
	f.auth.down.Store(false)
	f.synced.Store(false)
	if err := f.connect(t, "one").hello("").end(); status.Code(err) != codes.Unavailable {
		t.Errorf("before caches are synced: %v, want Unavailable", err)
	}
	if got := f.tracker.Namespaces(); len(got) != 0 {
		t.Errorf("pods that were not let in are counted: %v", got)
	}
}

func TestStream(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, func(o *Options) { o.Metrics = metrics })
	f.hub.Publish(workload, publication(1))
	f.hub.Assign(podOf("one"), workload)
	s := f.connect(t, "one").hello("")
	if m := s.receive(); m.GetSecrets() == nil {
		t.Fatalf("first message %v, want secrets", m)
	}
	u := s.receive().GetSnapshot()
	s.ack(u.GetHash())
	eventually(t, "acked", func() bool {
		p := f.tracker.Pods("shop")
		return len(p) == 1 && p[0].GetAckedHash() == u.GetHash() && p[0].GetConnected()
	})
	p := f.tracker.Pods("shop")[0]
	if g := p.GetAcked(); len(g) != 1 || g[0].GetPolicy() != "RateLimitPolicy/pay" || g[0].GetGeneration() != 1 {
		t.Errorf("acked %v", g)
	}
	if p.GetVersion() != "v0.1.0" || p.GetWorkload() != "w" || p.GetUid() != "uid-one" {
		t.Errorf("state %v", p)
	}

	// The pod moves to no workload at all on its open stream.
	f.hub.Assign(podOf("one"), hub.Workload{Namespace: "shop"})
	empty := s.receive().GetSnapshot()
	if len(empty.GetSnapshot().GetPorts()) != 0 {
		t.Errorf("a pod without a workload gets ports: %v", empty)
	}
	s.ack(empty.GetHash())
	s.send(&stream.FromSidecar{Message: &stream.FromSidecar_Nack{Nack: &stream.Nack{Hash: "x"}}})
	eventually(t, "counted", func() bool {
		return cmp.Equal(values(t, registry), map[string]float64{
			"weir_config_streams": 1, "weir_config_snapshots_total": 2, "weir_config_nacks_total": 1,
		})
	})
	_ = s.stream.CloseSend()
	if err := s.end(); err == nil {
		t.Error("no end after CloseSend")
	}
	eventually(t, "gone", func() bool { return !f.tracker.Pods("shop")[0].GetConnected() })
}

// A pod that is connected but not assigned gets nothing, not an empty snapshot.
func TestUnassigned(t *testing.T) {
	f := start(t, nil)
	f.hub.Publish(workload, publication(1))
	s := f.connect(t, "one").hello("")
	eventually(t, "connected", func() bool { return len(f.tracker.Pods("shop")) == 1 })
	f.hub.Assign(podOf("one"), workload)
	if m := s.receive(); m.GetSecrets() == nil {
		t.Errorf("first message %v, want the workload's secrets", m)
	}
	if u := s.receive().GetSnapshot(); len(u.GetSnapshot().GetRateLimitPolicies()) != 1 {
		t.Errorf("first snapshot %v, want the workload's", u)
	}
}

func TestBadStreams(t *testing.T) {
	f := start(t, nil)
	f.hub.Assign(podOf("one"), hub.Workload{Namespace: "shop"})
	report := func(n int) *stream.FromSidecar {
		r := &stream.Report{}
		for range n {
			r.Shadow = append(r.Shadow, &stream.ShadowCount{Policy: "p", Limit: "l"})
		}
		return &stream.FromSidecar{Message: &stream.FromSidecar_Report{Report: r}}
	}
	for name, tc := range map[string]struct {
		do   func(s *sidecar)
		want codes.Code
	}{
		"no hello":      {func(s *sidecar) { s.ack("h") }, codes.FailedPrecondition},
		"two hellos":    {func(s *sidecar) { s.hello("").hello("") }, codes.FailedPrecondition},
		"a long hash":   {func(s *sidecar) { s.hello(strings.Repeat("h", maxName+1)) }, codes.InvalidArgument},
		"a long report": {func(s *sidecar) { s.hello("").send(report(maxShadow + 1)) }, codes.InvalidArgument},
		"too many messages": {func(s *sidecar) {
			s.hello("")
			for range burst + 1 {
				s.ack("x")
			}
		}, codes.ResourceExhausted},
		"too large a message": {func(s *sidecar) {
			s.hello("").ack(strings.Repeat("h", maxReceive))
		}, codes.ResourceExhausted},
	} {
		t.Run(name, func(t *testing.T) {
			s := f.connect(t, "one")
			tc.do(s)
			if err := s.end(); status.Code(err) != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestStreamAges(t *testing.T) {
	f := start(t, func(o *Options) { o.MaxAge = 50 * time.Millisecond })
	if err := f.connect(t, "one").hello("").end(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
}

func TestStopping(t *testing.T) {
	f := start(t, nil)
	s := f.connect(t, "one").hello("")
	if _, err := s.stream.Header(); err != nil {
		t.Fatal(err)
	}
	f.stop()
	if err := s.end(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
}

func TestWhoMayFollow(t *testing.T) {
	f := start(t, nil)
	f.leading.Store(true)
	for token, want := range map[string]codes.Code{
		"operator": codes.OK, "one": codes.PermissionDenied, "imposter": codes.PermissionDenied, "stranger": codes.Unauthenticated,
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
		s, err := stream.NewRolloutClient(f.conn).Follow(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Send(&stream.RolloutDelta{Replica: "b", Full: true})
		if _, err := s.CloseAndRecv(); status.Code(err) != want {
			t.Errorf("%s: %v, want %s", token, err, want)
		}
	}
}

func TestJitter(t *testing.T) {
	for range 1000 {
		if d := jitter(time.Minute); d < 48*time.Second || d > 72*time.Second {
			t.Fatalf("%s is not a minute give or take a fifth", d)
		}
	}
}
