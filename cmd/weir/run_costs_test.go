// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/sidecar/store/redis/redistest"
)

const costPolicy = `apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: by-cost}
spec:
  targetRefs: [{name: payments}]
  limits: [{name: units, key: [{header: X-Client-Id}], limit: 100, window: 3600s, LIMIT, cost: {responseHeader: X-Cost}}]
`

// say asks for an answer that says a cost, where cost is not empty. It may be called from
// any goroutine; where there is no answer the status is 0.
func say(t *testing.T, address, cost string) (status int, field string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/?cost="+cost, nil)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	req.Header.Set("X-Client-Id", "a")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("X-Cost")
}

// costly says what requests cost.
func costly(t *testing.T) string {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cost := r.URL.Query().Get("cost"); cost != "" {
			w.Header().Set("X-Cost", cost)
		}
		_, _ = io.WriteString(w, "done")
	}))
	t.Cleanup(app.Close)
	return strings.TrimPrefix(app.URL, "http://")
}

// TestRunLimitsByWhatResponsesSay: a request passes while there is room, and what it
// costs denies others, of every process.
func TestRunLimitsByWhatResponsesSay(t *testing.T) {
	redis := redistest.Start(t)
	for name, limit := range map[string]string{
		"cluster": "scope: Cluster", "pod": "scope: Pod", "leased": "algorithm: TokenBucket, burst: 100, accuracy: Leased",
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(strings.Replace(costPolicy, "LIMIT", limit, 1), "by-cost", "by-cost-"+name, 1)
			file, app := policyFile(t, text), costly(t)
			runs := []*weirRun{startRun(t, app, "-f", file, "--redis", redis.Addr)}
			if name != "pod" {
				runs = append(runs, startRun(t, app, "-f", file, "--redis", redis.Addr))
			}
			for range 2 {
				if status, field := say(t, runs[0].address, "60"); status != http.StatusOK || field != "" {
					t.Fatalf("status %d, X-Cost %q", status, field)
				}
			}
			// It is debited in the background; what passes until then costs nothing.
			denied := func() bool {
				status, _ := say(t, runs[len(runs)-1].address, "0")
				return status == http.StatusTooManyRequests
			}
			for deadline := time.Now().Add(time.Minute); !denied(); {
				if time.Now().After(deadline) {
					t.Fatal("in a minute no request is denied")
				}
				time.Sleep(10 * time.Millisecond)
			}
			for _, r := range runs {
				if err := r.stop(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestAnOutageOfRedisIsNoErrorOfTheServer: whatever becomes of Redis, requests are let
// through or denied.
func TestAnOutageOfRedisIsNoErrorOfTheServer(t *testing.T) {
	redis := redistest.Start(t)
	run := startRun(t, costly(t), "-f", policyFile(t, strings.Replace(costPolicy, "LIMIT", "scope: Cluster", 1)), "--redis", redis.Addr)
	var statuses [600]atomic.Int64
	var wg sync.WaitGroup
	var stop atomic.Bool
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				status, _ := say(t, run.address, "0")
				statuses[status].Add(1)
			}
		})
	}
	// Each step waits until requests have been answered since.
	next := func() {
		before := statuses[200].Load() + statuses[429].Load()
		for statuses[200].Load()+statuses[429].Load() < before+20 && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
	}
	for _, step := range []func(){func() {}, redis.Kill, redis.Restart, redis.Hang, redis.Resume, func() { redis.Do("SCRIPT FLUSH", "+OK") }, func() { redis.Do("FLUSHALL", "+OK") }} {
		step()
		next()
	}
	stop.Store(true)
	wg.Wait()
	for status := range statuses {
		if n := statuses[status].Load(); n > 0 && status != 200 && status != 429 {
			t.Errorf("%d answers of %d", n, status)
		}
	}
	if err := run.stop(); err != nil {
		t.Error(err)
	}
}
