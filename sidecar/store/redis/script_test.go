// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

func textCmd(text string) *redis.Cmd {
	c := redis.NewCmd(context.Background())
	c.SetVal(text)
	return c
}

// clocked is the script with a clock that tests set, in a key: production has no
// such hook.
func clocked(t testing.TB) *script {
	t.Helper()
	const clock = "local t = redis.call('TIME')\n"
	if strings.Count(limitsLua, clock) != 1 {
		t.Fatal("the script does not read the server's clock once")
	}
	source := strings.Replace(limitsLua, clock, "local c = redis.call('GET', 'clock') or '1577836800000000'\nlocal t = {string.sub(c, 1, -7), string.sub(c, -6)}\n", 1)
	return newScript(source)
}

// at sets the clock of a clocked script, in µs since the epoch of rules.
func at(t interface{ Fatal(...any) }, s *Store, now int64) {
	if err := s.conn.Load().Set(context.Background(), "clock", strconv.FormatInt(now+limiter.Epoch, 10), 0).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestScriptIsTheCore: under the same arrivals, through changes of rules and steps
// of the clock, the script decides exactly as the pure core.
func TestScriptIsTheCore(t *testing.T) {
	server := redistest.Start(t)
	s := newStore(options(server.Addr), nil, clocked(t))
	t.Cleanup(s.Close)
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		id := "p/" + strconv.Itoa(run)
		var state, bans limiter.State
		var penalty *limiter.Penalty
		var d limiter.Decision
		var receipts []int64
		now := int64(200_000_000_000_000) + rapid.Int64Range(0, 1e9).Draw(t, "start")
		skew := rapid.Int64Range(-12*3600e6, 12*3600e6).Draw(t, "skew")
		r := drawRule(t)
		penalty = drawPenalty(t)
		for range rapid.IntRange(1, 40).Draw(t, "requests") {
			switch rapid.IntRange(0, 12).Draw(t, "what") {
			case 0:
				r, receipts = drawRule(t), nil
				penalty = drawPenalty(t)
			case 1:
				now += rapid.Int64Range(-20e6, 20e6).Draw(t, "step")
			case 2:
				if len(receipts) > 0 {
					i := rapid.IntRange(0, len(receipts)-1).Draw(t, "receipt")
					at(t, s, now)
					back := r.Times(rapid.Uint64Range(1, r.Cost()).Draw(t, "back"))
					correct(t, s, verbRefund, id, back, receipts[i])
					back.Refund(&state, now, receipts[i])
					receipts = append(receipts[:i], receipts[i+1:]...)
				}
			case 3:
				n := rapid.SampledFrom([]uint64{1, 3, r.Limit(), limiter.MaxDebit, 5 * limiter.MaxDebit}).Draw(t, "more")
				at(t, s, now)
				s.now = func() int64 { return now + skew }
				correct(t, s, verbDebit, id, r.Times(n), 0)
				r.Debit(&state, now, n)
			}
			gap := rapid.SampledFrom([]int64{0, 0, 0, 1, d.Retry, d.Reset, r.Window() / 16, r.Window(), int64(r.Interval())}).Draw(t, "gap")
			now += max(0, gap+rapid.Int64Range(-1, 1).Draw(t, "off"))
			at(t, s, now)
			s.now = func() int64 { return now + skew }
			ops := []limiter.Op{{ID: id, Rule: &r, Key: key(1), Penalty: penalty}}
			if r.IsLeased() && penalty == nil {
				ops[0].Want = rapid.Uint64Range(0, 9).Draw(t, "want")
			}
			if err := s.Take(context.Background(), ops); err != nil {
				t.Fatal(err)
			}
			if d = decide(&ops[0], &state, &bans, now); d.Allowed {
				receipts = append(receipts, d.Receipt)
			}
			if diff := cmp.Diff(d, ops[0].Decision); diff != "" {
				raw, _ := s.conn.Load().Get(context.Background(), s.key(&ops[0], ":rl:")).Result()
				t.Fatalf("at %d under %+v, stored %q (-core +script):\n%s", now, r, raw, diff)
			}
		}
	})
}

// decide is what the core says, penalty first.
func decide(op *limiter.Op, state, bans *limiter.State, now int64) limiter.Decision {
	p := op.Penalty
	if p != nil {
		if left := p.Banned(bans, now); left > 0 {
			return limiter.BannedFor(left)
		}
	}
	var d limiter.Decision
	if op.Rule.IsLeased() {
		d = op.Rule.Lease(state, now, op.Want)
	} else {
		d = op.Rule.Take(state, now, true)
	}
	if !d.Allowed && p != nil {
		if left := p.Strike(bans, now); left > 0 {
			return limiter.BannedFor(left)
		}
	}
	return d
}

