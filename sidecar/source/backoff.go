// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffFirst = 100 * time.Millisecond
	backoffMax   = 10 * time.Second
	// settled is how long a stream must have lasted for the next wait to be
	// short again.
	settled = 10 * time.Second
)

// backoff waits with full jitter: any time up to a window that doubles from
// backoffFirst to backoffMax, so that sidecars that lost the operator together do
// not come back together.
type backoff struct{ failures int }

func (b *backoff) next() time.Duration {
	window := backoffMax
	if b.failures < 7 {
		window = min(backoffMax, backoffFirst<<b.failures)
	}
	b.failures++
	return rand.N(window)
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
