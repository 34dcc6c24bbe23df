// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink records what it is given, and refuses policies called bad.
type sink struct {
	mu     sync.Mutex
	log    []string
	report *stream.Report
}

func (s *sink) add(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

// take returns what has happened since the last call.
func (s *sink) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := strings.Join(s.log, "; ")
	s.log = nil
	return out
}

func (s *sink) Apply(snap *snapshot.Snapshot) error {
	for _, p := range snap.GetRateLimitPolicies() {
		if p.GetName() == "bad" {
			return fmt.Errorf("apply: %w", &engine.Refusal{Policy: "RateLimitPolicy/bad", Reason: "No."})
		}
		if p.GetName() == "worse" {
			return errors.New("nothing of this is possible")
		}
		s.add("apply %s", p.GetName())
	}
	return nil
}

func (s *sink) SetSecrets(v *stream.Secrets) error {
	if st := v.GetStores(); len(st) > 0 {
		s.add("secrets %s", st[0].GetPassword())
	}
	return nil
}

func (s *sink) SetPeers(m map[string]uint32) { s.add("peers %v", m) }
func (s *sink) setReport(r *stream.Report)   { s.mu.Lock(); s.report = r; s.mu.Unlock() }
func (s *sink) Report() *stream.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return proto.CloneOf(s.report)
}

// operator is a server whose streams a test plays by hand.
type operator struct {
	stream.UnimplementedConfigServer
	lis     *bufconn.Listener
	server  *grpc.Server
	streams chan *call
	// refuse is what Connect returns at once, if set.
	refuse error
	mu     sync.Mutex
	calls  []time.Time
}

// call is one stream at the operator's end.
type call struct {
	stream.Config_ConnectServer
	token string
	hello *stream.Hello
	end   chan error
}

func newServer() *grpc.Server {
	return grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second}))
}

func newOperator() *operator {
	o := &operator{lis: bufconn.Listen(1 << 16), server: newServer(), streams: make(chan *call, 100)}
	stream.RegisterConfigServer(o.server, o)
	go func() { _ = o.server.Serve(o.lis) }()
	return o
}

func (o *operator) Connect(conn stream.Config_ConnectServer) error {
	o.mu.Lock()
	o.calls = append(o.calls, time.Now())
	refuse := o.refuse
	o.mu.Unlock()
	if refuse != nil {
		return refuse
	}
	m, err := conn.Recv()
	if err != nil {
		return err
	}
	if err := conn.SendHeader(nil); err != nil {
		return err
	}
	md, _ := metadata.FromIncomingContext(conn.Context())
	c := &call{Config_ConnectServer: conn, token: strings.Join(md.Get("authorization"), ","), hello: m.GetHello(), end: make(chan error, 1)}
	o.streams <- c
	select {
	case err := <-c.end:
		return err
	case <-conn.Context().Done():
		return conn.Context().Err()
	}
}

func (o *operator) dial() (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///operator", append(dialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return o.lis.DialContext(ctx) }))...)
}

func (c *call) receive(t *testing.T) *stream.FromSidecar {
	t.Helper()
	m, err := c.Recv()
	if err != nil {
		t.Fatalf("the sidecar has gone: %v", err)
	}
	return m
}

func update(hash, policy string) *stream.ToSidecar {
	return &stream.ToSidecar{Message: &stream.ToSidecar_Snapshot{Snapshot: &stream.SnapshotUpdate{
		Hash: hash, Snapshot: &snapshot.Snapshot{RateLimitPolicies: []*snapshot.RateLimitPolicy{{Name: policy}}},
	}}}
}

func secrets(password string) *stream.ToSidecar {
	return &stream.ToSidecar{Message: &stream.ToSidecar_Secrets{Secrets: &stream.Secrets{
		Stores: []*stream.StoreCredentials{{Store: "default", Password: password}},
	}}}
}

func peersOf(n uint32) *stream.ToSidecar {
	return &stream.ToSidecar{Message: &stream.ToSidecar_Peers{Peers: &stream.Peers{Policies: []*stream.PolicyPeers{{Policy: "pay", ReadyPods: n}}}}}
}

func options(t *testing.T, o *operator, s *sink) Options {
	t.Helper()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("t0ken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	opts := Options{
		Address: "operator:8443", TokenFile: token, StateDir: dir, Version: "v0.1.0", Features: []string{"f"},
		Sink: s, Log: slog.New(slog.DiscardHandler),
	}
	if o != nil {
		opts.dial = o.dial
	}
	return opts
}

// run runs src until the test's function returns.
func run(t *testing.T, src *Source, o *operator) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = src.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
		o.server.Stop()
	}
}
