// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"weir.dev/weir/api/stream"
)

// cluster is replicas that reach each other in memory, and a Lease.
type cluster struct {
	t      *testing.T
	mu     sync.Mutex
	leader string
	nodes  map[string]*node // by identity
}

type node struct {
	id     Identity
	svc    *Service
	lis    *bufconn.Listener
	server *grpc.Server
	cancel context.CancelFunc
	done   chan struct{}
}

func (c *cluster) holder(context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader, nil
}

func (c *cluster) elect(n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = ""
	if n != nil {
		c.leader = n.id.String()
	}
}

func (c *cluster) start(name string) *node {
	n := &node{
		id:   Identity{Pod: name, Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(len(c.nodes) + 1)}), 8443)},
		lis:  bufconn.Listen(1 << 16),
		done: make(chan struct{}),
	}
	n.svc = &Service{
		Tracker: New(name),
		Leading: func() bool {
			l, _ := c.holder(context.Background())
			return l == n.id.String()
		},
		Authorize: func(context.Context) error { return nil },
	}
	n.server = grpc.NewServer()
	stream.RegisterRolloutServer(n.server, n.svc)
	go func() { _ = n.server.Serve(n.lis) }()
	c.nodes[n.id.String()] = n
	f := &Follower{
		Tracker: n.svc.Tracker, Self: n.id.String(), Leader: c.holder, Dial: c.dial,
		Log: slog.New(slog.DiscardHandler),
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	n.cancel = cancel
	go func() {
		defer close(n.done)
		_ = f.Run(ctx)
	}()
	return n
}

func (n *node) stop() {
	n.cancel()
	<-n.done
	n.server.Stop()
}

func (c *cluster) dial(id Identity) (*grpc.ClientConn, error) {
	n := c.nodes[id.String()]
	return grpc.NewClient("passthrough:///"+id.Address.String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return n.lis.DialContext(ctx) }))
}

// soon is time enough for followers to notice and tell.
func soon() {
	time.Sleep(2*leaderPoll + followRetry)
	synctest.Wait()
}

func TestLeaderMerges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, nodes: map[string]*node{}}
		a, b := c.start("a"), c.start("b")
		a.svc.Tracker.Open(pod("one")).Update(acks("h1"))
		two := b.svc.Tracker.Open(pod("two"))
		c.elect(a)
		soon()
		wantLines(t, a.svc.Tracker, "one connected h1", "two connected ")
		wantLines(t, b.svc.Tracker, "two connected ")

		// A delta arrives without waiting for the next look at the lease.
		two.Update(acks("h2"))
		time.Sleep(10 * followBatch)
		synctest.Wait()
		wantLines(t, a.svc.Tracker, "one connected h1", "two connected h2")

		// The pod moves to the leader: the newest that is connected holds, also
		// once its old replica has noticed.
		moved := a.svc.Tracker.Open(pod("two"))
		moved.Update(acks("h3"))
		wantLines(t, a.svc.Tracker, "one connected h1", "two connected h3")
		two.Close()
		soon()
		wantLines(t, a.svc.Tracker, "one connected h1", "two connected h3")

		// The other replica becomes the leader and is told everything.
		c.elect(b)
		soon()
		wantLines(t, b.svc.Tracker, "one connected h1", "two connected h3")
		a.stop()
		b.stop()
	})
}

func TestReplicaThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, nodes: map[string]*node{}}
		a, b := c.start("a"), c.start("b")
		c.elect(a)
		b.svc.Tracker.Open(pod("two")).Update(acks("h2"))
		soon()
		w := a.svc.Tracker.Watch()
		defer w.Close()
		w.Take()
		b.stop()
		time.Sleep(ReplicaGrace - time.Second)
		wantLines(t, a.svc.Tracker, "two connected h2")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantLines(t, a.svc.Tracker, "two gone h2")
		if since := a.svc.Tracker.Pods("shop")[0].GetSince().AsTime(); time.Since(since) < ReplicaGrace {
			t.Errorf("gone for %s, want since the replica was last heard", time.Since(since))
		}
		if got := w.Take(); len(got) != 1 || got[0] != "shop" {
			t.Errorf("changed namespaces %v, want shop", got)
		}
		time.Sleep(ForgetAfter + sweepEvery)
		synctest.Wait()
		wantLines(t, a.svc.Tracker)
		if n := len(a.svc.Tracker.replicas); n != 0 {
			t.Errorf("%d replicas are remembered", n)
		}
		a.stop()
	})
}

