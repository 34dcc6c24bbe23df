// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"weir.dev/weir/api/stream"
)

const (
	// leaderPoll is how often the Lease is looked at while there is a leader;
	// without one a policy's status waits for what this replica knows.
	leaderPoll   = time.Second
	leaderSearch = 200 * time.Millisecond
	// followBatch is how long changes are collected before a delta is sent.
	followBatch = 20 * time.Millisecond
	// followPart is how many bytes one message has at most, unless one pod
	// alone has more; the server takes 1 MiB.
	followPart = 256 << 10
	// followFirst is the wait after the first failure, which is common: whoever has
	// the Lease is not at once ready to lead. It doubles, is jittered, and
	// followRetry bounds it.
	followFirst = 100 * time.Millisecond
	followRetry = time.Second
	sweepEvery  = time.Minute
)

// Follower tells the leader of the streams of this replica.
type Follower struct {
	Tracker *Tracker
	// Self is this replica's identity in the Lease.
	Self string
	// Leader returns the holder of the Lease; empty when there is none.
	Leader func(context.Context) (string, error)
	// Dial makes a connection to a replica, authenticated as this operator, see
	// Dialer.
	Dial func(Identity) (*grpc.ClientConn, error)
	Log  *slog.Logger
}

// Run follows until ctx ends, whoever leads. It returns nil.
func (f *Follower) Run(ctx context.Context) error {
	go f.sweep(ctx)
	retry, last := followFirst, ""
	for ctx.Err() == nil {
		wait := leaderPoll
		leader, err := f.Leader(ctx)
		switch {
		case err != nil:
			f.Log.Warn("cannot read the lease", "error", err)
		case leader == "":
			wait = leaderSearch
		case leader != f.Self:
			began := time.Now()
			err := f.follow(ctx, leader)
			if leader != last || time.Since(began) > followRetry {
				retry, last = followFirst, leader
			}
			if wait = leaderSearch; err != nil && ctx.Err() == nil {
				f.Log.Info("not following the leader", "leader", leader, "error", err)
				wait = retry/2 + rand.N(retry/2)
				retry = min(2*retry, followRetry)
			}
		}
		pause(ctx, wait)
	}
	return nil
}

func (f *Follower) sweep(ctx context.Context) {
	for pause(ctx, sweepEvery) {
		f.Tracker.sweep(time.Now())
	}
}

// pause reports whether it lasted for d.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// follow returns when the connection breaks or somebody else leads.
func (f *Follower) follow(ctx context.Context, leader string) error {
	id, err := ParseIdentity(leader)
	if err != nil {
		return err
	}
	conn, err := f.Dial(id)
	if err != nil {
		return fmt.Errorf("dial %s: %w", id.Address, err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, err := stream.NewRolloutClient(conn).Follow(ctx)
	if err != nil {
		return err
	}
	// The leader has nothing to say but why it ends the stream, and only who reads
	// learns of it.
	ended := make(chan error, 1)
	go func() { ended <- out.RecvMsg(&stream.RolloutEnd{}) }()
	changes := f.Tracker.follow()
	defer changes.close()
	if err := f.send(out, true, changes.all()); err != nil {
		return <-ended
	}
	poll := time.NewTicker(leaderPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			return err
		case <-poll.C:
			if now, err := f.Leader(ctx); err == nil && now != leader {
				return nil
			}
		case <-changes.c:
			pause(ctx, followBatch)
			if err := f.send(out, false, changes.take()); err != nil {
				return <-ended
			}
		}
	}
}

func (f *Follower) send(out stream.Rollout_FollowClient, full bool, pods []*stream.PodState) error {
	for full || len(pods) > 0 {
		n := part(pods)
		d := &stream.RolloutDelta{Replica: f.Tracker.replica, Full: full, Pods: pods[:n]}
		if err := out.Send(d); err != nil {
			return err // EOF; the reason is what RecvMsg returns
		}
		pods, full = pods[n:], false
	}
	return nil
}

// part is how many of pods go into one message.
func part(pods []*stream.PodState) int {
	size := 0
	for i, p := range pods {
		size += proto.Size(p) + 8
		if size > followPart && i > 0 {
			return i
		}
	}
	return len(pods)
}

// follow is the local states that are still to be told to the leader.
type follow struct {
	t     *Tracker
	c     chan struct{}
	dirty map[[2]string]struct{}
	// forgotten are pods that the leader may still believe to be connected.
	forgotten []*stream.PodState
}

func (t *Tracker) follow() *follow {
	f := &follow{t: t, c: make(chan struct{}, 1), dirty: map[[2]string]struct{}{}}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.follows[f] = struct{}{}
	return f
}

func (f *follow) mark(namespace, uid string) {
	f.dirty[[2]string{namespace, uid}] = struct{}{}
	signal(f.c)
}

func (f *follow) forget(p *stream.PodState) {
	p = proto.CloneOf(p)
	p.Connected, p.Since = false, timestamppb.Now()
	f.forgotten = append(f.forgotten, p)
	signal(f.c)
}

func (f *follow) all() []*stream.PodState {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	clear(f.dirty)
	f.forgotten = nil
	return f.t.local.all()
}

func (f *follow) take() []*stream.PodState {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	out := f.forgotten
	f.forgotten = nil
	for k := range f.dirty {
		if p := f.t.local[k[0]][k[1]]; p != nil {
			out = append(out, p)
		}
	}
	clear(f.dirty)
	return out
}

func (f *follow) close() {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	delete(f.t.follows, f)
}
