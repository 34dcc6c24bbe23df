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
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

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

func TestWhoMayConnect(t *testing.T) {
	f := start(t, nil)
	for name, tc := range map[string]struct {
		token string
		want  codes.Code
		text  string
	}{
		"no token":           {"", codes.Unauthenticated, "authorization"},
		"unknown token":      {"stranger", codes.Unauthenticated, "not accepted"},
		"not bound to a pod": {"unbound", codes.PermissionDenied, "not bound"},
		"not injected":       {"bare", codes.PermissionDenied, "pod shop/bare was not injected"},
		"not seen yet":       {"unseen", codes.Unavailable, "not known here yet"},
		"another pod's uid":  {"recreated", codes.Unavailable, "not known here yet"},
	} {
		t.Run(name, func(t *testing.T) {
			err := f.connect(t, tc.token).hello("").end()
			if status.Code(err) != tc.want || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %s with %q", err, tc.want, tc.text)
			}
		})
	}
	f.auth.down.Store(true)
	if err := f.connect(t, "one").hello("").end(); status.Code(err) != codes.Unavailable {
		t.Errorf("when tokens can't be checked: %v, want Unavailable", err)
	}
	f.auth.down.Store(false)
	f.synced.Store(false)
	if err := f.connect(t, "one").hello("").end(); status.Code(err) != codes.Unavailable {
		t.Errorf("before caches are synced: %v, want Unavailable", err)
	}
	if got := f.tracker.Namespaces(); len(got) != 0 {
		t.Errorf("pods that were not let in are counted: %v", got)
	}
}

func TestStream(t *testing.T) {
	f := start(t, nil)
	f.hub.Publish(workload, publication(1))
	f.hub.Assign(podOf("one"), workload)
	s := f.connect(t, "one").hello("")
	if m := s.receive(); m.GetSecrets() == nil {
		t.Fatalf("first message %v, want secrets", m)
	}
	u := s.receive().GetSnapshot()
	s.ack(u.GetHash())
	eventually(t, "acked", func() bool {
		p := f.tracker.Pods("shop")
		return len(p) == 1 && p[0].GetAckedHash() == u.GetHash() && p[0].GetConnected()
	})
	p := f.tracker.Pods("shop")[0]
	if g := p.GetAcked(); len(g) != 1 || g[0].GetPolicy() != "RateLimitPolicy/pay" || g[0].GetGeneration() != 1 {
		t.Errorf("acked %v", g)
	}
	if p.GetVersion() != "v0.1.0" || p.GetWorkload() != "w" || p.GetUid() != "uid-one" {
		t.Errorf("state %v", p)
	}

	// The pod moves to no workload at all on its open stream.
	f.hub.Assign(podOf("one"), hub.Workload{Namespace: "shop"})
	empty := s.receive().GetSnapshot()
	if len(empty.GetSnapshot().GetPorts()) != 0 {
		t.Errorf("a pod without a workload gets ports: %v", empty)
	}
	s.ack(empty.GetHash())
	_ = s.stream.CloseSend()
	if err := s.end(); err == nil {
		t.Error("no end after CloseSend")
	}
	eventually(t, "gone", func() bool { return !f.tracker.Pods("shop")[0].GetConnected() })
}

// A pod that is connected but not assigned gets nothing, not an empty snapshot.
func TestUnassigned(t *testing.T) {
	f := start(t, nil)
	f.hub.Publish(workload, publication(1))
	s := f.connect(t, "one").hello("")
	eventually(t, "connected", func() bool { return len(f.tracker.Pods("shop")) == 1 })
	f.hub.Assign(podOf("one"), workload)
	if m := s.receive(); m.GetSecrets() == nil {
		t.Errorf("first message %v, want the workload's secrets", m)
	}
	if u := s.receive().GetSnapshot(); len(u.GetSnapshot().GetRateLimitPolicies()) != 1 {
		t.Errorf("first snapshot %v, want the workload's", u)
	}
}

func TestBadStreams(t *testing.T) {
	f := start(t, nil)
	f.hub.Assign(podOf("one"), hub.Workload{Namespace: "shop"})
	report := func(n int) *stream.FromSidecar {
		r := &stream.Report{}
		for range n {
			r.Shadow = append(r.Shadow, &stream.ShadowCount{Policy: "p", Limit: "l"})
		}
		return &stream.FromSidecar{Message: &stream.FromSidecar_Report{Report: r}}
	}
	for name, tc := range map[string]struct {
		do   func(s *sidecar)
		want codes.Code
	}{
		"no hello":      {func(s *sidecar) { s.ack("h") }, codes.FailedPrecondition},
		"two hellos":    {func(s *sidecar) { s.hello("").hello("") }, codes.FailedPrecondition},
		"a long hash":   {func(s *sidecar) { s.hello(strings.Repeat("h", maxName+1)) }, codes.InvalidArgument},
		"a long report": {func(s *sidecar) { s.hello("").send(report(maxShadow + 1)) }, codes.InvalidArgument},
		"too many messages": {func(s *sidecar) {
			s.hello("")
			for range burst + 1 {
				s.ack("x")
			}
		}, codes.ResourceExhausted},
		"too large a message": {func(s *sidecar) {
			s.hello("").ack(strings.Repeat("h", maxReceive))
		}, codes.ResourceExhausted},
	} {
		t.Run(name, func(t *testing.T) {
			s := f.connect(t, "one")
			tc.do(s)
			if err := s.end(); status.Code(err) != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestStreamAges(t *testing.T) {
	f := start(t, func(o *Options) { o.MaxAge = 50 * time.Millisecond })
	if err := f.connect(t, "one").hello("").end(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
}

func TestStopping(t *testing.T) {
	f := start(t, nil)
	s := f.connect(t, "one").hello("")
	if _, err := s.stream.Header(); err != nil {
		t.Fatal(err)
	}
	f.stop()
	if err := s.end(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
}

func TestWhoMayFollow(t *testing.T) {
	f := start(t, nil)
	f.leading.Store(true)
	for token, want := range map[string]codes.Code{
		"operator": codes.OK, "one": codes.PermissionDenied, "imposter": codes.PermissionDenied, "stranger": codes.Unauthenticated,
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
		s, err := stream.NewRolloutClient(f.conn).Follow(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Send(&stream.RolloutDelta{Replica: "b", Full: true})
		if _, err := s.CloseAndRecv(); status.Code(err) != want {
			t.Errorf("%s: %v, want %s", token, err, want)
		}
	}
}

func TestJitter(t *testing.T) {
	for range 1000 {
		if d := jitter(time.Minute); d < 48*time.Second || d > 72*time.Second {
			t.Fatalf("%s is not a minute give or take a fifth", d)
		}
	}
}
