// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

var _ record.Doubter = (*Records)(nil)

// identity notices that connections lead to another server than before, or to one that
// has begun anew: it may not have all that was acknowledged. Each connection asks as it
// is made, so that none is mistaken for another's.
type identity struct {
	mu sync.Mutex
	// doubt is nil while there are no records.
	doubt func()
	// cluster: there are several servers at a time.
	cluster bool
	known   map[string]bool
	last    time.Time
}

const (
	// unsettled is how long after a change each new connection counts as one: there may
	// be others still that lead to the server before.
	unsettled = time.Minute
	// maxKnown bounds what is remembered of a cluster.
	maxKnown = 1024
)

// OnDoubt implements record.Doubter.
func (r *Records) OnDoubt(f func()) {
	i := &r.store.identity
	i.mu.Lock()
	defer i.mu.Unlock()
	i.doubt, i.cluster, i.known = f, r.store.opts.Mode == Cluster, map[string]bool{}
}

// connected is called by the client with each new connection. It refuses none.
func (i *identity) connected(ctx context.Context, c *redis.Conn) error {
	i.mu.Lock()
	wanted := i.doubt != nil
	i.mu.Unlock()
	if !wanted {
		return nil
	}
	if server, keeps := askIdentity(ctx, c); keeps {
		i.is(server, time.Now())
	}
	return nil
}

// is takes note of a connection's server; empty: nobody knows which it is.
func (i *identity) is(server string, now time.Time) {
	i.mu.Lock()
	changed := server == "" || !i.known[server]
	if changed {
		if !i.cluster || len(i.known) >= maxKnown {
			clear(i.known)
		}
		if server != "" {
			i.known[server] = true
		}
		i.last = now
	}
	doubt := i.doubt
	suspicious := changed || now.Sub(i.last) < unsettled
	i.mu.Unlock()
	if suspicious {
		doubt()
	}
}

// askIdentity is the process and the history of writes that a connection leads to:
// both change when a replica is promoted, or a server starts. Empty where it may not
// be asked. keeps: it is no sentinel, which has no records.
func askIdentity(ctx context.Context, c *redis.Conn) (id string, keeps bool) {
	var server, replication *redis.StringCmd
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		server, replication = p.Info(ctx, "server"), p.Info(ctx, "replication")
		return nil
	})
	if err != nil {
		return "", true
	}
	if infoField(server.Val(), "redis_mode") == "sentinel" {
		return "", false
	}
	run, history := infoField(server.Val(), "run_id"), infoField(replication.Val(), "master_replid")
	if run == "" && history == "" {
		return "", true
	}
	return run + " " + history, true
}

// infoField is a field of INFO's reply.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
