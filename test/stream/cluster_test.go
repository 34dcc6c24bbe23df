// SPDX-License-Identifier: Apache-2.0

package stream

import (
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
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/configserver"
	"weir.dev/weir/controllers/hub"
	"weir.dev/weir/controllers/rollout"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/source"
)

func TestMain(m *testing.M) { testMain(m, func(m *testing.M) { goleak.VerifyTestMain(m) }) }

const operatorToken = "the-operator"

// tokens: a pod's token is its name.
type tokens struct{}

func (tokens) Authenticate(_ context.Context, token string) (configserver.Identity, error) {
	if token == operatorToken {
		return configserver.Identity{Namespace: "weir-system", ServiceAccount: "weir-operator"}, nil
	}
	if token == gatewayToken {
		return configserver.Identity{Namespace: "weir-system", ServiceAccount: "weir-rls", Pod: token, UID: "uid-" + token}, nil
	}
	return configserver.Identity{Namespace: "shop", ServiceAccount: "default", Pod: token, UID: "uid-" + token}, nil
}

// cluster is replicas of an operator with one CA and one Lease.
type cluster struct {
	t     *testing.T
	cert  *tls.Certificate
	roots *x509.CertPool
	dir   string

	mu     sync.Mutex
	leader string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, cert: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots: x509.NewCertPool(), dir: t.TempDir()}
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if !c.roots.AppendCertsFromPEM(bundle) {
		t.Fatal("no certificate")
	}
	c.write("ca.crt", bundle)
	c.write(operatorToken, []byte(operatorToken))
	return c
}

func (c *cluster) file(name string) string { return filepath.Join(c.dir, name) }

func (c *cluster) write(name string, content []byte) {
	c.t.Helper()
	if err := os.WriteFile(c.file(name), content, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) holder(context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader, nil
}

// replica is one operator process.
type replica struct {
	hub     *hub.Hub
	tracker *rollout.Tracker
	id      rollout.Identity
	port    string
	stop    func()
}

// start starts a replica on a free port, or on the one that is given.
func (c *cluster) start(name, port string) *replica {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		c.t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(l.Addr().String())
	r := &replica{hub: hub.New("c"), tracker: rollout.New(name), id: rollout.Identity{Pod: name, Address: addr}}
	_, r.port, _ = net.SplitHostPort(l.Addr().String())
	log := slog.New(slog.DiscardHandler)
	leading := func() bool {
		h, _ := c.holder(context.Background())
		return h == r.id.String()
	}
	server := configserver.New(configserver.Options{
		Hub:  r.hub,
		Auth: tokens{},
		Rollout: &rollout.Service{
			Tracker: r.tracker, Leading: leading, Authorize: configserver.Only(tokens{}, "weir-system", "weir-operator"),
		},
		Pod: func(_ context.Context, namespace, name string) (metav1.Object, error) {
			return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + name)}}, nil
		},
		Injected:    func(metav1.Object) bool { return true },
		Synced:      func() bool { return true },
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.cert, nil },
		Gateways:    configserver.Account{Namespace: "weir-system", Name: "weir-rls"},
		Log:         log,
	})
	follower := &rollout.Follower{
		Tracker: r.tracker, Self: r.id.String(), Leader: c.holder, Log: log,
		Dial: (&rollout.Dialer{ServerName: "localhost", Roots: func() *x509.CertPool { return c.roots }, TokenFile: c.file(operatorToken)}).Dial,
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(ctx, l); err != nil {
			c.t.Errorf("replica %s: %v", name, err)
		}
	})
	wg.Go(func() { _ = follower.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	c.t.Cleanup(r.stop)
	return r
}

func (c *cluster) elect(r *replica) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = r.id.String()
}

// sidecar is a source with an engine.
type sidecar struct {
	engine *engine.Engine
	source *source.Source
	stop   func()
}

// sidecar starts the sidecar of a pod, as a container that is new or, when the
// name was used before, has restarted.
func (c *cluster) sidecar(pod, port string, features []string) *sidecar {
	c.t.Helper()
	state := c.file("state-" + pod)
	if err := os.MkdirAll(state, 0o700); err != nil {
		c.t.Fatal(err)
	}
	c.write(pod, []byte(pod))
	s := &sidecar{engine: engine.New(engine.Options{})}
	s.source = source.New(source.Options{
		Address: "localhost:" + port, TokenFile: c.file(pod), CAFile: c.file("ca.crt"), StateDir: state,
		Version: "v0.1.0", Features: features, Sink: s.engine, Log: slog.New(slog.DiscardHandler),
	})
	s.source.Restore()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.source.Run(ctx) })
	s.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		s.engine.Close()
	})
	c.t.Cleanup(s.stop)
	return s
}

// governed reports whether a port has a filter.
func (s *sidecar) governed(port uint16) bool {
	p, _ := s.engine.Port(port)
	return p != nil && len(p.Chain) > 0
}

// eventually waits for what happens on its own.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 4000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// pod returns what a replica knows of a pod.
func (r *replica) pod(name string) *stream.PodState {
	for _, p := range r.tracker.Pods("shop") {
		if p.GetPod() == name {
			return p
		}
	}
	return &stream.PodState{}
}

// acked is the generation of a policy that a pod serves; 0: none.
func (r *replica) acked(pod, policy string) int64 {
	for _, g := range r.pod(pod).GetAcked() {
		if g.GetPolicy() == stream.KindRateLimitPolicy+"/"+policy {
			return g.GetGeneration()
		}
	}
	return 0
}