func drawPenalty(t *rapid.T) *limiter.Penalty {
	if rapid.Bool().Draw(t, "without penalty") {
		return nil
	}
	p, err := limiter.NewPenalty(rapid.Uint64Range(1, 5).Draw(t, "denials"), rapid.Uint64Range(1, 30).Draw(t, "within"), rapid.Uint64Range(1, 30).Draw(t, "ban"))
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

func correct(t *rapid.T, s *Store, verb, id string, r limiter.Rule, receipt int64) {
	keys, args := s.arguments(verb, []limiter.Op{{ID: id, Rule: &r, Key: key(1), Decision: limiter.Decision{Receipt: receipt}}})
	if err := s.conn.Load().Eval(context.Background(), s.script.source, keys, args...).Err(); err != nil {
		t.Fatal(err)
	}
}

func drawRule(t *rapid.T) limiter.Rule {
	a := rapid.SampledFrom([]limiter.Algorithm{limiter.SlidingWindow, limiter.TokenBucket, limiter.FixedWindow}).Draw(t, "algorithm")
	limit := rapid.Uint64Range(1, 20).Draw(t, "limit")
	burst, capacity := uint64(0), limit
	if a == limiter.TokenBucket {
		burst = rapid.Uint64Range(1, 2*limit).Draw(t, "burst")
		capacity = burst
	}
	if a == limiter.FixedWindow && rapid.Bool().Draw(t, "calendar") {
		return drawCalendar(t, limit)
	}
	r, err := limiter.NewRule(a, limit, rapid.Uint64Range(1, 30).Draw(t, "window"), burst)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = r.Costing(rapid.Uint64Range(1, min(3, capacity)).Draw(t, "cost")); err != nil {
		t.Fatal(err)
	}
	if a == limiter.TokenBucket && rapid.Bool().Draw(t, "leased") {
		r = r.Leased()
	}
	if rapid.Bool().Draw(t, "postpaid") {
		r = r.Postpaid()
	}
	return r
}

func drawCalendar(t *rapid.T, limit uint64) limiter.Rule {
	period := rapid.SampledFrom([]limiter.Period{limiter.Day, limiter.Week, limiter.Month}).Draw(t, "period")
	c, err := limiter.NewCalendar(period, rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "Asia/Kathmandu", "America/Santiago"}).Draw(t, "zone"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := limiter.NewCalendarRule(limit, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestServerClock: the pods' clocks play no part, since no time is sent: neither
// by the script's arguments nor in its keys.
func TestServerClock(t *testing.T) {
	s := newStore(options(redistest.Start(t).Addr), nil, clocked(t))
	t.Cleanup(s.Close)
	r := mustRule(t, limiter.SlidingWindow, 1, 60, 0)
	op := limiter.Op{ID: "p/l", Rule: r, Key: key(1)}
	for _, step := range []struct {
		now  int64
		want bool
	}{{1e15, true}, {1e15 + 1, false}, {1e15 + 59e6, false}, {1e15 + 64e6, true}} {
		at(t, s, step.now)
		if got := take(t, s, op)[0].Decision.Allowed; got != step.want {
			t.Errorf("at %d: allowed %v, want %v", step.now, got, step.want)
		}
	}
	if _, args := s.arguments("take", []limiter.Op{op}); len(args) != 13 {
		t.Errorf("arguments %v: want the rule and no time", args)
	}
}

// TestValuesAreAsBefore: sidecars of two versions share keys during a rollout, so
// that what is stored can be read by both.
func TestValuesAreAsBefore(t *testing.T) {
	s := newStore(options(redistest.Start(t).Addr), nil, clocked(t))
	t.Cleanup(s.Close)
	for name, tc := range map[string]struct {
		rule *limiter.Rule
		want string
	}{
		"sliding": {mustRule(t, limiter.SlidingWindow, 100, 60, 0), "S3750000 53333334=1 53333336=2"},
		"bucket":  {mustRule(t, limiter.TokenBucket, 7, 60, 7), "T200000010000000 18214285.714285713"},
		"fixed":   {mustRule(t, limiter.FixedWindow, 100, 60, 0), "F60000000 3333333=3"},
	} {
		t.Run(name, func(t *testing.T) {
			op := limiter.Op{ID: "p/" + name, Rule: tc.rule, Key: key(1)}
			for _, now := range []int64{200_000_002_500_000, 200_000_010_000_000, 200_000_010_000_000} {
				at(t, s, now)
				take(t, s, op)
			}
			got, err := s.conn.Load().Get(t.Context(), s.key(&op, ":rl:")).Result()
			if err != nil || got != tc.want {
				t.Errorf("got %q, %v\nwant %q", got, err, tc.want)
			}
		})
	}
}
