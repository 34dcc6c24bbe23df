// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

// admits asks until the store has decided n times, and returns how many it admitted. It
// fails the test when Take has another error than the one that failure policies are for.
func admits(t testing.TB, s *Store, op limiter.Op, n int) (admitted int) {
	t.Helper()
	for range n {
		eventually(t, "the store decides", func() bool {
			ops := []limiter.Op{op}
			err := s.Take(t.Context(), ops)
			if err != nil && !errors.Is(err, limiter.ErrUnavailable) {
				t.Fatalf("Take: %v", err)
			}
			if err == nil && ops[0].Decision.Allowed {
				admitted++
			}
			return err == nil
		})
	}
	return admitted
}

// TestThreeMasters: limits that count by different values are on different masters; a
// request is all or nothing over them.
func TestThreeMasters(t *testing.T) {
	t.Parallel()
	masters := redistest.StartMasters(t, 3)
	opts := options(masters[0].Addr)
	opts.Mode = Cluster
	s := dial(t, opts)
	r, one := mustRule(t, limiter.SlidingWindow, 5, 3600, 0), mustRule(t, limiter.SlidingWindow, 1, 3600, 0)
	for i := range 60 {
		if got := admits(t, s, limiter.Op{ID: "p/wide", Rule: r, Key: key(byte(i))}, 7); got != 5 {
			t.Errorf("key %d: admitted %d, want 5", i, got)
		}
	}
	for _, m := range masters {
		if m.Ask("DBSIZE") == "0" {
			t.Errorf("no key is at %s", m.Addr)
		}
	}
	// Of many pairs of keys most are on two masters.
	for i := range 20 {
		ops := func() []limiter.Op {
			return []limiter.Op{{ID: "p/first", Rule: r, Key: key(byte(100 + i))}, {ID: "p/second", Rule: one, Key: key(byte(150 + i))}}
		}
		for range 4 {
			take(t, s, ops()...)
		}
		eventually(t, "what was spent for denied requests is back", func() bool {
			return take(t, s, ops()...)[0].Decision.Remaining == 4
		})
	}
}

// TestSlotMigrates: while and after the slot of a key goes to another master, the limit
// is the same.
func TestSlotMigrates(t *testing.T) {
	t.Parallel()
	masters := redistest.StartMasters(t, 3)
	opts := options(masters[0].Addr)
	opts.Mode = Cluster
	s := dial(t, opts)
	for name, r := range map[string]*limiter.Rule{
		"sliding": mustRule(t, limiter.SlidingWindow, 12, 3600, 0),
		"bucket":  mustRule(t, limiter.TokenBucket, 12, 24*3600, 12),
	} {
		t.Run(name, func(t *testing.T) {
			op := limiter.Op{ID: "p/" + name, Rule: r, Key: key(9)}
			name := s.key(&op, ":rl:")
			slot, _ := strconv.Atoi(masters[0].Ask("CLUSTER KEYSLOT " + name))
			admitted := admits(t, s, op, 4)
			var from, to *redistest.Server
			for i, m := range masters {
				if m.Ask("EXISTS "+name) == "1" {
					from, to = m, masters[(i+1)%3]
				}
			}
			if to == nil {
				t.Fatal("no master has the key")
			}
			to.Do(fmt.Sprintf("CLUSTER SETSLOT %d IMPORTING %s", slot, from.Ask("CLUSTER MYID")), "+OK")
			from.Do(fmt.Sprintf("CLUSTER SETSLOT %d MIGRATING %s", slot, to.Ask("CLUSTER MYID")), "+OK")
			admitted += admits(t, s, op, 4)
			host, port, _ := net.SplitHostPort(to.Addr)
			from.Do(fmt.Sprintf("MIGRATE %s %s %s 0 5000", host, port, name), "+OK")
			admitted += admits(t, s, op, 4) // asked for at the other one
			for _, m := range []*redistest.Server{to, from, masters[0], masters[1], masters[2]} {
				m.Do(fmt.Sprintf("CLUSTER SETSLOT %d NODE %s", slot, to.Ask("CLUSTER MYID")), "+OK")
			}
			admitted += admits(t, s, op, 4)
			// A call that is repeated after a redirect may have spent.
			if admitted > 12 || admitted < 11 {
				t.Errorf("admitted %d, want 12", admitted)
			}
		})
	}
}

