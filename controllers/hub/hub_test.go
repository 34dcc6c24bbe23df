// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
)

var (
	shop = Workload{Namespace: "shop", Key: "w1"}
	none = Workload{Namespace: "shop"}
	one  = Pod{Namespace: "shop", Name: "one", UID: "1"}
	full = []string{stream.FeatureRateLimit}
)

// publication has one policy of a generation.
func publication(generation int64) Publication {
	return Publication{Snapshot: &snapshot.Snapshot{
		Workload:          &snapshot.Workload{Cluster: "c", Namespace: "shop", Key: "w1"},
		Ports:             []*snapshot.Port{{Number: 8080, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "pay"}},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{Name: "pay", Generation: generation}},
	}}
}

// generation is what a subscriber sees: -1 nothing, 0 a snapshot without policies.
func generation(s *Subscription) int64 {
	v, ok := s.View()
	if !ok {
		return -1
	}
	for _, g := range Generations(v.Snapshot) {
		return g.GetGeneration()
	}
	return 0
}

// signalled reports whether there is a signal, and takes it.
func signalled(s *Subscription) bool {
	select {
	case <-s.Changed():
		return true
	default:
		return false
	}
}

func TestPublishAndAssign(t *testing.T) {
	h := New("c")
	s := h.Subscribe(one, full)
	defer s.Close()
	step := func(what string, wantSignal bool, wantGeneration int64) {
		t.Helper()
		if got := signalled(s); got != wantSignal {
			t.Errorf("%s: signal %v, want %v", what, got, wantSignal)
		}
		if got := generation(s); got != wantGeneration {
			t.Errorf("%s: generation %d, want %d", what, got, wantGeneration)
		}
	}
	step("at first", true, -1)
	h.Publish(shop, publication(1))
	step("published, but whose is the pod?", false, -1)
	h.Assign(one, shop)
	step("assigned", true, 1)
	h.Assign(one, shop)
	step("assigned again", false, 1)
	for i := range 5 {
		h.Publish(shop, publication(int64(i)))
	}
	step("five times: one signal, the newest", true, 4)
	step("nothing new", false, 4)
	h.Assign(one, Workload{Namespace: "shop", Key: "w2"})
	step("moved to what is not published yet", true, -1)
	h.Publish(Workload{Namespace: "shop", Key: "w2"}, publication(9))
	step("published", true, 9)
	h.Publish(shop, publication(5))
	step("the old workload", false, 9)
	h.Assign(one, none)
	step("no Service selects it any more", true, 0)
	h.Forget(one)
	step("gone", false, -1)
}

func TestEmptySnapshot(t *testing.T) {
	h := New("prod")
	s := h.Subscribe(one, full)
	defer s.Close()
	h.Assign(one, none)
	v, ok := s.View()
	if !ok || v.Hash == "" {
		t.Fatalf("view %v, %v; want one with a hash", v, ok)
	}
	if err := snapshot.Validate(v.Snapshot); err != nil {
		t.Errorf("the empty snapshot: %v", err)
	}
	want := &snapshot.Workload{Cluster: "prod", Namespace: "shop"}
	if got := v.Snapshot.GetWorkload(); got.String() != want.String() {
		t.Errorf("workload %v, want %v", got, want)
	}
}

func TestDeleteKeepsWhatPodsHave(t *testing.T) {
	h := New("c")
	s := h.Subscribe(one, full)
	defer s.Close()
	h.Publish(shop, publication(1))
	h.Assign(one, shop)
	signalled(s)
	h.Delete(shop)
	if signalled(s) {
		t.Error("a pod is told of the end of its workload; it has to be assigned first")
	}
}

func TestFeatures(t *testing.T) {
	h := New("c")
	h.Assign(one, shop)
	h.Publish(shop, publication(1))
	able, old := h.Subscribe(one, full), h.Subscribe(one, nil)
	defer able.Close()
	defer old.Close()
	va, _ := able.View()
	vo, _ := old.View()
	if va.Hash == vo.Hash {
		t.Error("the cut snapshot has the hash of the whole one")
	}
	if d := cmp.Diff([]string{"RateLimitPolicy/pay"}, vo.Unsupported); d != "" {
		t.Errorf("unsupported (-want +got):\n%s", d)
	}
	if len(va.Unsupported) != 0 || len(vo.Snapshot.GetRateLimitPolicies()) != 0 {
		t.Errorf("whole: unsupported %v; cut: policies %v", va.Unsupported, vo.Snapshot.GetRateLimitPolicies())
	}
}

