// SPDX-License-Identifier: Apache-2.0

package http

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Target is where an accepted connection was going.
type Target struct {
	// Port is the container port that exchange.Ports is asked for.
	Port uint16
	// Upstream is the application's address, host:port.
	Upstream string
}

// Server serves connections. Make it with New.
type Server struct {
	cfg      Config
	txns     sync.Pool
	buffered atomic.Int64
	draining atomic.Bool
	settings atomic.Pointer[Settings]
	// turned is how many connections are being turned away.
	turned atomic.Int32
	// http2 is nil where HTTP/2 is refused.
	http2 HTTP2
	// started is when the wait for a first snapshot began.
	started time.Time

	// ctx ends when Shutdown gives up waiting.
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	conns map[*conn]struct{}
	pools map[string]*pool
	// calling are the pools of connections that a Transcoder was attached to.
	calling map[string]*pool
	closed  bool
	// down is closed, without the lock.
	down atomic.Bool
	// empty is closed when the last connection has gone after Shutdown began.
	empty chan struct{}
}

// New returns a Server for cfg.
func New(cfg Config) *Server {
	cfg.setDefaults()
	s := &Server{
		cfg:     cfg,
		started: time.Now(),
		conns:   map[*conn]struct{}{},
		pools:   map[string]*pool{},
		calling: map[string]*pool{},
		empty:   make(chan struct{}),
	}
	s.Configure(Settings{})
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.txns.New = func() any { return newTxn(s) }
	if cfg.HTTP2 != nil {
		s.http2 = cfg.HTTP2(s)
	}
	return s
}

// Config returns what the Server was made of, with its defaults; what of it is in
// Settings may have changed.
func (s *Server) Config() Config { return s.cfg }

// Context ends when Shutdown has ended, or gives up waiting.
func (s *Server) Context() context.Context { return s.ctx }

// ServeConn serves c until it ends and closes it.
func (s *Server) ServeConn(nc net.Conn, target Target) {
	c := newConn(s, nc, target)
	if !s.add(c) {
		if s.down.Load() {
			_ = nc.Close()
		} else {
			s.turnAway(nc, target)
		}
		return
	}
	handed := c.serve()
	s.remove(c, handed)
	if handed {
		s.cfg.Thrift.ServeConn(nc, target)
	}
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= s.Settings().MaxConns {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c *conn, handed bool) {
	if !handed {
		_ = c.nc.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.closed && len(s.conns) == 0 {
		close(s.empty)
	}
}

// Conns is how many connections are being served.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Drain makes every response from now on carry `Connection: close`, and ends
// HTTP/2 connections with GOAWAY, so that clients move their connections elsewhere.
// New connections are still served.
func (s *Server) Drain() {
	s.draining.Store(true)
	if s.http2 != nil {
		s.http2.Drain()
	}
}

// Draining reports whether Drain or Shutdown was called.
func (s *Server) Draining() bool { return s.draining.Load() }

// Shutdown drains, closes connections that wait for a request and waits for the
// others. When ctx ends it closes those too and returns ctx's error. Whoever
// accepts connections stops first. The server cannot be used again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.down.Store(true)
	if len(s.conns) == 0 {
		close(s.empty)
	}
	for c := range s.conns {
		c.closeIfIdle()
	}
	s.mu.Unlock()

	var err error
	select {
	case <-s.empty:
	case <-ctx.Done():
		err = ctx.Err()
		s.cancel()
		s.mu.Lock()
		for c := range s.conns {
			c.kill()
		}
		s.mu.Unlock()
		<-s.empty
	}
	s.cancel()
	if s.http2 != nil {
		s.http2.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pools := range []map[string]*pool{s.pools, s.calling} {
		for _, p := range pools {
			p.close()
		}
	}
	return err
}

// pool returns the idle connections to an application.
func (s *Server) pool(address string) *pool { return s.poolIn(s.pools, address) }

// transcoded is pool for an application that a Transcoder speaks to.
func (s *Server) transcoded(address string) *pool { return s.poolIn(s.calling, address) }

func (s *Server) poolIn(pools map[string]*pool, address string) *pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := pools[address]
	if p == nil {
		p = newPool(address, s.cfg.Timeouts.UpstreamIdle)
		pools[address] = p
	}
	return p
}

func (s *Server) dial(address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.Settings().Connect)
	defer cancel()
	return s.cfg.Dial(ctx, "tcp", address)
}

// Reserve takes n bytes of what all requests together may hold of bodies that
// filters have asked for, and reports whether they were left; negative n gives
// them back.
func (s *Server) Reserve(n int64) bool { return s.reserve(n) }

// reserve takes n bytes of what may be buffered; negative n gives them back.
func (s *Server) reserve(n int64) bool {
	if s.buffered.Add(n) <= s.cfg.BufferedBytes || n < 0 {
		return true
	}
	s.buffered.Add(-n)
	return false
}

// aLongTimeAgo as a deadline ends what waits.
func aLongTimeAgo() time.Time { return time.Unix(1, 0) }
