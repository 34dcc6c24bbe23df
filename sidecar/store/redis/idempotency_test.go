// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/filter/idempotency/record/recordtest"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

func records(t testing.TB, opts Options) *Records {
	t.Helper()
	return NewRecords(dial(t, opts))
}

// TestRecordsContract, with what the server knows, and as if it were an old one.
func TestRecordsContract(t *testing.T) {
	opts := options(redistest.Start(t).Addr)
	t.Run("native", func(t *testing.T) { recordtest.Run(t, records(t, opts)) })
	t.Run("scripts", func(t *testing.T) {
		r := records(t, opts)
		r.noSetNXGet.Store(r.clock.local())
		r.noSetIfEq.Store(r.clock.local())
		recordtest.Run(t, r)
	})
}

func TestRecordsContractCluster(t *testing.T) {
	opts := options(redistest.StartCluster(t).Addr)
	opts.Mode = Cluster
	recordtest.Run(t, records(t, opts))
}

func TestRecordsContractMiniredis(t *testing.T) {
	server := miniredis.RunT(t)
	// Its times to live stand still by themselves.
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				server.FastForward(time.Millisecond)
			}
		}
	})
	recordtest.Run(t, records(t, options(server.Addr())))
	close(done)
	wg.Wait()
}

// TestRecordsContractOthers runs the contract against the servers in the directory
// WEIR_TEST_REDIS_SERVERS: executables of other versions of Redis and Valkey.
func TestRecordsContractOthers(t *testing.T) {
	dir := os.Getenv("WEIR_TEST_REDIS_SERVERS")
	if dir == "" {
		t.Skip("WEIR_TEST_REDIS_SERVERS names no directory of servers")
	}
	servers, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(servers) == 0 {
		t.Fatalf("no servers in %s: %v", dir, err)
	}
	for _, path := range servers {
		t.Run(filepath.Base(path), func(t *testing.T) {
			r := records(t, options(redistest.StartWith(t, path).Addr))
			recordtest.Run(t, r)
			t.Logf("without SET NX GET: %t, without SET IFEQ: %t", r.noSetNXGet.Load() != 0, r.noSetIfEq.Load() != 0)
		})
	}
}

func begin(owner byte) record.Command {
	return record.Command{Op: record.Begin, Next: &record.Record{
		State: record.Inflight, Owner: record.Owner{owner}, Lease: time.Minute, Retention: time.Hour,
	}}
}

// TestRecordsAway: calls that ask fail at once, those that tell are tried.
func TestRecordsAway(t *testing.T) {
	server := redistest.Start(t)
	r := records(t, options(server.Addr))
	claim := begin(1)
	if _, err := r.Do(t.Context(), record.ID{1}, claim); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	for _, cmd := range []record.Command{begin(2), {Op: record.Look}, {Op: record.Release, Ref: claim.Next.Ref()}} {
		if _, err := r.Do(t.Context(), record.ID{1}, cmd); !errors.Is(err, record.ErrUnavailable) {
			t.Errorf("%s: %v", cmd.Op, err)
		}
	}
	server.Restart()
	final := *claim.Next
	final.State = record.Unknown
	eventually(t, "an outcome is taken by a server that has lost the claim", func() bool {
		a, err := r.Do(t.Context(), record.ID{1}, record.Command{Op: record.Finish, Next: &final})
		return err == nil && (a.Result == record.Lost || a.Result == record.Applied)
	})
	eventually(t, "calls that ask pass again", func() bool {
		a, err := r.Do(t.Context(), record.ID{1}, begin(3))
		return err == nil && a.Result == record.Found && a.Record.State == record.Unknown
	})
}

// TestRecordsForeign: what is no record is neither claimed nor overwritten.
func TestRecordsForeign(t *testing.T) {
	server := redistest.Start(t)
	r := records(t, options(server.Addr))
	var id record.ID
	server.Do("SET weir:test:shop:{i"+strings.Repeat("00", 16)+"} rubbish", "+OK")
	claim := begin(1)
	if _, err := r.Do(t.Context(), id, claim); !errors.Is(err, record.ErrMalformed) || !errors.Is(err, record.ErrUnavailable) {
		t.Errorf("Begin: %v", err)
	}
	claim.Next.Fence = 1
	if _, err := r.Do(t.Context(), id, record.Command{Op: record.Finish, Next: claim.Next}); !errors.Is(err, record.ErrMalformed) {
		t.Errorf("Finish: %v", err)
	}
	server.Do("GET weir:test:shop:{i"+strings.Repeat("00", 16)+"}", "$7\r\nrubbish")
}

// TestRecordsClosed: nobody waits for a store that is closed.
func TestRecordsClosed(t *testing.T) {
	s := New(options(redistest.Start(t).Addr), nil)
	r := NewRecords(s)
	s.Close()
	for _, cmd := range []record.Command{begin(1), {Op: record.Release}} {
		if _, err := r.Do(t.Context(), record.ID{}, cmd); !errors.Is(err, record.ErrUnavailable) {
			t.Errorf("%s: %v", cmd.Op, err)
		}
	}
}

func TestRecordsContractSentinel(t *testing.T) {
	opts := options(redistest.StartSentinel(t, redistest.Start(t)).Addr)
	opts.Mode, opts.MasterName = Sentinel, "main"
	recordtest.Run(t, records(t, opts))
}
