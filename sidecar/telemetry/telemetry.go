// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/telemetry/accesslog"
	"weir.dev/weir/sidecar/telemetry/trace"
)

// Metrics is told what did not get out. Both calls are cheap and never block.
type Metrics interface {
	AccessLogDropped(lines int)
	SpansDropped(spans int)
}

// Options of a Telemetry. All are needed.
type Options struct {
	// Out gets the lines of the access log.
	Out io.Writer
	// Version of Weir.
	Version string
	// Resource says whose spans they are. It is called now and then, from any
	// goroutine.
	Resource func() trace.Resource
	Metrics  Metrics
	Log      *slog.Logger
}

// Telemetry is what observers share. Safe for concurrent use.
type Telemetry struct {
	opts  Options
	lines *accesslog.Writer

	mu     sync.Mutex
	closed bool
	// target is where exporter sends. Those of targets before end by themselves
	// when no more spans come; until then Close waits for them too.
	target    *snapshot.Tracing
	exporter  *trace.Exporter
	exporters []*trace.Exporter
}

// New starts nothing yet. A Telemetry must be closed.
func New(opts Options) *Telemetry {
	return &Telemetry{opts: opts, lines: accesslog.NewWriter(accesslog.Options{
		Out: opts.Out, Dropped: opts.Metrics.AccessLogDropped, Log: opts.Log,
	})}
}

// Observer returns what sees requests under cfg, which snapshot.ValidateTelemetry
// has taken; nil when all is off. It fits engine.Options.Observer.
func (t *Telemetry) Observer(cfg *snapshot.Telemetry) exchange.Observer {
	o := observer{log: t.logger(cfg.GetAccessLog()), tracer: t.tracer(cfg.GetTracing())}
	if o.log == nil && o.tracer == nil {
		return nil
	}
	return &o
}

func (t *Telemetry) logger(cfg *snapshot.AccessLog) *accesslog.Logger {
	switch cfg.GetMode() {
	case snapshot.AccessLog_MODE_ERRORS:
		return accesslog.NewLogger(accesslog.Errors, 0, t.lines)
	case snapshot.AccessLog_MODE_SAMPLED:
		return accesslog.NewLogger(accesslog.Sampled, cfg.GetSamplePerMillion(), t.lines)
	case snapshot.AccessLog_MODE_ALL:
		return accesslog.NewLogger(accesslog.All, 0, t.lines)
	default:
		return nil
	}
}

func (t *Telemetry) tracer(cfg *snapshot.Tracing) *trace.Tracer {
	t.mu.Lock()
	defer t.mu.Unlock()
	if cfg == nil || t.closed {
		return nil
	}
	target := &snapshot.Tracing{Endpoint: cfg.GetEndpoint(), Tls: cfg.GetTls()}
	if t.exporter == nil || !proto.Equal(t.target, target) {
		t.target, t.exporter = target, t.export(target)
		t.exporters = append(slices.DeleteFunc(t.exporters, (*trace.Exporter).Idle), t.exporter)
	}
	return trace.NewTracer(cfg.GetSamplePerMillion(), t.exporter)
}

func (t *Telemetry) export(target *snapshot.Tracing) *trace.Exporter {
	return trace.NewExporter(trace.Options{
		Dial:     func() (*grpc.ClientConn, error) { return dial(target) },
		Resource: t.opts.Resource,
		Version:  t.opts.Version,
		Dropped:  t.opts.Metrics.SpansDropped,
		Log:      t.opts.Log.With("collector", target.GetEndpoint()),
	})
}

// dial opens a connection that carries a call a second at most.
func dial(target *snapshot.Tracing) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if t := target.GetTls(); t != nil {
		c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.GetServerName()}
		if ca := t.GetCaPem(); ca != "" {
			c.RootCAs = x509.NewCertPool()
			if !c.RootCAs.AppendCertsFromPEM([]byte(ca)) {
				return nil, fmt.Errorf("tracing.tls.ca_pem holds no certificate")
			}
		}
		creds = credentials.NewTLS(c)
	}
	pause := backoff.DefaultConfig
	pause.MaxDelay = 5 * time.Second
	return grpc.NewClient("passthrough:///"+target.GetEndpoint(),
		grpc.WithTransportCredentials(creds),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: pause, MinConnectTimeout: 5 * time.Second}),
		grpc.WithReadBufferSize(4<<10),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
	)
}

// Close writes and sends what waits, as long as ctx allows.
func (t *Telemetry) Close(ctx context.Context) {
	t.mu.Lock()
	t.closed = true
	exporters := t.exporters
	t.mu.Unlock()
	var wg sync.WaitGroup
	for _, e := range exporters {
		wg.Go(func() { e.Close(ctx) })
	}
	t.lines.Close(ctx)
	wg.Wait()
}
