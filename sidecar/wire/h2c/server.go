// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

const (
	// maxStreams is how many streams a client may have open on a connection.
	maxStreams = 250
	// streamWindow is how much of a request's body is taken that the application
	// has not read, connWindow the same for a connection. More than one stream
	// that nobody reads fits a connection, so that it does not stop the others.
	streamWindow, connWindow = 256 << 10, 2 << 20
	// maxFrame bounds the frames that clients may send.
	maxFrame = 64 << 10
	// hardHead times the bound of heads is where net/http refuses them by itself.
	// Up to there Weir does, with a problem.
	hardHead = 4
	// pingEvery is how long a client's connection may be silent until it is asked
	// whether anybody is there, and pingWait how long the answer may take.
	pingEvery, pingWait = 2 * time.Minute, 15 * time.Second
	// afterDrain is how long after Drain connections are told once more.
	afterDrain = time.Second
)

// Server serves connections with HTTP/2. Make it with New.
type Server struct {
	http *wirehttp.Server
	cfg  wirehttp.Config
	// streams are *stream, legs *wirehttp.Leg.
	streams, legs sync.Pool
	origins       origins

	mu sync.Mutex
	// now serves new connections, kept those from before a change of settings,
	// old those from before Drain.
	now       *generation
	kept, old []*generation
	// again is the second half of a Drain.
	again *time.Timer
}

// generation is a net/http server, whose only way to end its connections
// gracefully is to be shut down itself.
type generation struct {
	server   *http.Server
	listener *listener
	// settings that it was made with.
	settings wirehttp.Settings
	// conns is guarded by Server.mu.
	conns int
}

// New returns a Server that shares the configuration of h, as
// [wirehttp.Config.HTTP2] wants it.
func New(h *wirehttp.Server) wirehttp.HTTP2 {
	s := &Server{http: h, cfg: h.Config()}
	s.streams.New = func() any { return &stream{s: s} }
	s.legs.New = func() any { return h.NewLeg() }
	s.origins.init(h)
	s.now = s.generation()
	return s
}

func (s *Server) generation() *generation {
	set := *s.http.Settings()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	g := &generation{
		listener: newListener(),
		settings: set,
		server: &http.Server{
			Handler:                      s,
			Protocols:                    &protocols,
			DisableGeneralOptionsHandler: true,
			MaxHeaderBytes:               hardHead * set.HeadBytes,
			ErrorLog:                     slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
			ConnContext:                  func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
			HTTP2: &http.HTTP2Config{
				MaxConcurrentStreams:          maxStreams,
				MaxReadFrameSize:              maxFrame,
				MaxReceiveBufferPerConnection: connWindow,
				MaxReceiveBufferPerStream:     streamWindow,
				SendPingTimeout:               pingEvery,
				PingTimeout:                   pingWait,
				WriteByteTimeout:              set.Stall,
			},
		},
	}
	go func() { _ = g.server.Serve(g.listener) }()
	return g
}

// ServeConn serves nc until it and its streams have ended.
func (s *Server) ServeConn(nc net.Conn, target wirehttp.Target) {
	c := newConn(nc, target, s.http.Settings().Idle)
	g := s.give(c)
	if g == nil {
		c.idle.Stop()
		return
	}
	if s.http.Draining() {
		// Who comes now is served, and then told to go.
		defer time.AfterFunc(afterDrain, s.Drain).Stop()
	}
	<-c.ended
	s.mu.Lock()
	defer s.mu.Unlock()
	g.conns--
}

// give hands c to the net/http server that takes connections; nil when none does.
func (s *Server) give(c net.Conn) *generation {
	for {
		s.mu.Lock()
		if s.now != nil && s.now.settings != *s.http.Settings() {
			s.kept = append(s.kept, s.now)
			s.now = s.generation()
			s.kept = slices.DeleteFunc(s.kept, (*generation).end)
		}
		g := s.now
		if g != nil {
			g.conns++
		}
		s.mu.Unlock()
		if g == nil || g.listener.give(c) {
			return g
		}
		s.mu.Lock()
		g.conns--
		s.mu.Unlock()
	}
}

// Drain sends GOAWAY on every connection: their streams go on to their ends, new
// ones go elsewhere. It may be called again for connections that have come since.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil && s.now.conns > 0 {
		s.old = append(s.old, s.now)
		s.now = s.generation()
	}
	s.old, s.kept = append(s.old, s.kept...), nil
	s.shutdownOld()
	if len(s.old) > 0 && s.again == nil {
		// Once more for a connection that the net/http server was just taking.
		s.again = time.AfterFunc(afterDrain, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.again = nil
			s.shutdownOld()
		})
	}
}

// shutdownOld says GOAWAY and does not wait.
func (s *Server) shutdownOld() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	left := s.old[:0]
	for _, g := range s.old {
		_ = g.server.Shutdown(ended)
		if g.conns > 0 {
			left = append(left, g)
		}
	}
	clear(s.old[len(left):])
	s.old = left
}

// end ends a generation without connections, and reports whether it is one.
func (g *generation) end() bool {
	if g.conns > 0 {
		return false
	}
	_ = g.server.Close()
	return true
}

// Close ends connections to applications. Nothing is served after it.
func (s *Server) Close() {
	s.mu.Lock()
	if s.now != nil {
		s.old = append(s.old, s.now)
		s.now = nil
	}
	s.old, s.kept = append(s.old, s.kept...), nil
	s.shutdownOld()
	if s.again != nil {
		s.again.Stop()
	}
	s.mu.Unlock()
	s.origins.close()
}

// ServeHTTP serves one stream.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connKey{}).(*conn)
	if !c.enter() {
		panic(http.ErrAbortHandler)
	}
	t := s.streams.Get().(*stream)
	t.attach(c, w, r)
	whole := t.serve()
	if t.later != nil {
		// It may not be used once the handler has returned.
		t.body.watch.stop()
		go t.serveLater()
	} else {
		t.end()
	}
	if !whole {
		// The client must not take the part for the whole.
		panic(http.ErrAbortHandler)
	}
}
