// SPDX-License-Identifier: Apache-2.0

package source

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/stream"
)

func TestConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, s := newOperator(), &sink{}
		src := New(options(t, o, s))
		defer run(t, src, o)()
		c := <-o.streams
		want := &stream.Hello{Version: "v0.1.0", Features: []string{"f"}}
		if !proto.Equal(c.hello, want) || c.token != "Bearer t0ken" {
			t.Errorf("hello %v with %q, want %v with the token", c.hello, c.token, want)
		}
		for _, m := range []*stream.ToSidecar{secrets("p1"), peersOf(3), update("h1", "pay")} {
			if err := c.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.receive(t).GetAck().GetHash(); got != "h1" {
			t.Errorf("ack of %q, want h1", got)
		}
		if got, want := s.take(), "secrets p1; peers map[pay:3]; apply pay"; got != want {
			t.Errorf("the sink got %q, want %q", got, want)
		}
		if !src.Connected() || src.Current().GetHash() != "h1" {
			t.Errorf("connected %v, current %q", src.Connected(), src.Current().GetHash())
		}

		// Refused: the old one serves on, and the policy is named.
		_ = c.Send(update("h2", "bad"))
		wantNack := &stream.Nack{Hash: "h2", Policy: "RateLimitPolicy/bad", Reason: "No."}
		if got := c.receive(t).GetNack(); !proto.Equal(got, wantNack) {
			t.Errorf("got %v, want %v", got, wantNack)
		}
		_ = c.Send(update("h3", "worse"))
		wantNack = &stream.Nack{Hash: "h3", Reason: "nothing of this is possible"}
		if got := c.receive(t).GetNack(); !proto.Equal(got, wantNack) {
			t.Errorf("got %v, want %v", got, wantNack)
		}
		if got := src.Current().GetHash(); got != "h1" {
			t.Errorf("current is %q after two refusals, want h1", got)
		}

		// After a break the sidecar says what it serves, and the token is read
		// again.
		if err := os.WriteFile(src.opts.TokenFile, []byte("n3w"), 0o600); err != nil {
			t.Fatal(err)
		}
		c.end <- status.Error(codes.Unavailable, "stopping")
		c = <-o.streams
		if c.hello.GetLastHash() != "h1" || c.token != "Bearer n3w" || c.hello.GetServing().GetRateLimitPolicies()[0].GetName() != "pay" {
			t.Errorf("hello %v with %q, want last hash h1, what it is, and the new token", c.hello, c.token)
		}
	})
}

func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, s := newOperator(), &sink{}
		defer run(t, New(options(t, o, s)), o)()
		c := <-o.streams
		var mu sync.Mutex
		var got []string
		began := time.Now()
		go func() {
			for {
				m, err := c.Recv()
				if err != nil {
					return
				}
				mu.Lock()
				got = append(got, fmt.Sprintf("%s: %d", time.Since(began), m.GetReport().GetShadow()[0].GetWouldDeny()))
				mu.Unlock()
			}
		}()
		time.Sleep(25*time.Second + 500*time.Millisecond) // nothing to report
		for i := range 30 {
			s.setReport(&stream.Report{Shadow: []*stream.ShadowCount{{Policy: "p", Limit: "l", WouldDeny: uint64(i)}}})
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute) // no change
		mu.Lock()
		defer mu.Unlock()
		if d := cmp.Diff([]string{"30s: 4", "40s: 14", "50s: 24", "1m0s: 29"}, got); d != "" {
			t.Errorf("reports (-want +got):\n%s", d)
		}
	})
}

// Sidecars that lose the operator together must not come back together, nor ever
// stop trying.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperator()
		o.refuse = status.Error(codes.Unavailable, "starting")
		const sidecars = 50
		var stops []func()
		opts := options(t, o, &sink{})
		opts.StateDir = ""
		for range sidecars {
			stops = append(stops, run(t, New(opts), o))
		}
		count := func(d time.Duration) int {
			o.mu.Lock()
			o.calls = nil
			o.mu.Unlock()
			time.Sleep(d)
			o.mu.Lock()
			defer o.mu.Unlock()
			return len(o.calls)
		}
		if n := count(0); n != 0 {
			t.Fatalf("%d calls before time has begun", n)
		}
		time.Sleep(time.Minute)
		// Once the window is 10 s a sidecar tries every 5 s on average: 12 a
		// minute. No second has more than a fair share of them.
		for range 3 {
			n := count(10 * time.Second)
			if n < sidecars || n > 4*sidecars {
				t.Errorf("%d attempts of %d sidecars in 10 s, want about %d", n, sidecars, 2*sidecars)
			}
		}
		for range 5 {
			if n := count(time.Second); n > sidecars*3/5 {
				t.Errorf("%d attempts of %d sidecars in one second", n, sidecars)
			}
		}
		o.mu.Lock()
		o.refuse = nil
		o.mu.Unlock()
		time.Sleep(backoffMax)
		synctest.Wait()
		if n := len(o.streams); n != sidecars {
			t.Errorf("%d streams after the longest wait, want %d", n, sidecars)
		}
		for _, stop := range stops {
			stop()
		}
	})
}

