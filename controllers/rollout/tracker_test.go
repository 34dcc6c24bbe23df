// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/api/stream"
)

func pod(name string) *stream.PodState {
	return &stream.PodState{Namespace: "shop", Pod: name, Uid: "uid-" + name}
}

func acks(hash string) func(*stream.PodState) {
	return func(p *stream.PodState) { p.AckedHash = hash }
}

// lines are the pods of the namespace shop, one a line.
func lines(t *Tracker) string {
	var b strings.Builder
	for _, p := range t.Pods("shop") {
		state := "connected"
		if !p.GetConnected() {
			state = "gone"
		}
		fmt.Fprintf(&b, "%s %s %s\n", p.GetPod(), state, p.GetAckedHash())
	}
	return b.String()
}

func wantLines(t *testing.T, tr *Tracker, want ...string) {
	t.Helper()
	w := strings.Join(want, "\n")
	if len(want) > 0 {
		w += "\n"
	}
	if d := cmp.Diff(w, lines(tr)); d != "" {
		t.Errorf("pods (-want +got):\n%s", d)
	}
}

func TestStreams(t *testing.T) {
	tr := New("a")
	one := tr.Open(pod("one"))
	two := tr.Open(pod("two"))
	one.Update(acks("h1"))
	two.Close()
	wantLines(t, tr, "one connected h1", "two gone ")
	two.Update(acks("late"))
	wantLines(t, tr, "one connected h1", "two gone ")
	tr.Forget("shop", "uid-two")
	wantLines(t, tr, "one connected h1")
	if got := tr.Namespaces(); !slices.Equal(got, []string{"shop"}) {
		t.Errorf("namespaces %v", got)
	}
}

// A pod that connects again before the server has seen the end of its old stream:
// the old one's end must not say that the pod is gone.
func TestOldStreamSaysNothing(t *testing.T) {
	tr := New("a")
	old := tr.Open(pod("one"))
	now := tr.Open(pod("one"))
	now.Update(acks("h2"))
	old.Update(acks("h1"))
	old.Close()
	wantLines(t, tr, "one connected h2")
	now.Close()
	wantLines(t, tr, "one gone h2")
}

func TestUpdateKeepsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New("a")
		s := tr.Open(pod("one"))
		since := tr.Pods("shop")[0].GetSince().AsTime()
		time.Sleep(time.Minute)
		s.Update(func(p *stream.PodState) { p.Connected, p.AckedHash = false, "h" })
		p := tr.Pods("shop")[0]
		if !p.GetConnected() || !p.GetSince().AsTime().Equal(since) {
			t.Errorf("connected %v since %v, want true since %v", p.GetConnected(), p.GetSince().AsTime(), since)
		}
	})
}

func TestWatch(t *testing.T) {
	tr := New("a")
	s := tr.Open(pod("one"))
	w := tr.Watch()
	defer w.Close()
	take := func() []string {
		select {
		case <-w.C():
			return w.Take()
		default:
			return nil
		}
	}
	if got := take(); !slices.Equal(got, []string{"shop"}) {
		t.Errorf("at first: %v, want what there is", got)
	}
	s.Update(func(*stream.PodState) {})
	if got := take(); got != nil {
		t.Errorf("after an update that changes nothing: %v", got)
	}
	s.Update(acks("h1"))
	s.Update(acks("h2"))
	tr.Open(&stream.PodState{Namespace: "bank", Pod: "x", Uid: "x"})
	if got := take(); !slices.Equal(got, []string{"bank", "shop"}) {
		t.Errorf("after changes: %v", got)
	}
	if got := take(); got != nil {
		t.Errorf("after taking: %v", got)
	}
}

// Counts are to be had, but wake nobody, from this replica or another.
func TestWatchCounts(t *testing.T) {
	tr := New("a")
	s := tr.Open(pod("one"))
	state := func(wouldDeny uint64, problems ...*stream.PortProblem) *stream.PodState {
		p := pod("two")
		p.Report = &stream.Report{Shadow: []*stream.ShadowCount{{Policy: "p", Limit: "l", WouldDeny: wouldDeny}}, Problems: problems}
		return p
	}
	report := func(p *stream.PodState) {
		s.Update(func(own *stream.PodState) { own.Report = p.GetReport() })
	}
	connection := tr.replicaConnected("b", &stream.RolloutDelta{Replica: "b", Full: true, Pods: []*stream.PodState{state(1)}})
	says := func(p *stream.PodState) {
		tr.replicaSays("b", connection, &stream.RolloutDelta{Pods: []*stream.PodState{p}})
	}
	report(state(1))
	w := tr.Watch()
	defer w.Close()
	<-w.C()
	w.Take()
	tls := &stream.PortProblem{Kind: stream.PortProblem_KIND_ENCRYPTED_TRAFFIC, Port: 80, Count: 1}
	for _, c := range []struct {
		what  string
		do    func()
		wakes bool
	}{
		{"a count", func() { report(state(2)) }, false},
		{"a problem", func() { report(state(2, tls)) }, true},
		{"a count of another replica", func() { says(state(2)) }, false},
		{"a problem of another replica", func() { says(state(2, tls)) }, true},
		{"an ack", func() { s.Update(acks("h")) }, true},
	} {
		c.do()
		woken := false
		select {
		case <-w.C():
			woken = true
		default:
		}
		if got := w.Take(); woken != c.wakes || !slices.Equal(got, []string{"shop"}) {
			t.Errorf("%s: woken %v with %v, want %v with shop", c.what, woken, got, c.wakes)
		}
	}
}

func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New("a")
		tr.Open(pod("stays"))
		tr.Open(pod("goes")).Close()
		time.Sleep(ForgetAfter)
		tr.sweep(time.Now())
		wantLines(t, tr, "goes gone ", "stays connected ")
		time.Sleep(time.Second)
		tr.sweep(time.Now())
		wantLines(t, tr, "stays connected ")
	})
}

func TestIdentity(t *testing.T) {
	for name, tc := range map[string]struct {
		in      string
		wantErr bool
	}{
		"IPv4":       {"weir-operator-7d-x_10.0.0.7:8443", false},
		"IPv6":       {"weir-operator-7d-x_[fd00::7]:8443", false},
		"no address": {"weir-operator-7d-x", true},
		"no pod":     {"_10.0.0.7:8443", true},
		"a uuid":     {"host_6c1e3a0e-5a3e-4e8e-a7f4-0f4f1f6f6f6f", true},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := ParseIdentity(tc.in)
			if (err != nil) != tc.wantErr {
				t.Fatalf("error %v", err)
			}
			if err == nil && id.String() != tc.in {
				t.Errorf("%q became %q", tc.in, id)
			}
		})
	}
}
