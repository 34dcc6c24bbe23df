// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/hub"
)

// session is what the server knows of one sidecar: a state machine without I/O.
// Views, acks and nacks come in, messages to send come out.
type session struct {
	view hub.View
	have bool // view is set

	// serving is the hash the sidecar serves and, where known, its content.
	serving      string
	servingSnap  *snapshot.Snapshot
	servingKnown bool

	// flight is the hash that was sent and is not answered yet. There is one at a
	// time: what the sidecar serves is then always known, and one that is slow is
	// sent the newest only.
	flight     string
	flightSnap *snapshot.Snapshot
	// flightView is the hash of the view that flight was made for.
	flightView string
	// dead is a hash that was refused and has no fallback.
	dead string
	// refused are the policies at fault in the view's snapshot, and nack is the
	// last refusal.
	refused map[string]*stream.Nack
	nack    *stream.Nack

	// asked are refusals that hold until the sidecar has answered again: of an earlier
	// stream, or of policies that are as they were when it refused them. A status must
	// not say for a moment that there is none.
	asked []*stream.Nack

	secrets *stream.Secrets
	peers   *stream.Peers
}

// newSession begins with what a Hello said. lookup finds snapshots that the hub
// still remembers; others the sidecar has brought along, which is believed: it
// comes back to this sidecar alone.
func newSession(h *stream.Hello, lookup func(string) (*snapshot.Snapshot, bool)) *session {
	s := &session{serving: h.GetLastHash(), refused: map[string]*stream.Nack{}}
	if s.serving == "" {
		s.servingKnown = true
		return s
	}
	s.servingSnap, s.servingKnown = lookup(s.serving)
	if !s.servingKnown && h.GetServing() != nil {
		s.servingSnap, s.servingKnown = h.GetServing(), true
	}
	return s
}

// see takes a view and returns what the sidecar must be told, in order.
func (s *session) see(v hub.View) []*stream.ToSidecar {
	if !s.have || v.Hash != s.view.Hash {
		s.asked = s.again(v)
		s.refused, s.nack = map[string]*stream.Nack{}, nil
	}
	s.view, s.have = v, true
	var out []*stream.ToSidecar
	if v.Secrets != nil && !proto.Equal(v.Secrets, s.secrets) {
		s.secrets = v.Secrets
		out = append(out, &stream.ToSidecar{Message: &stream.ToSidecar_Secrets{Secrets: v.Secrets}})
	}
	if v.Peers != nil && !proto.Equal(v.Peers, s.peers) {
		s.peers = v.Peers
		out = append(out, &stream.ToSidecar{Message: &stream.ToSidecar_Peers{Peers: v.Peers}})
	}
	return append(out, s.snapshot()...)
}

// snapshot returns the snapshot to send, if one has to be.
func (s *session) snapshot() []*stream.ToSidecar {
	hash, snap := s.view.Hash, s.view.Snapshot
	if len(s.refused) > 0 {
		snap = fallback(snap, s.servingSnap, s.refused)
		hash = snapshot.Hash(snap)
	}
	switch {
	case s.flight != "", hash == s.dead:
		return nil
	case hash == s.serving:
		s.settled(hash, snap)
		return nil
	}
	s.flight, s.flightSnap, s.flightView = hash, snap, s.view.Hash
	return []*stream.ToSidecar{{Message: &stream.ToSidecar_Snapshot{
		Snapshot: &stream.SnapshotUpdate{Hash: hash, Snapshot: snap},
	}}}
}

// settled: the sidecar serves that hash, and nothing is under way.
func (s *session) settled(hash string, snap *snapshot.Snapshot) {
	s.serving, s.servingSnap, s.servingKnown = hash, snap, true
	s.flight, s.flightSnap, s.dead = "", nil, ""
	if hash == s.view.Hash {
		s.nack = nil
	}
}

// awaits reports whether a message is the answer to the snapshot under way.
func (s *session) awaits(m *stream.FromSidecar) bool {
	return s.flight != "" && (m.GetAck().GetHash() == s.flight || m.GetNack().GetHash() == s.flight)
}

// acked takes an ack and returns what the view has become meanwhile. An ack of
// anything but what was sent says nothing.
func (s *session) acked(hash string) []*stream.ToSidecar {
	if hash == "" || hash != s.flight {
		return nil
	}
	s.asked = nil
	s.settled(s.flight, s.flightSnap)
	return s.snapshot()
}

// nacked takes a nack and returns what to send in place of what was refused.
func (s *session) nacked(n *stream.Nack) []*stream.ToSidecar {
	if n.GetHash() == "" || n.GetHash() != s.flight {
		return nil
	}
	if s.flightView != s.view.Hash {
		// It says nothing of the newest.
		s.flight, s.flightSnap = "", nil
		return s.snapshot()
	}
	s.asked = nil
	n = proto.CloneOf(n)
	if policyNamed(s.flightSnap, n.GetPolicy()) == nil {
		n.Policy = ""
	}
	s.nack = n
	s.flight, s.flightSnap = "", nil
	// Without a policy there is nothing to leave out; one that was refused
	// before was in its old form already; and what an unknown snapshot serves
	// might have an older form, which one without the policy would take away.
	if n.GetPolicy() == "" || s.refused[n.GetPolicy()] != nil || !s.servingKnown {
		s.dead = n.GetHash()
		return nil
	}
	s.refused[n.GetPolicy()] = n
	return s.snapshot()
}

// write puts what is known into a pod's state.
func (s *session) write(p *stream.PodState) {
	p.Workload = s.view.Workload.Key
	p.Unsupported = s.view.Unsupported
	p.Nack = s.nack
	p.Refused = nil
	if n := s.nack; n.GetPolicy() != "" && s.refused[n.GetPolicy()] == nil {
		p.Refused = append(p.Refused, n)
	}
	for _, policy := range slices.Sorted(maps.Keys(s.refused)) {
		p.Refused = append(p.Refused, s.refused[policy])
	}
	if s.nack == nil && len(s.asked) > 0 {
		p.Nack = s.asked[0]
		for _, n := range s.asked {
			if n.GetPolicy() != "" {
				p.Refused = append(p.Refused, n)
			}
		}
	}
	p.AckedHash = s.serving
	p.Acked = nil
	if s.servingKnown {
		p.Acked = hub.Generations(s.servingSnap)
	}
}

// remember takes what was known of the pod before this stream.
func (s *session) remember(former *stream.PodState) {
	if former.GetNack() == nil || former.GetAckedHash() != s.serving {
		return
	}
	s.asked = append(s.asked, former.GetNack())
	for _, n := range former.GetRefused() {
		if !proto.Equal(n, former.GetNack()) {
			s.asked = append(s.asked, n)
		}
	}
}

// again returns the refusals that a new view does not make void.
func (s *session) again(v hub.View) []*stream.Nack {
	if !s.have {
		if slices.ContainsFunc(s.asked, func(n *stream.Nack) bool { return n.GetHash() == v.Hash }) {
			return s.asked
		}
		return nil
	}
	var out []*stream.Nack
	for _, policy := range slices.Sorted(maps.Keys(s.refused)) {
		if samePolicy(s.view.Snapshot, v.Snapshot, policy) {
			out = append(out, s.refused[policy])
		}
	}
	return out
}
