// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

// TestDoubt: a server that has begun anew is another, and so is one that others have
// taken over from; one whose connections only broke is not.
func TestDoubt(t *testing.T) {
	server := redistest.Start(t)
	r := records(t, options(server.Addr))
	var doubts atomic.Int64
	r.OnDoubt(func() { doubts.Add(1) })
	look := func() {
		t.Helper()
		eventually(t, "the server answers", func() bool {
			_, err := r.Do(t.Context(), record.ID{1}, record.Command{Op: record.Look})
			return err == nil
		})
	}
	look()
	server.Kill()
	server.Restart()
	look()
	eventually(t, "a restart is noticed", func() bool { look(); return doubts.Load() > 0 })
}

// TestAskIdentity: a server keeps records and has a name, a sentinel does not.
func TestAskIdentity(t *testing.T) {
	master := redistest.Start(t)
	for name, test := range map[string]struct {
		addr  string
		keeps bool
	}{
		"server":   {master.Addr, true},
		"sentinel": {redistest.StartSentinel(t, master).Addr, false},
	} {
		t.Run(name, func(t *testing.T) {
			var id string
			var keeps bool
			c := redis.NewClient(&redis.Options{Addr: test.addr, OnConnect: func(ctx context.Context, c *redis.Conn) error {
				id, keeps = askIdentity(ctx, c)
				return nil
			}})
			defer func() { _ = c.Close() }()
			if err := c.Ping(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if keeps != test.keeps || (id != "") != test.keeps {
				t.Errorf("it is %q, and keeps records: %v", id, keeps)
			}
		})
	}
}

// TestIdentity is the rule, without servers.
func TestIdentity(t *testing.T) {
	start := time.Now()
	type seen struct {
		server string
		after  time.Duration
		doubt  bool
	}
	for name, test := range map[string]struct {
		cluster bool
		seen    []seen
	}{
		"the same":         {seen: []seen{{"a", 0, true}, {"a", 2 * time.Minute, false}}},
		"just after one":   {seen: []seen{{"a", 0, true}, {"a", time.Second, true}}},
		"another":          {seen: []seen{{"a", 0, true}, {"b", 2 * time.Minute, true}}},
		"there and back":   {seen: []seen{{"a", 0, true}, {"b", 2 * time.Minute, true}, {"a", 4 * time.Minute, true}}},
		"may not be asked": {seen: []seen{{"", 0, true}, {"", 2 * time.Minute, true}}},
		"of a cluster":     {cluster: true, seen: []seen{{"a", 0, true}, {"b", 0, true}, {"a", 2 * time.Minute, false}, {"c", 4 * time.Minute, true}}},
	} {
		t.Run(name, func(t *testing.T) {
			doubts := 0
			i := identity{doubt: func() { doubts++ }, cluster: test.cluster, known: map[string]bool{}}
			for n, s := range test.seen {
				before := doubts
				i.is(s.server, start.Add(s.after))
				if (doubts > before) != s.doubt {
					t.Errorf("connection %d, to %q: doubted %v", n, s.server, doubts > before)
				}
			}
		})
	}
}
