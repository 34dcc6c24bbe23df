// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"strings"
	"testing"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/filter/ratelimit"
)

// Corrected implements ratelimit.LimitMetrics.
func (c counter) Corrected(what ratelimit.Correction) {
	c.w.corrected = append(c.w.corrected, c.limit+" "+what.String())
}

func (s *sharedStore) Correct(op limiter.Op, delta int64) bool {
	if s.away {
		return false
	}
	s.w.tables.Table("shared/"+op.ID).Correct(op.Key, op.Rule, op.Decision.Receipt, delta)
	return true
}

// response is the application's.
type response struct{ headers }

func (response) Each(func(name, value []byte) bool)     {}
func (response) Trailers(func(name, value []byte) bool) {}

// answered runs a request to its end, with these fields of x-cost in the response, or
// without a response, and returns whether the client gets the field.
func answered(t *testing.T, f *ratelimit.Filter, x *exchange.Exchange, costs ...string) (shows bool) {
	t.Helper()
	if f.Head(x) != exchange.Continue {
		t.Fatal("denied")
	}
	var r response
	for _, c := range costs {
		r.headers = append(r.headers, [2]string{"x-cost", c})
	}
	x.Response = r
	f.ResponseHead(x)
	f.End(x, exchange.Replied)
	return !x.HidesResponse([]byte("X-Cost"))
}

func byHeader(name string, n uint64) *snapshot.Limit {
	l := perClient(name, n)
	l.CostHeader = "x-cost"
	return l
}

// everywhere runs a test for a limit of each algorithm, scope, and place where it is counted.
func everywhere(t *testing.T, n uint64, test func(t *testing.T, w *world, l *snapshot.Limit)) {
	for name, a := range map[string]snapshot.Algorithm{
		"sliding": snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW, "bucket": snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET, "fixed": snapshot.Algorithm_ALGORITHM_FIXED_WINDOW,
	} {
		for place, away := range map[string]bool{"pod": false, "cluster": false, "fallback": true} {
			t.Run(name+"/"+place, func(t *testing.T) {
				w := newWorld(t)
				w.store = &sharedStore{w: w, away: away}
				l := byHeader("l", n)
				l.Algorithm = a
				if a == snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET {
					l.Burst = n
				}
				if place != "pod" {
					l.Scope = snapshot.Scope_SCOPE_CLUSTER
				}
				test(t, w, l)
			})
		}
	}
}

func remaining(f *ratelimit.Filter, client string) string {
	limits, _, _ := strings.Cut(ask(f, request(client)).Limits, ";t=")
	return limits
}

func TestResponsesSayTheCost(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, w *world, l *snapshot.Limit) {
		l.Cost = 10
		f := w.filter(t, policy(l))
		if answered(t, f, request("a"), "30") {
			t.Error("the client gets the field")
		}
		want(t, remaining(f, "a"), `"l";r=60`)
		answered(t, f, request("a"), "0")
		want(t, remaining(f, "a"), `"l";r=50`)
		answered(t, f, request("a"), "10")
		want(t, remaining(f, "a"), `"l";r=30`)
		want(t, w.corrected, []string{"l more", "l less", "l same"})
		want(t, remaining(f, "b"), `"l";r=90`)
	})
}

// TestDebtDeniesLater: what costs more than there is denies what comes later.
func TestDebtDeniesLater(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, w *world, l *snapshot.Limit) {
		f := w.filter(t, policy(l))
		answered(t, f, request("a"), "1000000000")
		want(t, statuses(f, "a", 1), []int{429})
		w.µs.Add(59e6)
		want(t, statuses(f, "a", 1), []int{429})
		w.µs.Add(8e6)
		want(t, statuses(f, "a", 1), []int{200})
	})
}

func TestUnreadableCosts(t *testing.T) {
	for name, tc := range map[string]struct {
		fields []string
		want   string
	}{
		"absent":   {nil, "l absent"},
		"empty":    {[]string{""}, "l malformed"},
		"several":  {[]string{"1", "1"}, "l malformed"},
		"negative": {[]string{"-1"}, "l malformed"},
		"fraction": {[]string{"1.5"}, "l malformed"},
		"signed":   {[]string{"+1"}, "l malformed"},
		"list":     {[]string{"1, 2"}, "l malformed"},
		"hex":      {[]string{"0x10"}, "l malformed"},
		"unicode":  {[]string{"٣"}, "l malformed"},
		"too much": {[]string{"1000000001"}, "l malformed"},
		"overflow": {[]string{"18446744073709551617"}, "l malformed"},
		"absurd":   {[]string{strings.Repeat("1", 1<<20)}, "l malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l := byHeader("l", 100)
			l.Cost = 10
			f := w.filter(t, policy(l))
			answered(t, f, request("a"), tc.fields...)
			want(t, remaining(f, "a"), `"l";r=80`)
			want(t, w.corrected, []string{tc.want})
		})
	}
}

