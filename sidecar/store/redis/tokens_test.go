// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/store/lease"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

// limiters are sidecars, as far as one leased limit goes, over one Redis.
type limiters struct {
	rule  limiter.Rule
	start time.Time
	all   []*limiterOf

	mu       sync.Mutex
	admitted []int64
	asked    atomic.Int64
	failed   atomic.Int64
}

type limiterOf struct {
	store *Store
	table *lease.Table
}

func newLimiters(t testing.TB, addr string, n int, rate, burst uint64) *limiters {
	t.Helper()
	l := &limiters{rule: mustRule(t, limiter.TokenBucket, rate, 1, burst).Leased(), start: time.Now()}
	for range n {
		s := dial(t, options(addr))
		take(t, s) // is connected
		table := lease.New(func() int64 { return time.Since(l.start).Microseconds() }, s.Tokens("p/l"))
		l.all = append(l.all, &limiterOf{s, table})
	}
	return l
}

// request is what a filter does for one.
func (l *limiters) request(ctx context.Context, of *limiterOf) {
	l.asked.Add(1)
	var d limiter.Decision
	var ask limiter.Ask
	known := false
	if l.rule.IsLeased() {
		d, ask, known = of.table.Take(key(1), &l.rule)
	}
	if !known {
		ops := []limiter.Op{{ID: "p/l", Rule: &l.rule, Key: key(1), Want: ask.Want}}
		if of.store.Take(ctx, ops) != nil {
			of.table.Failed(key(1), ask)
			l.failed.Add(1)
			return
		}
		d = ops[0].Decision
		of.table.Answered(key(1), &l.rule, ask, d)
	}
	if d.Allowed {
		at := time.Since(l.start).Microseconds()
		l.mu.Lock()
		l.admitted = append(l.admitted, at)
		l.mu.Unlock()
	}
}

// load sends perSecond requests over all limiters, evenly, for a time.
func (l *limiters) load(ctx context.Context, perSecond int, d time.Duration) {
	var wg sync.WaitGroup
	for _, of := range l.all {
		wg.Go(func() {
			each := float64(perSecond) / float64(len(l.all))
			begin := time.Now()
			for sent := 0; time.Since(begin) < d; {
				for due := int(time.Since(begin).Seconds() * each); sent < due; sent++ {
					l.request(ctx, of)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
}

// worst is the most that were admitted in any second.
func (l *limiters) worst() int {
	slices.Sort(l.admitted)
	most, from := 0, 0
	for i, at := range l.admitted {
		for at-l.admitted[from] > 1e6 {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

func calls(t testing.TB, s *Store) int64 {
	t.Helper()
	info, err := s.conn.Load().Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	for line := range strings.Lines(info) {
		if rest, ok := strings.CutPrefix(line, "cmdstat_evalsha:calls="); ok {
			c, _, _ := strings.Cut(rest, ",")
			n, _ = strconv.ParseInt(c, 10, 64)
		}
	}
	return n
}

// TestLeasesOverRedis: over a real server, too, no more than the bound is let through,
// by far fewer calls than requests.
func TestLeasesOverRedis(t *testing.T) {
	l := newLimiters(t, redistest.Start(t).Addr, 4, 2000, 20)
	before := calls(t, l.all[0].store)
	l.load(t.Context(), 6000, 1500*time.Millisecond)
	if got := l.worst(); got > 2000+20+2*2000*limiter.Horizon/1_000_000+1 {
		t.Errorf("%d admitted in a second", got)
	}
	// No wall time is asserted: of a machine that stands still nothing can be said.
	if n := calls(t, l.all[0].store) - before; n > l.asked.Load()/2 {
		t.Errorf("%d calls for %d requests", n, l.asked.Load())
	}
	for _, of := range l.all {
		of.table.Close()
	}
}

// BenchmarkLeased is ten limiters over one real Redis, at the limit and over it. One
// iteration is a second.
func BenchmarkLeased(b *testing.B) {
	for name, tc := range map[string]struct {
		perSecond int
		burst     uint64
		exact     bool
	}{
		"1x": {10_000, 100, false}, "2x": {20_000, 100, false}, "1x/burst=1000": {10_000, 1000, false}, "1x/exact": {10_000, 100, true},
	} {
		b.Run(name, func(b *testing.B) {
			l := newLimiters(b, redistest.Start(b).Addr, 10, 10_000, tc.burst)
			if tc.exact {
				l.rule = *mustRule(b, limiter.TokenBucket, 10_000, 1, tc.burst)
			}
			before := calls(b, l.all[0].store)
			for b.Loop() {
				l.load(b.Context(), tc.perSecond, time.Second)
			}
			asked := float64(l.asked.Load())
			b.ReportMetric(float64(calls(b, l.all[0].store)-before)/asked, "calls/request")
			b.ReportMetric(100*(float64(l.worst())/10_000-1), "%over/worst-second")
			b.ReportMetric(float64(len(l.admitted))/b.Elapsed().Seconds(), "admitted/s")
			b.ReportMetric(asked/b.Elapsed().Seconds(), "requests/s")
			b.ReportMetric(float64(l.failed.Load()), "failed")
		})
	}
}

// BenchmarkHeldLease is a decision on tokens that are held.
func BenchmarkHeldLease(b *testing.B) {
	now := int64(1e12)
	table := lease.New(func() int64 { return now }, nowhere{})
	r := mustRule(b, limiter.TokenBucket, 1_000_000, 1, 1_000_000).Leased()
	grant := limiter.Decision{Lease: limiter.Lease{N: 1 << 40}}
	table.Take(key(1), &r)
	now += limiter.Horizon
	_, ask, _ := table.Take(key(1), &r)
	ask.Want = 1
	table.Answered(key(1), &r, ask, grant)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, known := table.Take(key(1), &r); !known {
			b.Fatal("no token is held")
		}
	}
}

type nowhere struct{}

func (nowhere) Refill(limiter.Key, *limiter.Rule, uint64, func(limiter.Decision, bool)) {}
func (nowhere) Refund(limiter.Key, *limiter.Rule, uint64, int64)                        {}