// TestSentinelFailover: when the master dies, the store goes on with what its replica
// has, and callers have no other error meanwhile than the one that failure policies are
// for.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	replica := redistest.StartReplica(t, master)
	sentinel := redistest.StartSentinel(t, master)
	_, port, _ := net.SplitHostPort(replica.Addr)
	sentinel.Await("SENTINEL REPLICAS main", port)
	opts := options(sentinel.Addr)
	opts.Mode, opts.MasterName = Sentinel, "main"
	s := dial(t, opts)
	op := limiter.Op{ID: "p/l", Rule: mustRule(t, limiter.SlidingWindow, 6, 24*3600, 0), Key: key(1)}
	admitted := admits(t, s, op, 3)
	eventually(t, "the replica has it all", func() bool { return replica.Ask("GET "+s.key(&op, ":rl:")) == master.Ask("GET "+s.key(&op, ":rl:")) })
	master.Kill()
	admitted += admits(t, s, op, 6)
	if admitted != 6 {
		t.Errorf("admitted %d over the failover, want 6", admitted)
	}
	if got := replica.Ask("ROLE"); !strings.Contains(got, "master") {
		t.Errorf("the replica is %q", got)
	}
}

// TestNoHerdAfterAnOutage: stores that find their server again after it was away, under
// load, cost it a few calls each before they pass requests, and none of them asks while
// its breaker is open.
func TestNoHerdAfterAnOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := mustRule(t, limiter.SlidingWindow, 1_000_000, 3600, 0)
	const pods = 20
	var stores []*Store
	for range pods {
		s := dial(t, options(server.Addr))
		admits(t, s, limiter.Op{ID: "p/l", Rule: r, Key: key(1)}, 1)
		stores = append(stores, s)
	}
	server.Kill()
	var wg sync.WaitGroup
	var stop atomic.Bool
	var decided, failed atomic.Int64
	for _, s := range stores {
		wg.Go(func() {
			for !stop.Load() {
				ops := []limiter.Op{{ID: "p/l", Rule: r, Key: key(1)}}
				switch err := s.Take(t.Context(), ops); {
				case err == nil:
					decided.Add(1)
				case errors.Is(err, limiter.ErrUnavailable):
					failed.Add(1)
				default:
					t.Errorf("Take: %v", err)
				}
				time.Sleep(time.Millisecond) // leaves the machine to the others
			}
		})
	}
	for _, s := range stores {
		eventually(t, "every breaker is open", func() bool { return s.state.Load() == open })
	}
	before := decided.Load()
	server.Restart()
	for _, s := range stores {
		eventually(t, "every breaker is closed", func() bool { return s.state.Load() == closed })
	}
	eventually(t, "requests are decided", func() bool { return decided.Load() > before+pods })
	stop.Store(true)
	wg.Wait()
	// A probe is an EVAL and an EVALSHA; a slow machine may need some more.
	stats := server.Ask("INFO commandstats")
	evals := 0
	if _, rest, ok := strings.Cut(stats, "cmdstat_eval:calls="); ok {
		n, _, _ := strings.Cut(rest, ",")
		evals, _ = strconv.Atoi(n)
	}
	if evals < pods || evals > 10*pods {
		t.Errorf("%d probes of %d stores:\n%s", evals, pods, stats)
	}
	if failed.Load() == 0 {
		t.Error("no request came while the server was away")
	}
}