// TestCostsByResponsesOnly: one unit is taken until the response says more, or nothing.
func TestCostsByResponsesOnly(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, w *world, l *snapshot.Limit) {
		l.CostByResponse = true
		f := w.filter(t, policy(l))
		answered(t, f, request("a"), "7")
		answered(t, f, request("a"), "0")
		answered(t, f, request("a"), "none")
		x := request("a")
		f.Head(x)
		f.End(x, exchange.Aborted)
		want(t, remaining(f, "a"), `"l";r=92`)
		want(t, w.corrected, []string{"l more", "l less", "l malformed", "l less", "l less", "l less"})
	})
}

func TestFreeReplays(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, w *world, l *snapshot.Limit) {
		l.Cost, l.CostHeader, l.FreeReplays = 10, "", true
		f := w.filter(t, policy(l))
		answered(t, f, request("a"))
		for range 20 {
			x := request("a")
			x.Replayed = true
			answered(t, f, x)
		}
		want(t, remaining(f, "a"), `"l";r=80`)
	})
}

// TestReplaysThatCount cost what a request takes, whatever the recorded response says.
func TestReplaysThatCount(t *testing.T) {
	w := newWorld(t)
	f := w.filter(t, policy(byHeader("l", 100)))
	x := request("a")
	x.Replayed = true
	answered(t, f, x, "50")
	want(t, remaining(f, "a"), `"l";r=98`)
	want(t, len(w.corrected), 0)
}

func TestReplaysOfRequestsInProgress(t *testing.T) {
	w := newWorld(t)
	f := w.filter(t, policy(inProgress("l", 2, snapshot.Scope_SCOPE_POD), byHeader("other", 100)))
	x := request("a")
	x.Replayed = true
	answered(t, f, x)
	want(t, remaining(f, "a"), `"l";r=1, "other";r=98`)
}

func TestShadowsOfCosts(t *testing.T) {
	w := newWorld(t)
	l, denies := byHeader("l", 10), perClient("denies", 2)
	l.Shadow = true
	f := w.filter(t, policy(l, denies))
	if !answered(t, f, request("a"), "50") {
		t.Error("a shadow takes the field from the answer")
	}
	want(t, statuses(f, "a", 1), []int{200})
	want(t, w.shadows["payments/l"].Load(), uint64(1))
	want(t, w.corrected, []string{"l more"})
	// What one that is real denies costs nothing where only responses say it.
	w = newWorld(t)
	l.CostByResponse = true
	f = w.filter(t, policy(l, denies))
	want(t, statuses(f, "a", 20)[19], 429)
	want(t, w.shadows["payments/l"].Load(), uint64(0))
}

// TestNothingIsOwedTwice: neither by a request that is exempt, nor by one that is
// denied, in an exchange that is used again.
func TestNothingIsOwedTwice(t *testing.T) {
	w := newWorld(t)
	l := byHeader("l", 3)
	p := policy(l)
	p.Exempt = []*snapshot.Exemption{{Kind: &snapshot.Exemption_SourceCidr{SourceCidr: "10.0.0.0/8"}}}
	f := w.filter(t, p)
	x := request("a")
	again := func(client string) {
		y := request("a")
		x.Reset()
		x.Method, x.Path, x.Request, x.Client = y.Method, y.Path, y.Request, addr
		if client != "" {
			x.Client = addr4
		}
	}
	again("")
	answered(t, f, x, "2")
	again("exempt")
	if answered(t, f, x, "2") {
		t.Error("the field shows for requests that are exempt")
	}
	want(t, w.corrected, []string{"l more"})
	again("")
	answered(t, f, x, "9")
	again("")
	want(t, f.Head(x), exchange.Respond)
	x.Response = response{headers{{"x-cost", "1"}}}
	f.ResponseHead(x)
	f.End(x, exchange.Replied)
	want(t, w.corrected, []string{"l more", "l more"})
}

