// SPDX-License-Identifier: Apache-2.0

package rls

import (
	"log/slog"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/engine"
)

// FleetOptions of a Fleet. All are needed.
type FleetOptions struct {
	Service *Service
	// Engine makes the engine of a namespace.
	Engine func() *engine.Engine
	// Replicas is how many services share the stores.
	Replicas uint32
	Log      *slog.Logger
}

// Fleet makes the snapshots of namespaces what a service answers from. One goroutine
// calls it.
type Fleet struct {
	opts       FleetOptions
	namespaces map[string]*namespace
	complete   bool
}

type namespace struct {
	engine *engine.Engine
	// snap is what serves; nil where nothing does.
	snap *snapshot.Snapshot
	// refused is a snapshot that is not served, as long as none is, and why.
	refused *snapshot.Snapshot
	why     string
}

// NewFleet returns a fleet; it must be closed.
func NewFleet(opts FleetOptions) *Fleet {
	return &Fleet{opts: opts, namespaces: map[string]*namespace{}}
}

// Apply implements source.FleetSink. A snapshot that is refused changes nothing; where
// there was none before, its domains are answered with an error.
func (f *Fleet) Apply(name string, snap *snapshot.Snapshot, secrets *stream.Secrets) {
	n := f.namespaces[name]
	if snap == nil {
		f.remove(name)
		f.serve()
		return
	}
	if n == nil {
		n = &namespace{engine: f.opts.Engine()}
		f.namespaces[name] = n
	}
	log := f.opts.Log.With("namespace", name)
	if err := n.engine.SetSecrets(secrets); err != nil {
		log.Warn("credentials are not usable", "error", err)
	}
	if proto.Equal(n.snap, snap) {
		return
	}
	if err := n.engine.Apply(snap); err != nil {
		log.Warn("snapshot refused; the one before serves on", "reason", err)
		if n.snap == nil {
			n.refused, n.why = snap, err.Error()
		}
		f.serve()
		return
	}
	n.snap, n.refused = snap, nil
	peers := map[string]uint32{}
	for _, p := range snap.GetRateLimitPolicies() {
		peers[p.GetName()] = f.opts.Replicas
	}
	n.engine.SetPeers(peers)
	for policy, why := range unenforceable(snap) {
		log.Warn("gateways get an error for the policy", "policy", policy, "reason", why)
	}
	log.Info("snapshot serving", "policies", len(snap.GetRateLimitPolicies()))
	f.serve()
}

// Complete implements source.FleetSink. Only then gateways are answered.
func (f *Fleet) Complete(there map[string]bool) {
	for name := range f.namespaces {
		if !there[name] {
			f.remove(name)
		}
	}
	f.complete = true
	f.serve()
}

func (f *Fleet) remove(name string) {
	if n := f.namespaces[name]; n != nil {
		delete(f.namespaces, name)
		// Calls that are under way fall back on the failure policy.
		n.engine.Close()
	}
}

// serve gives the service all domains.
func (f *Fleet) serve() {
	if !f.complete {
		return
	}
	all := Domains{}
	for name, n := range f.namespaces {
		switch {
		case n.refused != nil:
			all.refuse(n.refused, n.why)
		case n.snap != nil:
			if err := all.Add(n.snap, n.engine); err != nil {
				f.opts.Log.Error("domains are not served", "namespace", name, "error", err)
			}
		}
	}
	f.opts.Service.Serve(all)
}

// Close ends all engines.
func (f *Fleet) Close() {
	for name := range f.namespaces {
		f.remove(name)
	}
}