// TestCorrections reach the server though it has forgotten the script, and are what
// they would be in memory.
func TestCorrections(t *testing.T) {
	t.Parallel()
	s := dial(t, options(redistest.Start(t).Addr))
	for name, plain := range map[string]*limiter.Rule{
		"sliding": mustRule(t, limiter.SlidingWindow, 100, 24*3600, 0),
		"bucket":  mustRule(t, limiter.TokenBucket, 100, 24*3600, 100),
		"fixed":   mustRule(t, limiter.FixedWindow, 100, 366*24*3600, 0),
	} {
		t.Run(name, func(t *testing.T) {
			r := plain.Postpaid()
			op := limiter.Op{ID: "p/" + name, Rule: &r, Key: key(1)}
			remains := func(want uint64) {
				t.Helper()
				look := r.Times(0)
				eventually(t, fmt.Sprintf("%d remain", want), func() bool {
					return take(t, s, limiter.Op{ID: op.ID, Rule: &look, Key: op.Key})[0].Decision.Remaining == want
				})
			}
			first := take(t, s, op)[0]
			if err := s.conn.Load().ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if !s.Correct(first, 49) {
				t.Fatal("dropped")
			}
			remains(50)
			if err := s.conn.Load().ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			s.Correct(first, -1)
			remains(51)
			s.Correct(first, 1000)
			remains(0)
			if d := take(t, s, op)[0].Decision; d.Allowed || d.Retry == 0 {
				t.Errorf("in debt: %+v", d)
			}
		})
	}
}

// TestCorrectionsAreDropped when the store is away, or its queue half full.
func TestCorrectionsAreDropped(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := dial(t, options(server.Addr))
	op := limiter.Op{ID: "p/l", Rule: mustRule(t, limiter.SlidingWindow, 100, 3600, 0), Key: key(1)}
	admits(t, s, op, 1)
	server.Hang()
	dropped := false
	for range queueSize {
		dropped = dropped || !s.Correct(op, 1)
	}
	if !dropped || len(s.queue) > queueSize/2 {
		t.Errorf("dropped %v, %d wait", dropped, len(s.queue))
	}
	server.Resume()
	server.Kill()
	eventually(t, "the breaker is open", func() bool { return s.Take(t.Context(), []limiter.Op{op}) != nil && s.state.Load() == open })
	if s.Correct(op, 1) {
		t.Error("taken while the store is away")
	}
}

// TestClockSteps: a server whose clock steps back, or another one that takes over with
// a clock behind, denies nobody for longer than a full debt lasts; one that steps ahead
// gives a window at most.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	s := newStore(options(redistest.Start(t).Addr), nil, clocked(t))
	t.Cleanup(s.Close)
	const start, hour = int64(200_000_000_000_000), int64(3600e6)
	for name, r := range map[string]limiter.Rule{
		"sliding": *mustRule(t, limiter.SlidingWindow, 10, 60, 0), "fixed": *mustRule(t, limiter.FixedWindow, 10, 60, 0),
		"bucket": *mustRule(t, limiter.TokenBucket, 10, 60, 10), "postpaid": mustRule(t, limiter.TokenBucket, 10, 60, 10).Postpaid(),
	} {
		for direction, step := range map[string]int64{"back": -hour, "ahead": hour} {
			t.Run(name+"/"+direction, func(t *testing.T) {
				op := limiter.Op{ID: "p/" + name + direction, Rule: &r, Key: key(1)}
				at(t, s, start)
				if got := admits(t, s, op, 15); got != 10 {
					t.Fatalf("admitted %d", got)
				}
				at(t, s, start+step)
				want := 0
				if step > 0 {
					want = 10
				}
				if got := admits(t, s, op, 15); got != want {
					t.Errorf("after the step %d are admitted, want %d", got, want)
				}
				// A window and a slot, or the reserve of leases, later; debts of what is
				// paid for later can be a window more.
				at(t, s, start+step+64e6+limiter.Reserve+r.Debt())
				if got := admits(t, s, op, 15); got != 10 {
					t.Errorf("a window later %d are admitted, want 10", got)
				}
			})
		}
	}
}
