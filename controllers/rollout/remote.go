// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"weir.dev/weir/api/stream"
)

// remote is what another replica has said.
type remote struct {
	pods table
	// connection counts its connections, so that the end of an old one does
	// not take a new one away.
	connection uint64
	// gone runs while the replica is away; away once it has been for ReplicaGrace.
	gone *time.Timer
	away bool
}

// Service is the gRPC service that the other replicas call on the leader.
type Service struct {
	stream.UnimplementedRolloutServer

	Tracker *Tracker
	// Leading reports whether this replica is the leader.
	Leading func() bool
	// Authorize returns a status error for callers that are not this operator.
	Authorize func(context.Context) error
}

// Follow takes what another replica says until it goes away.
func (s *Service) Follow(in stream.Rollout_FollowServer) error {
	if err := s.Authorize(in.Context()); err != nil {
		return err
	}
	if !s.Leading() {
		return status.Error(codes.FailedPrecondition, "this replica is not the leader")
	}
	d, err := in.Recv()
	if err != nil {
		return err
	}
	if !d.GetFull() || d.GetReplica() == "" {
		return status.Error(codes.FailedPrecondition, "the first message names the replica and is full")
	}
	replica := d.GetReplica()
	connection := s.Tracker.replicaConnected(replica, d)
	defer s.Tracker.replicaGone(replica, connection)
	for {
		d, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return in.SendAndClose(&stream.RolloutEnd{})
		}
		if err != nil {
			return fmt.Errorf("follower %s: %w", replica, err)
		}
		if !s.Tracker.replicaSays(replica, connection, d) {
			return status.Error(codes.Aborted, "a newer connection of this replica has taken over")
		}
	}
}

func (t *Tracker) replicaConnected(name string, d *stream.RolloutDelta) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.replicas[name]
	if r == nil {
		r = &remote{pods: table{}}
		t.replicas[name] = r
	}
	if r.gone != nil {
		r.gone.Stop()
		r.gone, r.away = nil, false
	}
	r.connection++
	t.apply(r, d)
	return r.connection
}

func (t *Tracker) replicaSays(name string, connection uint64, d *stream.RolloutDelta) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.replicas[name]
	if r == nil || r.connection != connection {
		return false
	}
	t.apply(r, d)
	return true
}

// apply takes a delta. What a full one leaves out is not forgotten but away since now:
// a replica that has restarted, or is still sending, says nothing of pods that have
// yet to come back.
func (t *Tracker) apply(r *remote, d *stream.RolloutDelta) {
	touched := map[string]struct{}{}
	if d.GetFull() {
		for ns := range r.pods.away(timestamppb.Now()) {
			touched[ns] = struct{}{}
		}
	}
	for _, p := range d.GetPods() {
		before := r.pods[p.GetNamespace()][p.GetUid()]
		r.pods.put(p)
		t.differs(before, p)
	}
	for ns := range touched {
		t.changed(ns)
	}
}

// replicaGone says that the pods of the replica are away unless it comes back within
// ReplicaGrace. What they acked they go on enforcing.
func (t *Tracker) replicaGone(name string, connection uint64) {
	since := timestamppb.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.replicas[name]
	if r == nil || r.connection != connection {
		return
	}
	r.gone = time.AfterFunc(ReplicaGrace, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.replicas[name] != r || r.connection != connection {
			return
		}
		for ns := range r.pods.away(since) {
			t.changed(ns)
		}
		r.away = true
	})
}