// A replica that is back within the grace replaces what it has said before. Pods that
// it does not name are away, not unknown: it may have restarted, and they are on their
// way to it.
func TestReplicaComesBack(t *testing.T) {
	tr := New("a")
	synctest.Test(t, func(t *testing.T) {
		full := func(pods ...*stream.PodState) *stream.RolloutDelta {
			for _, p := range pods {
				p.Connected = true
			}
			return &stream.RolloutDelta{Replica: "b", Full: true, Pods: pods}
		}
		first := tr.replicaConnected("b", full(pod("one"), pod("two")))
		second := tr.replicaConnected("b", full(pod("two")))
		wantLines(t, tr, "one gone ", "two connected ")
		if tr.replicaSays("b", first, &stream.RolloutDelta{Pods: []*stream.PodState{pod("one")}}) {
			t.Error("the old connection is still believed")
		}
		tr.replicaGone("b", first)
		time.Sleep(2 * ReplicaGrace)
		synctest.Wait()
		wantLines(t, tr, "one gone ", "two connected ")
		tr.replicaGone("b", second)
		time.Sleep(ReplicaGrace / 2)
		third := tr.replicaConnected("b", full(pod("two")))
		time.Sleep(ReplicaGrace)
		synctest.Wait()
		wantLines(t, tr, "one gone ", "two connected ")
		tr.replicaGone("b", third)
		time.Sleep(ReplicaGrace)
		synctest.Wait()
		wantLines(t, tr, "one gone ", "two gone ")
		tr.replicaConnected("b", full(pod("one"), pod("two")))
		wantLines(t, tr, "one connected ", "two connected ")
	})
}

// A pod whose stream has outlived it is not connected for ever in the leader's eyes.
func TestForgottenWhileConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, nodes: map[string]*node{}}
		a, b := c.start("a"), c.start("b")
		c.elect(a)
		b.svc.Tracker.Open(pod("two")).Update(acks("h2"))
		soon()
		wantLines(t, a.svc.Tracker, "two connected h2")
		b.svc.Tracker.Forget("shop", "uid-two")
		time.Sleep(10 * followBatch)
		synctest.Wait()
		wantLines(t, a.svc.Tracker, "two gone h2")
		wantLines(t, b.svc.Tracker)
		a.stop()
		b.stop()
	})
}

// Whoever gets the Lease is not ready to lead at once: that costs a moment, not
// seconds, for which statuses would wait.
func TestLeaderIsNotReadyYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, nodes: map[string]*node{}}
		a, b := c.start("a"), c.start("b")
		var ready atomic.Bool
		a.svc.Leading = ready.Load
		time.Sleep(time.Minute)
		b.svc.Tracker.Open(pod("two")).Update(acks("h2"))
		c.elect(a)
		time.Sleep(leaderSearch + 50*time.Millisecond)
		synctest.Wait()
		wantLines(t, a.svc.Tracker)
		ready.Store(true)
		time.Sleep(4 * followFirst)
		synctest.Wait()
		wantLines(t, a.svc.Tracker, "two connected h2")
		a.stop()
		b.stop()
	})
}

func TestFollowRefuses(t *testing.T) {
	leading := true
	var unauthorized error
	svc := &Service{Tracker: New("a"), Leading: func() bool { return leading }, Authorize: func(context.Context) error { return unauthorized }}
	lis := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	stream.RegisterRolloutServer(server, svc)
	go func() { _ = server.Serve(lis) }()
	defer server.Stop()
	conn, err := grpc.NewClient("passthrough:///a", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	try := func(d *stream.RolloutDelta) codes.Code {
		out, err := stream.NewRolloutClient(conn).Follow(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = out.Send(d)
		_, err = out.CloseAndRecv()
		return status.Code(err)
	}
	full := &stream.RolloutDelta{Replica: "b", Full: true}
	if got := try(full); got != codes.OK {
		t.Errorf("a follower: %s, want OK", got)
	}
	if got := try(&stream.RolloutDelta{Replica: "b"}); got != codes.FailedPrecondition {
		t.Errorf("a delta first: %s, want FailedPrecondition", got)
	}
	leading = false
	if got := try(full); got != codes.FailedPrecondition {
		t.Errorf("not the leader: %s, want FailedPrecondition", got)
	}
	leading, unauthorized = true, status.Error(codes.PermissionDenied, "no")
	if got := try(full); got != codes.PermissionDenied {
		t.Errorf("somebody else: %s, want PermissionDenied", got)
	}
}

func TestParts(t *testing.T) {
	big := &stream.PodState{Workload: string(make([]byte, followPart/2))}
	huge := &stream.PodState{Workload: string(make([]byte, 2*followPart))}
	small := &stream.PodState{}
	for name, tc := range map[string]struct {
		pods []*stream.PodState
		want int
	}{
		"none":         {nil, 0},
		"all":          {[]*stream.PodState{small, small, small}, 3},
		"some":         {[]*stream.PodState{big, small, big}, 2},
		"one too huge": {[]*stream.PodState{huge, small}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := part(tc.pods); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestHandler(t *testing.T) {
	svc := &Service{Tracker: New("a"), Leading: func() bool { return true }}
	svc.Tracker.Open(pod("one")).Update(acks("h1"))
	svc.Tracker.Open(&stream.PodState{Namespace: "bank", Pod: "x", Uid: "x"})
	for query, want := range map[string]int{"": 2, "?namespace=shop": 1, "?namespace=none": 0} {
		w := httptest.NewRecorder()
		svc.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/rollout"+query, nil))
		var v View
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		pods, err := v.Decode()
		if err != nil {
			t.Fatal(err)
		}
		if len(pods) != want || !v.Leading || v.Replica != "a" {
			t.Errorf("GET /rollout%s: %d pods, leading %v, replica %q; want %d, true, a", query, len(pods), v.Leading, v.Replica, want)
		}
	}
}
