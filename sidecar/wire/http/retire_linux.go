// SPDX-License-Identifier: Apache-2.0

package http

import (
	"context"
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

// retire ends a spliced connection whose port a policy has come to govern: its
// requests would pass by the policy for as long as the client keeps it. It waits
// for a moment between two requests, when the application has spoken last.
func (c *conn) retire(ctx context.Context) {
	every := recheckEvery
	var since time.Time
	for {
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case now := <-timer.C:
			port, _ := c.s.cfg.Ports.Port(c.target.Port)
			switch {
			case !governed(port):
				every, since = recheckEvery, time.Time{}
				continue
			case since.IsZero():
				every, since = quiet/2, now
			}
			if c.quiet() || now.Sub(since) >= retireAfter {
				c.kill()
				return
			}
		}
	}
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
