// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
)

// FleetSink is what the snapshots of all namespaces are for. Calls come from one
// goroutine.
type FleetSink interface {
	// Apply makes snap what governs a namespace; where it is nil, nothing does.
	Apply(namespace string, snap *snapshot.Snapshot, secrets *stream.Secrets)
	// Complete says that there are no other namespaces than these.
	Complete(namespaces map[string]bool)
}

// Fleet keeps a FleetSink up to date.
type Fleet struct {
	opts Options
	sink FleetSink
	up   atomic.Bool
}

// NewFleet returns a fleet; Run makes it work. Of the options StateDir and Sink mean
// nothing here.
func NewFleet(opts Options, sink FleetSink) *Fleet {
	f := &Fleet{opts: opts, sink: sink}
	if f.opts.dial == nil {
		f.opts.dial = f.opts.dialTLS
	}
	return f
}

// Connected reports whether there is a stream.
func (f *Fleet) Connected() bool { return f.up.Load() }

// Run keeps a stream open until ctx ends. It returns nil.
func (f *Fleet) Run(ctx context.Context) error {
	return forever(ctx, f.opts.Log, func(ctx context.Context) error {
		defer f.up.Store(false)
		return f.connect(ctx)
	})
}

// connect opens a stream and serves it until it breaks.
func (f *Fleet) connect(ctx context.Context) error {
	token, err := f.opts.token()
	if err != nil {
		return err
	}
	conn, err := f.opts.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A server that accepts and says nothing is no server.
	timeout := time.AfterFunc(connectTimeout, cancel)
	defer timeout.Stop()
	in, err := stream.NewConfigClient(conn).Fleet(metadata.AppendToOutgoingContext(ctx, "authorization", token),
		&stream.FleetHello{Version: f.opts.Version, Features: f.opts.Features})
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for {
		u, err := in.Recv()
		if err != nil {
			return err
		}
		if !f.up.Swap(true) {
			timeout.Stop()
			f.opts.Log.Info("config stream open", "operator", f.opts.Address)
		}
		if u.GetComplete() {
			f.sink.Complete(there)
			continue
		}
		if len(u.GetUnsupported()) > 0 {
			f.opts.Log.Warn("policies are not enforced, because this version is too old for them",
				"namespace", u.GetNamespace(), "policies", u.GetUnsupported())
		}
		there[u.GetNamespace()] = true
		f.sink.Apply(u.GetNamespace(), u.GetSnapshot(), u.GetSecrets())
	}
}