func TestBackoff(t *testing.T) {
	windows := []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000}
	for range 200 {
		var b backoff
		for i, w := range windows {
			if got := b.next(); got < 0 || got >= w*time.Millisecond {
				t.Fatalf("wait %d is %s, want less than %d ms", i, got, w)
			}
		}
	}
}

// A server that takes the connection and never answers is given up.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lis := bufconn.Listen(1 << 16)
		opts := options(t, nil, &sink{})
		o := &operator{lis: lis}
		opts.dial = o.dial
		src := New(opts)
		began := time.Now()
		err := src.connect(t.Context())
		if err == nil || time.Since(began) > connectTimeout {
			t.Errorf("after %s: %v, want an error within %s", time.Since(began), err, connectTimeout)
		}
		if src.Connected() {
			t.Error("a silent server counts as connected")
		}
		_ = lis.Close()
	})
}

func TestLastGoodState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, s := newOperator(), &sink{}
		opts := options(t, o, s)
		src := New(opts)
		if src.Restore() {
			t.Fatal("restored from nothing")
		}
		stop := run(t, src, o)
		c := <-o.streams
		for _, m := range []*stream.ToSidecar{secrets("p1"), peersOf(3), update("h1", "pay"), secrets("p2"), update("h2", "bad")} {
			_ = c.Send(m)
		}
		c.receive(t)
		c.receive(t)
		stop()
		s.take()

		// The container restarts while the operator is away.
		again := New(opts)
		if !again.Restore() || again.Current().GetHash() != "h1" {
			t.Fatalf("not restored; current %q", again.Current().GetHash())
		}
		if got, want := s.take(), "secrets p2; peers map[pay:3]; apply pay"; got != want {
			t.Errorf("the sink got %q, want %q", got, want)
		}
		info, err := os.Stat(filepath.Join(opts.StateDir, stateFile))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("the file has mode %o, want 600", got)
		}
		o = newOperator()
		again.opts.dial = o.dial
		defer run(t, again, o)()
		if got := (<-o.streams).hello.GetLastHash(); got != "h1" {
			t.Errorf("last hash %q, want h1", got)
		}
	})
}

func TestBadState(t *testing.T) {
	state := &stream.LastGood{Snapshot: update("h1", "pay").GetSnapshot()}
	for name, tc := range map[string]struct {
		spoil func(b []byte) []byte
		want  string
	}{
		"cut off":         {func(b []byte) []byte { return b[:len(b)-1] }, "checksum"},
		"a bit flipped":   {func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, "checksum"},
		"empty":           {func([]byte) []byte { return nil }, "not a state"},
		"another version": {func([]byte) []byte { return []byte("weir-state-2\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx") }, "not a state"},
		"only the magic":  {func([]byte) []byte { return []byte(magic) }, "not a state"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sink{}
			opts := options(t, nil, s)
			var log strings.Builder
			opts.Log = slog.New(slog.NewTextHandler(&log, nil))
			if err := (&store{dir: opts.StateDir}).save(state); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(opts.StateDir, stateFile)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, tc.spoil(b), 0o600); err != nil {
				t.Fatal(err)
			}
			src := New(opts)
			if src.Restore() || src.Current() != nil || s.take() != "" {
				t.Error("a damaged state was restored")
			}
			if !strings.Contains(log.String(), tc.want) || strings.Count(log.String(), "\n") != 1 {
				t.Errorf("log %q, want one line with %q", log.String(), tc.want)
			}
		})
	}
}

// A state that this sidecar refuses, say after a change of image, is ignored too.
func TestRefusedState(t *testing.T) {
	opts := options(t, nil, &sink{})
	if err := (&store{dir: opts.StateDir}).save(&stream.LastGood{Snapshot: update("h1", "bad").GetSnapshot()}); err != nil {
		t.Fatal(err)
	}
	src := New(opts)
	if src.Restore() || src.Current() != nil || src.state.GetSnapshot() != nil {
		t.Error("a refused state was restored")
	}
}

// A volume that cannot be written costs the state, not the snapshot.
func TestStateCannotBeKept(t *testing.T) {
	s := &sink{}
	opts := options(t, nil, s)
	opts.StateDir = filepath.Join(opts.StateDir, "missing")
	src := New(opts)
	if got := src.take(update("h1", "pay")).GetAck().GetHash(); got != "h1" {
		t.Errorf("ack of %q, want h1", got)
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	var log strings.Builder
	opts := options(t, nil, &sink{})
	opts.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	src := New(opts)
	src.take(secrets("s3cret"))
	src.take(update("h1", "pay"))
	src.take(update("h2", "bad"))
	if s := log.String(); strings.Contains(s, "s3cret") || strings.Contains(s, "t0ken") || !strings.Contains(s, "h1") {
		t.Errorf("log:\n%s", s)
	}
}
