// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/engine"
)

// Sink is what snapshots are for: an engine.Engine. An error of Apply that is an
// *engine.Refusal may name the policy at fault.
type Sink interface {
	Apply(*snapshot.Snapshot) error
	SetSecrets(*stream.Secrets) error
	SetPeers(map[string]uint32)
	Report() *stream.Report
}

// Options of a Source.
type Options struct {
	// Address is host:port of the config server; its certificate is for host.
	Address string
	// TokenFile holds the pod's token, CAFile the CA's certificates (PEM). Both
	// are read for each connection.
	TokenFile string
	CAFile    string
	// StateDir keeps the last good state; empty: nothing is kept.
	StateDir string
	// Version and Features go into Hello.
	Version  string
	Features []string
	Sink     Sink
	Log      *slog.Logger

	// dial replaces the TLS connection in tests.
	dial dialer
}

// Source keeps a Sink up to date.
type Source struct {
	opts  Options
	store *store
	// state is what the sink has; only the goroutine of Run changes it.
	state   *stream.LastGood
	current atomic.Pointer[stream.SnapshotUpdate]
	up      atomic.Bool
}

// New returns a source; Restore and Run make it work.
func New(opts Options) *Source {
	s := &Source{opts: opts, state: &stream.LastGood{}}
	if opts.StateDir != "" {
		s.store = &store{dir: opts.StateDir}
	}
	if s.opts.dial == nil {
		s.opts.dial = opts.dialTLS
	}
	return s
}

// Current returns the snapshot that serves, with its hash; nil when none does.
func (s *Source) Current() *stream.SnapshotUpdate { return s.current.Load() }

// Connected reports whether there is a stream.
func (s *Source) Connected() bool { return s.up.Load() }

// Restore gives the sink the last good state, if there is one, before Run. It
// reports whether something serves now.
func (s *Source) Restore() bool {
	if s.store == nil {
		return false
	}
	state, err := s.store.load()
	if err != nil {
		s.opts.Log.Warn("the last good state is ignored", "error", err)
		return false
	}
	if state == nil {
		return false
	}
	s.setSecrets(state.GetSecrets())
	s.opts.Sink.SetPeers(peers(state.GetPeers()))
	if err := s.opts.Sink.Apply(state.GetSnapshot().GetSnapshot()); err != nil {
		s.opts.Log.Warn("the last good state is ignored", "hash", state.GetSnapshot().GetHash(), "error", err)
		return false
	}
	s.state = state
	s.current.Store(state.GetSnapshot())
	s.opts.Log.Info("serving the last good state", "hash", state.GetSnapshot().GetHash())
	return true
}

// Run keeps a stream open until ctx ends. It returns nil.
func (s *Source) Run(ctx context.Context) error {
	return forever(ctx, s.opts.Log, func(ctx context.Context) error {
		defer s.up.Store(false)
		return s.connect(ctx)
	})
}

// forever opens a stream again and again until ctx ends. It returns nil.
func forever(ctx context.Context, log *slog.Logger, connect func(context.Context) error) error {
	var b backoff
	for {
		began := time.Now()
		err := connect(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the stream ended because it was told to
		}
		if time.Since(began) > settled {
			b = backoff{}
		}
		wait := b.next()
		log.Info("no config stream", "reason", err, "retry_in", wait.String())
		if !pause(ctx, wait) {
			return nil
		}
	}
}

// take handles one message and returns what to answer, nil for nothing.
func (s *Source) take(m *stream.ToSidecar) *stream.FromSidecar {
	switch m := m.GetMessage().(type) {
	case *stream.ToSidecar_Secrets:
		s.setSecrets(m.Secrets)
		s.state.Secrets = m.Secrets
	case *stream.ToSidecar_Peers:
		s.opts.Sink.SetPeers(peers(m.Peers))
		s.state.Peers = m.Peers
	case *stream.ToSidecar_Snapshot:
		return s.apply(m.Snapshot)
	default:
		// A message of a newer server; what needs it is not in our features.
		return nil
	}
	s.keep()
	return nil
}

// setSecrets passes secrets on. The store whose credentials are not usable is
// treated as one that is away.
func (s *Source) setSecrets(v *stream.Secrets) {
	if err := s.opts.Sink.SetSecrets(v); err != nil {
		s.opts.Log.Warn("credentials are not usable", "error", err)
	}
}

func (s *Source) apply(u *stream.SnapshotUpdate) *stream.FromSidecar {
	if err := s.opts.Sink.Apply(u.GetSnapshot()); err != nil {
		n := &stream.Nack{Hash: u.GetHash(), Reason: err.Error()}
		var refusal *engine.Refusal
		if errors.As(err, &refusal) {
			n.Policy, n.Reason = refusal.Policy, refusal.Reason
		}
		s.opts.Log.Warn("snapshot refused; the one before serves on", "hash", u.GetHash(), "policy", n.GetPolicy(), "reason", n.GetReason())
		return &stream.FromSidecar{Message: &stream.FromSidecar_Nack{Nack: n}}
	}
	s.state.Snapshot = u
	s.current.Store(u)
	s.keep()
	s.opts.Log.Info("snapshot serving", "hash", u.GetHash(), "policies", len(u.GetSnapshot().GetRateLimitPolicies()))
	return &stream.FromSidecar{Message: &stream.FromSidecar_Ack{Ack: &stream.Ack{Hash: u.GetHash()}}}
}

// keep saves the state once there is a snapshot. A volume that is full costs the
// state, not the snapshot.
func (s *Source) keep() {
	if s.store == nil || s.state.GetSnapshot() == nil {
		return
	}
	if err := s.store.save(s.state); err != nil {
		s.opts.Log.Warn("the last good state is not kept", "error", err)
	}
}

func peers(p *stream.Peers) map[string]uint32 {
	out := make(map[string]uint32, len(p.GetPolicies()))
	for _, n := range p.GetPolicies() {
		out[n.GetPolicy()] = n.GetReadyPods()
	}
	return out
}

// changed returns the report if it is not what was sent before.
func (s *Source) changed(before *stream.Report) *stream.Report {
	r := s.opts.Sink.Report()
	if before == nil {
		before = &stream.Report{}
	}
	if proto.Equal(r, before) {
		return nil
	}
	return r
}
