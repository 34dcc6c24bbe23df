// SPDX-License-Identifier: Apache-2.0

package http

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// recheckEvery is how often it is looked whether a policy has come for the
	// port of a spliced connection.
	recheckEvery = time.Second
	// quiet is how long nothing may have moved on a connection before it is
	// ended between two requests.
	quiet = 200 * time.Millisecond
	// longQuiet is the same where it is not clear who spoke last.
	longQuiet = 3 * time.Second
	// retireAfter ends it in the middle of whatever it does.
	retireAfter = 10 * time.Second
)

// retirement ends a spliced connection whose port a policy has come to govern: its
// requests would pass by the policy for as long as the client keeps it. It waits
// for a moment between two requests, when the application has spoken last. It is a
// timer and no goroutine, whose stack each idle connection would pay for.
type retirement struct {
	c *conn

	mu    sync.Mutex
	timer *time.Timer
	ended bool
	// since is when the port was first seen to be governed.
	since time.Time
}

// retire begins to look; stop ends it.
func (c *conn) retire() (stop func()) {
	r := &retirement{c: c}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer = time.AfterFunc(recheckEvery, r.check)
	return r.stop
}

func (r *retirement) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.timer.Stop()
}

func (r *retirement) check() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	if port, _ := r.c.s.cfg.Ports.Port(r.c.target.Port); !port.Governed() {
		r.since = time.Time{}
		r.timer.Reset(recheckEvery)
		return
	}
	now := time.Now()
	if r.since.IsZero() {
		r.since = now
	}
	if r.c.quiet() || now.Sub(r.since) >= retireAfter {
		r.c.kill()
		return
	}
	r.timer.Reset(quiet / 2)
}

// quiet reports whether the client waits for nothing, by when bytes last moved.
// The kernel keeps time in ticks of a few milliseconds; when both sides spoke in
// one tick, it takes a longer silence.
func (c *conn) quiet() bool {
	if c.raw == nil {
		return false
	}
	still := false
	_ = c.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		sent := time.Duration(info.Last_data_sent) * time.Millisecond
		received := time.Duration(info.Last_data_recv) * time.Millisecond
		switch {
		case info.Bytes_received == 0 || sent < received:
			still = min(sent, received) >= quiet
		case sent == received:
			still = sent >= longQuiet
		}
	})
	return still
}
