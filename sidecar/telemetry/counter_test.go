// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// counter counts a server's connections.
type counter struct{ conns *atomic.Int32 }

func (c *counter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	c.conns.Add(1)
	return ctx
}
func (c *counter) HandleConn(context.Context, stats.ConnStats)                     {}
func (c *counter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (c *counter) HandleRPC(context.Context, stats.RPCStats)                       {}
