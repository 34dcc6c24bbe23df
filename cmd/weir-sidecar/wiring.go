// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/admin"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/telemetry"
	"weir.dev/weir/sidecar/telemetry/trace"
	"weir.dev/weir/sidecar/wire/listen"
	wireproxy "weir.dev/weir/sidecar/wire/proxy"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// shutdownTimeout is how long requests get that are under way at the end. Where
// the app's container has exited before, as in a pod, none can be.
const shutdownTimeout = 10 * time.Second

// flushTimeout is how long lines of the access log and spans get that wait at the
// end.
const flushTimeout = 3 * time.Second

// machine is the whole data plane: listeners lead to the server, the server asks
// the engine's filters, and the admin shows both.
type machine struct {
	log       *slog.Logger
	metrics   *admin.Metrics
	telemetry *telemetry.Telemetry
	engine    *engine.Engine
	server    *wireproxy.Server
	admin     *admin.Admin
	// problems are what the listeners have seen, for reports.
	problems problems

	listeners []listener
	https     []*http.Server
}

type listener struct {
	net.Listener
	route listen.Route
}

// settings are what the modes differ in.
type settings struct {
	missing   wirehttp.MissingConfig
	snapshot  func() *stream.SnapshotUpdate
	connected func() bool
	ready     func() bool
	probes    []podspec.Probe
	podIP     string
	level     *slog.LevelVar
	// namespace and pod are whose spans they are; empty outside of a pod.
	namespace, pod string
}

// newMachine puts the parts together; it must be closed. notes is a directory for notes
// on requests in flight; empty: none are kept.
func newMachine(log *slog.Logger, notes string, make func(*machine) settings) *machine {
	m := &machine{log: log, metrics: admin.NewMetrics()}
	var s settings
	m.telemetry = telemetry.New(telemetry.Options{
		Out: os.Stdout, Version: version, Metrics: m.metrics, Log: log,
		Resource: func() trace.Resource { return telemetry.ResourceOf(s.snapshot().GetSnapshot(), s.namespace, s.pod) },
	})
	m.engine = engine.New(engine.Options{
		Metrics:  admin.NewStoreLog(m.metrics, log),
		Observer: m.telemetry.Observer,
		Notes:    notes,
		Log:      log,
		Applied:  func(p engine.Proxy) { m.server.Configure(wirehttp.Settings(p)) },
	})
	s = make(m)
	m.server = wireproxy.New(wireproxy.Config{
		Ports:           m.engine,
		OnMissingConfig: s.missing,
		Logger:          log,
		HTTP:            m.metrics.Wire(m.problems.encrypted),
		Thrift:          m.metrics.Thrift(m.problems.encrypted),
	})
	m.admin = admin.New(admin.Options{
		Version:     version,
		Ready:       s.ready,
		Snapshot:    s.snapshot,
		Connected:   s.connected,
		Connections: m.server.Conns,
		Metrics:     m.metrics,
		Level:       s.level,
		OnDrain: func() {
			log.Info("draining: not ready, and connections are closed after their next answer")
			m.server.Drain()
		},
		Probes: s.probes,
		PodIP:  s.podIP,
	})
	return m
}

// listen opens a listener for traffic.
func (m *machine) listen(address string, route listen.Route) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen for traffic: %w", err)
	}
	m.listeners = append(m.listeners, listener{Listener: l, route: route})
	return nil
}

// serveHTTP opens a port of the admin.
func (m *machine) serveHTTP(address string, h http.Handler) (net.Addr, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for admin: %w", err)
	}
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(m.log.Handler(), slog.LevelDebug),
	}
	m.https = append(m.https, s)
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			m.log.Error("admin ended", "address", address, "error", err)
		}
	}()
	return l.Addr(), nil
}

// run serves traffic until ctx ends or a listener fails, then lets requests end
// that are under way.
func (m *machine) run(ctx context.Context) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, len(m.listeners))
	for _, l := range m.listeners {
		go func() { ended <- listen.Serve(serving, l, l.route, m.server, m.log) }()
	}
	var err error
	left := len(m.listeners)
	select {
	case <-ctx.Done():
	case err = <-ended:
		left--
	}
	m.log.Info("ending")
	m.admin.Drain()
	stop()
	for range left {
		err = errors.Join(err, <-ended)
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if e := m.server.Shutdown(grace); e != nil {
		m.log.Warn("connections were cut at the end", "error", e)
	}
	return err
}

func (m *machine) close() {
	for _, l := range m.listeners {
		_ = l.Close()
	}
	for _, s := range m.https {
		_ = s.Close()
	}
	m.engine.Close()
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	m.telemetry.Close(ctx)
}