func TestHistory(t *testing.T) {
	h := New("c")
	h.Assign(one, shop)
	s := h.Subscribe(one, full)
	defer s.Close()
	var hashes []string
	for i := range maxHistory + 1 {
		h.Publish(shop, publication(int64(i)))
		v, _ := s.View()
		hashes = append(hashes, v.Hash)
	}
	if _, ok := s.Lookup(hashes[0]); ok {
		t.Errorf("the oldest of %d is still known", len(hashes))
	}
	for i, hash := range hashes[1:] {
		snap, ok := s.Lookup(hash)
		if !ok || Generations(snap)[0].GetGeneration() != int64(i+1) {
			t.Errorf("hash %d: known %v, %v", i+1, ok, snap)
		}
	}
}

// Whatever happens in whatever order: a subscriber that looks after its last
// signal sees what holds, and never another workload's publication.
func TestConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := New("c")
		pods := []Pod{one, {Namespace: "shop", Name: "two", UID: "2"}}
		workloads := []Workload{none, shop, {Namespace: "shop", Key: "w2"}}
		published := map[Workload]int64{none: 0}
		assigned := map[Pod]Workload{}
		seen := map[Pod]int64{}
		subs := map[Pod]*Subscription{}
		for _, p := range pods {
			subs[p] = h.Subscribe(p, full)
			defer subs[p].Close()
		}
		next := int64(1)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			w := rapid.SampledFrom(workloads).Draw(t, "workload")
			p := rapid.SampledFrom(pods).Draw(t, "pod")
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				if w.Key != "" {
					h.Publish(w, publication(next))
					published[w] = next
					next++
				}
			case 1:
				h.Assign(p, w)
				assigned[p] = w
			case 2:
				if signalled(subs[p]) {
					seen[p] = generation(subs[p])
				}
			}
		}
		for _, p := range pods {
			if signalled(subs[p]) {
				seen[p] = generation(subs[p])
			}
			want := int64(-1)
			if w, ok := assigned[p]; ok {
				if g, ok := published[w]; ok {
					want = g
				}
			}
			if seen[p] != want {
				t.Fatalf("%s sees %d, want %d", fmt.Sprint(p), seen[p], want)
			}
		}
	})
}

func TestGenerationsHavePorts(t *testing.T) {
	got := Generations(&snapshot.Snapshot{
		Ports: []*snapshot.Port{
			{Number: 8080, RateLimitPolicy: "pay"}, {Number: 8081}, {Number: 8082, RateLimitPolicy: "list"}, {Number: 9000, RateLimitPolicy: "pay"},
		},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{Name: "list", Generation: 2, Uid: "l"}, {Name: "pay", Generation: 3, Uid: "p"}},
	})
	want := []*stream.PolicyGeneration{
		{Policy: "RateLimitPolicy/list", Generation: 2, Uid: "l", Ports: []uint32{8082}},
		{Policy: "RateLimitPolicy/pay", Generation: 3, Uid: "p", Ports: []uint32{8080, 9000}},
	}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// What sidecars name that nobody asks for makes no cut of its own.
func TestCutsAreFew(t *testing.T) {
	h := New("c")
	h.Publish(shop, publication(1))
	h.Assign(one, shop)
	var hash string
	for i := range 3 * maxCuts {
		s := h.Subscribe(one, []string{stream.FeatureRateLimit, fmt.Sprint("more/v", i), fmt.Sprintf("a,%d", i)})
		v, ok := s.View()
		if !ok || len(v.Unsupported) != 0 || hash != "" && v.Hash != hash {
			t.Fatalf("view %+v, want hash %s", v, hash)
		}
		hash = v.Hash
		s.Close()
	}
	if n := len(h.workloads[shop].cuts); n != 1 {
		t.Errorf("%d cuts, want 1", n)
	}
}
