// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/controllers/config"
	"weir.dev/weir/controllers/configserver"
	"weir.dev/weir/controllers/hub"
	"weir.dev/weir/controllers/keys"
	"weir.dev/weir/controllers/mapping"
	"weir.dev/weir/controllers/policy"
	"weir.dev/weir/controllers/rollout"
	"weir.dev/weir/controllers/status"
)

const serverName = "weir-operator.weir-system.svc"

// cluster is an operator of several replicas, with a Lease of its own. It sees one
// namespace, so that tests can run side by side.
type cluster struct {
	*testing.T
	namespace string
	lease     string
	config    config.Config
	cert      *tls.Certificate
	roots     *x509.CertPool
	token     string
	// tokens has the keys of JWT providers, nil where there is none.
	tokens policy.JWTKeys
	// statuses is what statuses are written with, if not the manager's client.
	statuses client.StatusClient
}

// replica is one process of the operator, without webhooks.
type replica struct {
	name    string
	address string
	manager manager.Manager
	kill    func()
}

func newCluster(t *testing.T, c config.Config) *cluster {
	t.Helper()
	out := &cluster{T: t, namespace: newNamespace(t), lease: fmt.Sprintf("weir-%d", server.names.Add(1)), config: c}
	out.cert, out.roots = certificate(t)
	out.token = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(out.token, []byte(requestToken(t, systemNamespace, "weir-operator", nil)), 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

// alone runs the only replica, which needs no Lease to lead.
func (c *cluster) alone() *replica {
	c.Helper()
	return c.run("alone", false)
}

// start runs one of several replicas. A killed one does not give its Lease back.
func (c *cluster) start(name string) *replica {
	c.Helper()
	return c.run(name, true)
}

func (c *cluster) run(name string, elect bool) *replica {
	c.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.Fatal(err)
	}
	r := &replica{name: name, address: listener.Addr().String()}
	self := rollout.Identity{Pod: name, Address: netip.MustParseAddrPort(r.address)}.String()
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, systemNamespace, c.lease,
		server.kube.CoreV1(), server.kube.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: self})
	if err != nil {
		c.Fatal(err)
	}
	duration, renew, retry := 6*time.Second, 5*time.Second, 500*time.Millisecond
	r.manager, err = ctrl.NewManager(server.config, ctrl.Options{
		Scheme: server.scheme,
		Cache: cache.Options{
			ByObject:          policy.ByObject(systemNamespace),
			DefaultNamespaces: map[string]cache.Config{c.namespace: {}},
		},
		Metrics:                             metricsserver.Options{BindAddress: "0"},
		LeaderElection:                      elect,
		LeaderElectionResourceLockInterface: lock,
		LeaseDuration:                       &duration, RenewDeadline: &renew, RetryPeriod: &retry,
	})
	if err != nil {
		c.Fatal(err)
	}
	c.wire(r, self, listener)
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.Context()))
	done := make(chan error, 1)
	go func() { done <- r.manager.Start(ctx) }()
	stopped := false
	r.kill = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			c.Errorf("replica %s: %v", name, err)
		}
	}
	c.Cleanup(r.kill)
	return r
}

// wire is what a main does.
func (c *cluster) wire(r *replica, self string, listener net.Listener) {
	log := slog.New(slog.DiscardHandler)
	h, tracker := hub.New("test"), rollout.New(r.name)
	store := &status.Cluster{Reader: r.manager.GetCache(), Writer: r.manager.GetClient()}
	if c.statuses != nil {
		store.Writer = c.statuses
	}
	writer := status.New(store, tracker, log)
	opts := keys.Options{Client: server.client, Namespace: systemNamespace, Every: 100 * time.Millisecond, Log: log}
	root, err := keys.OpenRoot(c.Context(), opts)
	if err != nil {
		c.Fatal(err)
	}
	secrets := keys.NewSecrets(opts)
	mappings := mapping.New(mapping.Options{Client: server.client, Every: 100 * time.Millisecond, Log: log})
	reconciler := policy.New(policy.Options{
		Reader: r.manager.GetCache(), Config: c.config, Cluster: "test", OperatorNamespace: systemNamespace,
		Hub: h, Rollout: tracker, Status: writer, Keys: root, Secrets: secrets, JWT: c.tokens, Log: log,
		Mappings: mappings, Events: r.manager.GetEventRecorder("weir-operator"),
	})
	auth := configserver.NewTokenReviews(server.kube.AuthenticationV1().TokenReviews())
	service := &rollout.Service{
		Tracker: tracker, Leading: r.leading, Authorize: configserver.Only(auth, systemNamespace, "weir-operator"),
	}
	streams := configserver.New(configserver.Options{
		Hub: h, Rollout: service, Auth: auth, Synced: reconciler.Synced, Injected: policy.Injected, Log: log,
		Gateways:    configserver.Account{Namespace: c.namespace, Name: gatewayAccount},
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.cert, nil },
		Pod: func(ctx context.Context, ns, name string) (metav1.Object, error) {
			pod := &corev1.Pod{}
			return pod, r.manager.GetCache().Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, pod)
		},
	})
	dialer := &rollout.Dialer{ServerName: serverName, Roots: func() *x509.CertPool { return c.roots }, TokenFile: c.token}
	follower := &rollout.Follower{
		Tracker: tracker, Self: self, Leader: rollout.LeaseHolder(r.manager.GetAPIReader(), systemNamespace, c.lease), Dial: dialer.Dial, Log: log,
	}
	for _, add := range []func() error{
		func() error { return reconciler.SetupWithManager(r.manager) },
		func() error { return r.manager.Add(writer) },
		func() error {
			return r.manager.Add(everywhere(func(ctx context.Context) error { return streams.Serve(ctx, listener) }))
		},
		func() error { return r.manager.Add(everywhere(follower.Run)) },
		func() error { return r.manager.Add(everywhere(root.Run)) },
		func() error { return r.manager.Add(everywhere(secrets.Run)) },
		func() error { return r.manager.Add(everywhere(mappings.Run)) },
	} {
		if err := add(); err != nil {
			c.Fatal(err)
		}
	}
}

// everywhere runs on every replica.
type everywhere func(context.Context) error

func (f everywhere) Start(ctx context.Context) error { return f(ctx) }

func (everywhere) NeedLeaderElection() bool { return false }

func (r *replica) leading() bool {
	select {
	case <-r.manager.Elected():
		return true
	default:
		return false
	}
}

// leader waits for one of several replicas to lead, and returns the others too.
func (c *cluster) leader(all ...*replica) (*replica, []*replica) {
	c.Helper()
	var leader *replica
	eventually(c.T, "no replica leads", func() error {
		for _, r := range all {
			if r.leading() {
				leader = r
				return nil
			}
		}
		return fmt.Errorf("of %d", len(all))
	})
	var others []*replica
	for _, r := range all {
		if r != leader {
			others = append(others, r)
		}
	}
	return leader, others
}

// requestToken asks for a token of the audience weir.dev, bound to pod if there is
// one.
func requestToken(t *testing.T, ns, account string, pod *corev1.Pod) string {
	t.Helper()
	seconds := int64(3600)
	r := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{podspec.Audience}, ExpirationSeconds: &seconds,
	}}
	if pod != nil {
		r.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}
	}
	r, err := server.kube.CoreV1().ServiceAccounts(ns).CreateToken(t.Context(), account, r, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("token: %v", err)
	}
	return r.Status.Token
}

func certificate(t *testing.T) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{serverName}, NotAfter: time.Now().Add(time.Hour),
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
