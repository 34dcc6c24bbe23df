// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/telemetry"
	"weir.dev/weir/sidecar/telemetry/trace"
	"weir.dev/weir/sidecar/telemetry/trace/tracetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lost is a telemetry.Metrics.
type lost struct{ lines, spans atomic.Int64 }

func (l *lost) AccessLogDropped(n int) { l.lines.Add(int64(n)) }
func (l *lost) SpansDropped(n int)     { l.spans.Add(int64(n)) }

// output is a buffer that may be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) lines() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Count(o.buf.Bytes(), []byte("\n"))
}

// await waits for lines: an exchange ends after the client has its answer.
func (o *output) await(t *testing.T, n int) {
	t.Helper()
	for range 3000 {
		if o.lines() >= n {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d lines, want %d", o.lines(), n)
}

func start(t *testing.T) (*telemetry.Telemetry, *output, *lost) {
	t.Helper()
	var out output
	var l lost
	tel := telemetry.New(telemetry.Options{
		Out: &out, Version: "v1", Metrics: &l, Log: slog.New(slog.DiscardHandler),
		Resource: func() trace.Resource { return trace.Resource{Service: "payments"} },
	})
	t.Cleanup(func() { end(tel) })
	return tel, &out, &l
}

// end does not wait for a collector that is away.
func end(tel *telemetry.Telemetry) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	tel.Close(ctx)
}

func tracing(address string, perMillion uint32) *snapshot.Telemetry {
	return &snapshot.Telemetry{Tracing: &snapshot.Tracing{Endpoint: address, SamplePerMillion: perMillion}}
}

func logging(mode snapshot.AccessLog_Mode) *snapshot.Telemetry {
	return &snapshot.Telemetry{AccessLog: &snapshot.AccessLog{Mode: mode}}
}

type none struct{}

func (none) Header(string) ([]byte, int) { return nil, 0 }

func request() *exchange.Exchange {
	return &exchange.Exchange{
		Start: time.Now(), Port: 8080, Protocol: "HTTP/1.1", Method: []byte("GET"), RawPath: []byte("/"),
		Request: none{}, Peer: netip.MustParseAddr("10.0.0.9"),
	}
}

func pass(o exchange.Observer, status int) {
	x := request()
	o.Start(x)
	o.Done(x, &exchange.Record{Status: status, GRPCStatus: -1, Outcome: exchange.Replied})
}

func TestNobodyLooks(t *testing.T) {
	tel, _, _ := start(t)
	for name, cfg := range map[string]*snapshot.Telemetry{
		"absent": nil, "empty": {}, "log off": logging(snapshot.AccessLog_MODE_OFF), "no mode": logging(snapshot.AccessLog_MODE_UNSPECIFIED),
	} {
		if o := tel.Observer(cfg); o != nil {
			t.Errorf("%s: there is an observer, %v", name, o)
		}
	}
}

func TestModes(t *testing.T) {
	for mode, want := range map[snapshot.AccessLog_Mode]int{
		snapshot.AccessLog_MODE_ERRORS: 1, snapshot.AccessLog_MODE_SAMPLED: 2, snapshot.AccessLog_MODE_ALL: 2,
	} {
		tel, out, _ := start(t)
		cfg := logging(mode)
		if mode == snapshot.AccessLog_MODE_SAMPLED {
			cfg.AccessLog.SamplePerMillion = snapshot.PerMillion
		}
		o := tel.Observer(cfg)
		pass(o, 200)
		pass(o, 500)
		tel.Close(t.Context())
		if out.lines() != want {
			t.Errorf("%s: %d lines of 200 and 500, want %d", mode, out.lines(), want)
		}
	}
}

// A change of the settings loses no span: each observer sends where its own
// settings say, and what has not changed keeps its connection.
func TestSettingsChange(t *testing.T) {
	tel, out, l := start(t)
	var conns atomic.Int32
	first := tracetest.Start(t, "", nil, grpc.StatsHandler(&counter{conns: &conns}))
	second := tracetest.Start(t, "", nil)
	before := tel.Observer(tracing(first.Address, snapshot.PerMillion))
	pass(before, 200)
	first.Await(t, 1)
	same := tracing(first.Address, 1)
	same.AccessLog = &snapshot.AccessLog{Mode: snapshot.AccessLog_MODE_ALL}
	pass(tel.Observer(same), 200)
	after := tel.Observer(tracing(second.Address, snapshot.PerMillion))
	pass(after, 200)
	pass(before, 200) // began before the change
	tel.Close(t.Context())
	if f, s := len(first.Spans()), len(second.Spans()); f != 2 || s != 1 || l.spans.Load() != 0 {
		t.Errorf("%d spans at the first collector, %d at the second, %d dropped; want 2, 1 and 0", f, s, l.spans.Load())
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections to the first collector, want 1", conns.Load())
	}
	if out.lines() != 1 {
		t.Errorf("%d lines, want 1", out.lines())
	}
	// Nothing is kept open for what comes later.
	if o := tel.Observer(tracing(first.Address, snapshot.PerMillion)); o != nil {
		t.Error("there is an observer after Close")
	}
	pass(before, 200)
	if l.spans.Load() != 1 {
		t.Errorf("%d spans dropped after Close, want 1", l.spans.Load())
	}
}

func TestTLS(t *testing.T) {
	cert, ca := certificate(t, "collector.example")
	c := tracetest.Start(t, "", nil, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert}})))
	_, otherCA := certificate(t, "collector.example")
	for name, tc := range map[string]struct {
		tls   *snapshot.TLS
		sent  int
		fails bool
	}{
		"its name and its CA": {tls: &snapshot.TLS{ServerName: "collector.example", CaPem: ca}, sent: 1},
		"another name":        {tls: &snapshot.TLS{ServerName: "other.example", CaPem: ca}, fails: true},
		"another CA":          {tls: &snapshot.TLS{ServerName: "collector.example", CaPem: otherCA}, fails: true},
		"the image's roots":   {tls: &snapshot.TLS{ServerName: "collector.example"}, fails: true},
		"no certificate":      {tls: &snapshot.TLS{CaPem: "none"}, fails: true},
		"no TLS":              {fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			tel, _, l := start(t)
			cfg := tracing(c.Address, snapshot.PerMillion)
			cfg.Tracing.Tls = tc.tls
			before := len(c.Spans())
			pass(tel.Observer(cfg), 200)
			if !tc.fails {
				c.Await(t, before+tc.sent)
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			tel.Close(ctx)
			if l.spans.Load() != 1 || len(c.Spans()) != before {
				t.Errorf("%d spans dropped and %d sent, want 1 and none", l.spans.Load(), len(c.Spans())-before)
			}
		})
	}
}

// certificate makes one that signs itself, and its PEM.
func certificate(t *testing.T, name string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestResourceOf(t *testing.T) {
	for name, tc := range map[string]struct {
		snap           *snapshot.Snapshot
		namespace, pod string
		want           trace.Resource
	}{
		"no snapshot": {nil, "shop", "payments-1", trace.Resource{Service: "payments-1", Namespace: "shop", Pod: "payments-1"}},
		"a Service": {&snapshot.Snapshot{Ports: []*snapshot.Port{{Number: 1}, {Number: 2, Names: []string{"payments/8080", "payments/http"}}}},
			"shop", "payments-1", trace.Resource{Service: "payments", Namespace: "shop", Pod: "payments-1"}},
		"outside of a pod": {&snapshot.Snapshot{Workload: &snapshot.Workload{Namespace: "shop"}, Ports: []*snapshot.Port{{Names: []string{"payments/http"}}}},
			"", "", trace.Resource{Service: "payments", Namespace: "shop"}},
	} {
		if d := cmp.Diff(tc.want, telemetry.ResourceOf(tc.snap, tc.namespace, tc.pod)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
