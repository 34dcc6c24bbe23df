// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"weir.dev/weir/sidecar/store/redis/redistest"
)

// servers are a primary that loses no acknowledged write when it is killed, and a
// replica of it.
type servers struct {
	t                testing.TB
	primary, replica *redistest.Server
}

func startServers(t testing.TB) *servers {
	s := &servers{t: t, primary: startServer(t), replica: startServer(t)}
	s.follow()
	return s
}

func startServer(t testing.TB) *redistest.Server {
	return redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0", "--maxmemory-policy", "noeviction")
}

func (s *servers) ask(server *redistest.Server, args ...any) any {
	s.t.Helper()
	c := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: 3})
	defer c.Close()
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	v, err := c.Do(ctx, args...).Result()
	if err != nil {
		s.t.Errorf("redis: %v: %v", args, err)
	}
	return v
}

// follow makes the replica follow the primary, and waits until it does.
func (s *servers) follow() {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.primary.Addr)
	s.ask(s.replica, "REPLICAOF", host, port)
	s.caughtUp()
}

// caughtUp waits until the replica has all that the primary has acknowledged by now.
// (WAIT does not: it is about the writes of its own connection.)
func (s *servers) caughtUp() {
	s.t.Helper()
	has, err := strconv.ParseInt(s.replication(s.primary, "master_repl_offset"), 10, 64)
	if err != nil {
		s.t.Error(err)
		return
	}
	for range 3000 {
		if s.replication(s.replica, "master_link_status") == "up" {
			got, err := strconv.ParseInt(s.replication(s.replica, "slave_repl_offset"), 10, 64)
			if err == nil && got >= has {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Error("the replica does not follow")
}

func (s *servers) replication(server *redistest.Server, field string) string {
	s.t.Helper()
	info, _ := s.ask(server, "INFO", "replication").(string)
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// failover makes the replica the primary. Where lossy it has lost the last writes of
// the one before, acknowledged or not.
func (s *servers) failover(w *world, lossy bool) {
	if lossy {
		// From here on it gets no more of them.
		s.ask(s.replica, "REPLICAOF", "NO", "ONE")
		time.Sleep(150 * time.Millisecond)
	} else {
		s.ask(s.primary, "CLIENT", "PAUSE", 60000, "WRITE")
		s.caughtUp()
		s.ask(s.replica, "REPLICAOF", "NO", "ONE")
	}
	old := s.primary
	old.Kill()
	s.primary, s.replica = s.replica, old
	for _, p := range w.pods {
		p.store.Retarget(s.primary.Addr)
	}
	old.Restart()
	s.follow()
}
