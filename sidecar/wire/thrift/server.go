// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"weir.dev/weir/sidecar/wire/http"
	"weir.dev/weir/sidecar/wire/socket"
)

// Server serves connections. Make it with New.
type Server struct {
	cfg      Config
	txns     sync.Pool
	chunks   sync.Pool
	buffered atomic.Int64
	draining atomic.Bool
	settings atomic.Pointer[http.Settings]

	// ctx ends when Shutdown gives up waiting, or has ended.
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	conns  map[*conn]struct{}
	pools  map[string]*socket.Pool
	closed bool
	// down is closed, without the lock.
	down atomic.Bool
	// empty is closed when the last connection has gone after Shutdown began.
	empty chan struct{}
	// drainer closes idle connections after Drain.
	drainer *time.Timer
}

// New returns a Server for cfg.
func New(cfg Config) *Server {
	cfg.setDefaults()
	s := &Server{cfg: cfg, conns: map[*conn]struct{}{}, pools: map[string]*socket.Pool{}, empty: make(chan struct{})}
	s.Configure(http.Settings{})
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.txns.New = func() any { return newTxn(s) }
	s.chunks.New = func() any { return new([chunkSize]byte) }
	return s
}

// Configure changes the settings, at any time, from any goroutine; zero means what Config
// says. HeadBytes does not count here. Connections and calls that are under way take them
// up with their next step.
func (s *Server) Configure(set http.Settings) {
	orInt(&set.MaxConns, s.cfg.MaxConns)
	orDuration(&set.Idle, s.cfg.Timeouts.Idle)
	orDuration(&set.Stall, s.cfg.Timeouts.Stall)
	orDuration(&set.Connect, s.cfg.Timeouts.Connect)
	s.settings.Store(&set)
}

// ServeConn serves c until it ends and closes it.
func (s *Server) ServeConn(nc net.Conn, target http.Target) {
	c := newConn(s, nc, target)
	if !s.add(c) {
		if !s.down.Load() {
			s.cfg.Metrics.Refused(target.Port, RefusedFull)
		}
		_ = nc.Close()
		return
	}
	handed := c.serve()
	s.remove(c, handed)
	if handed {
		s.cfg.HTTP.ServeConn(nc, target)
	}
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= s.settings.Load().MaxConns {
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

const (
	// drainQuiet is how long a client has to be quiet after Drain before its connection
	// is closed, and drainEvery how often it is looked.
	drainQuiet = time.Second
	drainEvery = drainQuiet / 4
)

// Drain closes connections whose clients have been quiet for a second, now and from now
// on: Thrift has no word for it. Whoever calls all the time is served on. New
// connections are still served.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Swap(true) || s.closed {
		return
	}
	s.drainer = time.AfterFunc(0, s.closeQuiet)
}

func (s *Server) closeQuiet() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	before := time.Now().Add(-drainQuiet).UnixNano()
	for c := range s.conns {
		if c.since.Load() < before {
			c.closeIfIdle()
		}
	}
	s.drainer.Reset(drainEvery)
}

// Draining reports whether Drain or Shutdown was called.
func (s *Server) Draining() bool { return s.draining.Load() }

// Shutdown closes connections that wait for a call and waits for the others, each of
// which ends with its call. When ctx ends it closes those too and returns ctx's error.
// Whoever accepts connections stops first. The server cannot be used again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.down.Store(true)
	if s.drainer != nil {
		s.drainer.Stop()
	}
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
			_ = c.nc.Close()
			c.interrupt()
		}
		s.mu.Unlock()
		<-s.empty
	}
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pools {
		p.Close()
	}
	return err
}

// pool returns the idle connections to an application.
func (s *Server) pool(address string) *socket.Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pools[address]
	if p == nil {
		p = socket.NewPool(s.cfg.Timeouts.UpstreamIdle)
		s.pools[address] = p
	}
	return p
}

func (s *Server) dial(address string) (*socket.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.settings.Load().Connect)
	defer cancel()
	nc, err := s.cfg.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return socket.NewConn(nc), nil
}

// reserve takes n bytes of what may be buffered; negative n gives them back.
func (s *Server) reserve(n int64) bool {
	if s.buffered.Add(n) <= s.cfg.BufferedBytes || n < 0 {
		return true
	}
	s.buffered.Add(-n)
	return false
}
