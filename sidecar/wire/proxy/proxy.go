// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/h2c"
	"weir.dev/weir/sidecar/wire/http"
	"weir.dev/weir/sidecar/wire/thrift"
)

// Config is what a Server is made of. Ports and Logger are needed.
type Config struct {
	Ports           exchange.Ports
	OnMissingConfig http.MissingConfig
	Logger          *slog.Logger
	HTTP            http.Metrics
	Thrift          thrift.Metrics
}

// Server serves connections of every protocol. Make it with New.
type Server struct {
	http   *http.Server
	thrift *thrift.Server
	// carried serves HTTP that carries calls of Thrift.
	carried *http.Server
}

// New returns a Server for cfg.
func New(cfg Config) *Server {
	s := &Server{}
	s.carried = http.New(http.Config{
		Ports: &carriers{ports: cfg.Ports}, OnMissingConfig: http.Deny, HTTP2: h2c.New, Logger: cfg.Logger, Metrics: cfg.HTTP,
	})
	s.thrift = thrift.New(thrift.Config{
		Ports: cfg.Ports, HTTP: s.carried, Logger: cfg.Logger, Metrics: cfg.Thrift,
		Names: func(number uint16) map[string]string {
			if p, _ := cfg.Ports.Port(number); p != nil {
				return p.Methods
			}
			return nil
		},
	})
	s.http = http.New(http.Config{
		Ports: cfg.Ports, OnMissingConfig: cfg.OnMissingConfig, HTTP2: h2c.New, Thrift: s.thrift, Logger: cfg.Logger, Metrics: cfg.HTTP,
	})
	return s
}

// ServeConn serves c until it ends and closes it.
func (s *Server) ServeConn(c net.Conn, target http.Target) { s.http.ServeConn(c, target) }

// Configure changes what may change while the Server runs.
func (s *Server) Configure(set http.Settings) {
	s.http.Configure(set)
	s.carried.Configure(set)
}

// Conns is how many connections are being served.
func (s *Server) Conns() int { return s.http.Conns() + s.thrift.Conns() + s.carried.Conns() }

// Drain makes clients move their connections elsewhere, as far as their protocols have
// a way to say so. New connections are still served.
func (s *Server) Drain() {
	s.http.Drain()
	s.thrift.Drain()
	s.carried.Drain()
}

// Shutdown lets what is under way end, and cuts it when ctx ends. The Server cannot be
// used again.
func (s *Server) Shutdown(ctx context.Context) error {
	var wg sync.WaitGroup
	var errs [3]error
	for i, one := range []interface{ Shutdown(context.Context) error }{s.http, s.thrift, s.carried} {
		wg.Go(func() { errs[i] = one.Shutdown(ctx) })
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}
