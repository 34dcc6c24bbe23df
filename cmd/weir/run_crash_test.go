// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/sidecar/store/redis/redistest"
)

const progressPolicy = `apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: payments, namespace: shop}
spec:
  targetRefs: [{name: payments}]
  failurePolicy: Closed
  limits: [{name: slow, key: [{header: X-Client-Id}], algorithm: Concurrency, limit: 2}]
`

// runArgs holds, in the process that TestProcess is for, the arguments of weir, one a
// line.
const runArgs = "WEIR_TEST_ARGS"

const passed = "passed"

// TestProcess is weir in a process of its own, for tests that kill it.
func TestProcess(t *testing.T) {
	args := os.Getenv(runArgs)
	if args == "" {
		t.Skip("it is for other tests, which start it")
	}
	c := root()
	c.SetArgs(strings.Split(args, "\n"))
	c.SetOut(os.Stdout)
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// startProcess starts TestProcess with a listener, and returns its address and what
// kills it as kill -9 does.
func startProcess(t *testing.T, args ...string) (address string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcess$")
	cmd.Env = append(os.Environ(), runArgs+"="+strings.Join(args, "\n"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, after, ok := strings.Cut(lines.Text(), "listening on "); ok {
			return strings.Fields(after)[0], kill
		}
	}
	t.Fatal("the process ended without a listener")
	return "", nil
}

// TestPermitsOfAKilledProcess: what a process that is killed had in progress counts no
// more some seconds later, for the other processes over the same Redis. It is published
// as 10 s; the bound is so far off because the machine may be busy.
func TestPermitsOfAKilledProcess(t *testing.T) {
	redis := redistest.Start(t)
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			arrived <- struct{}{}
			<-release
		}
	}))
	t.Cleanup(app.Close)
	t.Cleanup(func() { close(release) })
	upstream := strings.TrimPrefix(app.URL, "http://")
	file := policyFile(t, progressPolicy)
	doomed, kill := startProcess(t, "run", "--listener", "name=payments/http,listen=127.0.0.1:0,upstream="+upstream, "-f", file, "--redis", redis.Addr)
	other := startRun(t, upstream, "-f", file, "--redis", redis.Addr)

	// get returns what the answer is: passed, or the title of the problem.
	get := func(address, path string) string {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+path, nil)
		if err != nil {
			return err.Error()
		}
		req.Header.Set("X-Client-Id", "a")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		var problem struct{ Title string }
		if resp.StatusCode != http.StatusOK {
			_ = json.NewDecoder(resp.Body).Decode(&problem)
			return problem.Title
		}
		return passed
	}
	// until asks the other process until it says what is wanted; on a busy machine the
	// store may be too slow at times, which failurePolicy Closed tells from the rest.
	until := func(want, never string) {
		t.Helper()
		for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
			switch got := get(other.address, "/"); {
			case got == want:
				return
			case got == never || time.Since(begin) > time.Minute:
				t.Fatalf("it says %q, want %q", got, want)
			}
		}
	}
	for n := 0; n < 2; {
		answered := make(chan struct{})
		go func() { get(doomed, "/slow"); close(answered) }()
		select {
		case <-arrived:
			n++
		case <-answered:
		case <-time.After(time.Minute):
			t.Fatal("nothing reaches the application")
		}
	}
	until("Temporarily Reduced Capacity", passed)
	kill()
	killed := time.Now()
	until(passed, "")
	t.Logf("admitted %v after the kill", time.Since(killed).Round(100*time.Millisecond))
	if err := other.stop(); err != nil {
		t.Error(err)
	}
}
