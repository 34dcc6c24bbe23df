// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/hub"
	"weir.dev/weir/controllers/rollout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tokens authenticates by a table: `pod` is the token of shop/pod.
type tokens struct{ down atomic.Bool }

func (a *tokens) Authenticate(_ context.Context, token string) (Identity, error) {
	id := Identity{Namespace: "shop", ServiceAccount: "default", Pod: token, UID: "uid-" + token}
	switch {
	case a.down.Load():
		return Identity{}, errors.New("the API server is away")
	case token == "stranger":
		return Identity{}, ErrUnauthenticated
	case token == "unbound":
		id.Pod, id.UID = "", ""
	case token == "operator":
		id.Namespace, id.ServiceAccount = "weir-system", "weir-operator"
	case token == "imposter":
		id.ServiceAccount = "weir-operator"
	}
	return id, nil
}

// pods are the pods of the namespace shop.
func pods(_ context.Context, namespace, name string) (metav1.Object, error) {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + name)}}
	switch name {
	case "unseen":
		return nil, apierrors.NewNotFound(corev1.Resource("pods"), name)
	case "recreated":
		p.UID = "another"
	case "bare":
	default:
		p.Annotations = map[string]string{"injected": "yes"}
	}
	return p, nil
}

type fixture struct {
	hub     *hub.Hub
	tracker *rollout.Tracker
	auth    *tokens
	synced  atomic.Bool
	leading atomic.Bool
	conn    *grpc.ClientConn
	stop    func()
}

func start(t *testing.T, change func(*Options)) *fixture {
	t.Helper()
	f := &fixture{hub: hub.New("c"), tracker: rollout.New("a"), auth: &tokens{}}
	f.synced.Store(true)
	cert, roots := certificate(t)
	opts := Options{
		Hub: f.hub, Auth: f.auth, Pod: pods, Synced: f.synced.Load,
		Rollout:     &rollout.Service{Tracker: f.tracker, Leading: f.leading.Load, Authorize: Only(f.auth, "weir-system", "weir-operator")},
		Injected:    func(o metav1.Object) bool { return o.GetAnnotations()["injected"] == "yes" },
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil },
		Log:         slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&opts)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(opts).Serve(ctx, l) }()
	f.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		done <- nil
	}
	t.Cleanup(f.stop)
	f.conn, err = grpc.NewClient("passthrough:///"+l.Addr().String(),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{ServerName: "weir", RootCAs: roots, MinVersion: tls.VersionTLS13})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.conn.Close() })
	return f
}

func certificate(t *testing.T) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"weir"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// sidecar is a client that does what a test says.
type sidecar struct {
	t      *testing.T
	stream stream.Config_ConnectClient
}

func (f *fixture) connect(t *testing.T, token string) *sidecar {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	s, err := stream.NewConfigClient(f.conn).Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &sidecar{t: t, stream: s}
}

func (s *sidecar) hello(last string) *sidecar {
	s.send(&stream.FromSidecar{Message: &stream.FromSidecar_Hello{Hello: &stream.Hello{
		Version: "v0.1.0", Features: []string{stream.FeatureRateLimit}, LastHash: last,
	}}})
	return s
}

func (s *sidecar) send(m *stream.FromSidecar) { _ = s.stream.Send(m) }

func (s *sidecar) ack(hash string) {
	s.send(&stream.FromSidecar{Message: &stream.FromSidecar_Ack{Ack: &stream.Ack{Hash: hash}}})
}

func (s *sidecar) receive() *stream.ToSidecar {
	s.t.Helper()
	m, err := s.stream.Recv()
	if err != nil {
		s.t.Fatalf("the stream has ended: %v", err)
	}
	return m
}

// end returns the status that the stream ends with.
func (s *sidecar) end() error {
	for {
		if _, err := s.stream.Recv(); err != nil {
			return err
		}
	}
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func publication(generation int64) hub.Publication {
	return hub.Publication{
		Snapshot: &snapshot.Snapshot{
			Workload:          &snapshot.Workload{Cluster: "c", Namespace: "shop", Key: "w"},
			Ports:             []*snapshot.Port{{Number: 8080, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "pay"}},
			RateLimitPolicies: []*snapshot.RateLimitPolicy{{Name: "pay", Generation: generation}},
		},
		Secrets: &stream.Secrets{Stores: []*stream.StoreCredentials{{Store: "default", Version: "1", Password: "p"}}},
	}
}

var workload = hub.Workload{Namespace: "shop", Key: "w"}

func podOf(name string) hub.Pod {
	return hub.Pod{Namespace: "shop", Name: name, UID: "uid-" + name}
}

// values are the registry's metrics, each of one series.
func values(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		out[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	return out
}
