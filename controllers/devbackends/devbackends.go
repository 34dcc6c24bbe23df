// SPDX-License-Identifier: Apache-2.0

// Package devbackends is the store of a trial: a Redis in one process, without
// persistence, replication or authentication, for `devBackends.enabled` of the
// chart. It must never hold what anybody needs tomorrow.
package devbackends

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Redis serves the Redis protocol on addr (host:port) until ctx ends. ready is
// called with the address it listens on.
func Redis(ctx context.Context, addr string, ready func(addr string)) error {
	m := miniredis.NewMiniRedis()
	if err := m.StartAddr(addr); err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	defer m.Close()
	ready(m.Addr())
	// Its keys expire only when it is told that time has passed.
	const step = 250 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			m.FastForward(now.Sub(last))
			last = now
		}
	}
}