func TestStoreThatIsAwayDropsCosts(t *testing.T) {
	w := newWorld(t)
	w.store = &sharedStore{w: w}
	l := byHeader("l", 100)
	l.Scope = snapshot.Scope_SCOPE_CLUSTER
	f := w.filter(t, policy(l))
	x := request("a")
	f.Head(x)
	w.store.away = true
	x.Response = response{headers{{"x-cost", "9"}}}
	f.ResponseHead(x)
	f.End(x, exchange.Replied)
	want(t, w.corrected, []string{"l dropped"})
}

// TestLateGiveBacks: what is given back later than receipts live is not, what is debited
// is.
func TestLateGiveBacks(t *testing.T) {
	w := newWorld(t)
	l := byHeader("l", 100)
	l.Cost = 10
	f := w.filter(t, policy(l))
	for _, cost := range []string{"1", "12"} {
		x := request("a")
		x.Start = time.Now().Add(-11 * time.Minute)
		answered(t, f, x, cost)
	}
	want(t, w.corrected, []string{"l late", "l more"})
	want(t, remaining(f, "a"), `"l";r=68`)
}

// TestLeasedCosts are the store's, by the receipts of tokens.
func TestLeasedCosts(t *testing.T) {
	w, p := newWorld(t), &purse{held: 5}
	l := leased("l", 60)
	l.CostHeader = "x-cost"
	f := w.leasing(t, p, l)
	answered(t, f, request("a"), "4")
	want(t, p.held, uint64(4))
	want(t, w.corrected, []string{"l more"})
	p.held = 0
	want(t, remaining(f, "a"), `"l";r=56`) // 60, less 3, less this one
}

func TestCostsThatCannotBe(t *testing.T) {
	held := inProgress("l", 2, snapshot.Scope_SCOPE_POD)
	for name, tc := range map[string]struct {
		change func(l *snapshot.Limit)
		want   string
	}{
		"of requests in progress": {func(l *snapshot.Limit) {
			l.Algorithm, l.WindowSeconds, l.CostHeader = held.GetAlgorithm(), 0, "x-cost"
		}, "a limit of concurrency has no cost_header, cost_by_response or free_replays"},
		"replays in progress": {func(l *snapshot.Limit) {
			l.Algorithm, l.WindowSeconds, l.FreeReplays = held.GetAlgorithm(), 0, true
		}, "a limit of concurrency has no cost_header, cost_by_response or free_replays"},
		"upper case":   {func(l *snapshot.Limit) { l.CostHeader = "X-Cost" }, `cost_header "X-Cost" is no name of a field in lower case`},
		"by no header": {func(l *snapshot.Limit) { l.CostByResponse = true }, "cost_by_response is set without cost_header, or with a cost"},
		"with a cost": {func(l *snapshot.Limit) {
			l.CostByResponse, l.CostHeader, l.Cost = true, "x-cost", 2
		}, "cost_by_response is set without cost_header, or with a cost"},
	} {
		t.Run(name, func(t *testing.T) {
			l := perClient("l", 5)
			tc.change(l)
			_, err := ratelimit.Compile(policy(l), newWorld(t).env())
			if err == nil || !strings.HasSuffix(err.Error(), tc.want) {
				t.Errorf("got %v\nwant %s", err, tc.want)
			}
		})
	}
}

// TestCorrectionsDoNotAllocate in this package; the store's call is its own.
func TestCorrectionsDoNotAllocate(t *testing.T) {
	w := newWorld(t)
	env := w.env()
	env.Store, env.Metrics = &allowAll{}, nil
	l := byHeader("l", 60_000_000)
	l.Scope = snapshot.Scope_SCOPE_CLUSTER
	f, err := ratelimit.Compile(policy(l), env)
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange.Exchange{}
	var r exchange.ResponseHeaders = &cost{}
	got := testing.AllocsPerRun(1000, func() {
		x.Reset()
		x.Method, x.Path, x.Request, x.Client = method, users, fixed, addr
		f.Head(x)
		x.Response = r
		f.ResponseHead(x)
		f.End(x, exchange.Replied)
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

type cost struct{ response }

var seven = []byte("7")

func (*cost) Header(string) ([]byte, int) { return seven, 1 }
