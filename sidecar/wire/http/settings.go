// SPDX-License-Identifier: Apache-2.0

package http

import (
	"math"
	"runtime/debug"
	"time"
)

// Settings are what may change while a Server runs. Zero means what Config says.
type Settings struct {
	// HeadBytes, MaxConns and the times are those of Config.
	HeadBytes, MaxConns  int
	Idle, Stall, Connect time.Duration
}

// Configure changes the settings, at any time, from any goroutine. Connections and
// requests that are under way take them up with their next step. A lower MaxConns
// ends no connection.
func (s *Server) Configure(set Settings) {
	base := Settings{HeadBytes: s.cfg.HeadBytes, MaxConns: s.cfg.MaxConns,
		Idle: s.cfg.Timeouts.Idle, Stall: s.cfg.Timeouts.Stall, Connect: s.cfg.Timeouts.Connect}
	if set.HeadBytes == 0 {
		set.HeadBytes = base.HeadBytes
	}
	if set.MaxConns == 0 {
		set.MaxConns = base.MaxConns
	}
	orDuration(&set.Idle, base.Idle)
	orDuration(&set.Stall, base.Stall)
	orDuration(&set.Connect, base.Connect)
	s.settings.Store(&set)
}

// Settings returns the current settings, none of them zero. It is not to be
// changed.
func (s *Server) Settings() *Settings { return s.settings.Load() }

const (
	mostConns = 65536
	// connBytes is what a connection may take while a request is served on it,
	// most of it the buffers of both sides.
	connBytes = 24 << 10
)

// defaultMaxConns is as many connections as the memory limit of the process is
// good for.
func defaultMaxConns() int {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return mostConns
	}
	return int(max(1, min(mostConns, limit/connBytes)))
}
