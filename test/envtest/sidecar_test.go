// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	corev1 "k8s.io/api/core/v1"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
)

// sidecar is a config stream of one pod. It acks what answer does not refuse.
type sidecar struct {
	conn *grpc.ClientConn
	out  grpc.BidiStreamingClient[stream.FromSidecar, stream.ToSidecar]
	stop context.CancelFunc
	done chan struct{}
	// sending lets one goroutine send at a time.
	sending sync.Mutex

	mu      sync.Mutex
	answer  func(*snapshot.Snapshot) *stream.Nack
	serving *stream.SnapshotUpdate
	secrets *stream.Secrets
	peers   *stream.Peers
	err     error
}

var features = []string{stream.FeatureRateLimit}

// connect opens a pod's stream to a replica, as soon as the replica lets it.
func (c *cluster) connect(r *replica, pod *corev1.Pod, features []string, answer func(*snapshot.Snapshot) *stream.Nack) *sidecar {
	c.Helper()
	conn, err := grpc.NewClient("passthrough:///"+r.address,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{ServerName: serverName, RootCAs: c.roots, MinVersion: tls.VersionTLS13})))
	if err != nil {
		c.Fatal(err)
	}
	token := requestToken(c.T, pod.Namespace, "default", pod)
	s := &sidecar{conn: conn, done: make(chan struct{}), answer: answer}
	eventually(c.T, "the sidecar of "+pod.Name+" is not let in", func() error {
		ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(c.Context(), "authorization", "Bearer "+token))
		s.stop = cancel
		s.out, err = stream.NewConfigClient(conn).Connect(ctx)
		if err == nil {
			err = s.out.Send(&stream.FromSidecar{Message: &stream.FromSidecar_Hello{Hello: &stream.Hello{Version: "test", Features: features}}})
		}
		if err == nil {
			// Headers come once the server has accepted the pod.
			var md metadata.MD
			if md, err = s.out.Header(); err == nil && md == nil {
				_, err = s.out.Recv()
			}
		}
		if err != nil {
			cancel()
		}
		return err
	})
	go s.run()
	c.Cleanup(s.close)
	return s
}

func (s *sidecar) run() {
	defer close(s.done)
	for {
		m, err := s.out.Recv()
		if err != nil {
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
			return
		}
		if reply := s.take(m); reply != nil {
			s.sending.Lock()
			err := s.out.Send(reply)
			s.sending.Unlock()
			if err != nil {
				return
			}
		}
	}
}

func (s *sidecar) take(m *stream.ToSidecar) *stream.FromSidecar {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m := m.GetMessage().(type) {
	case *stream.ToSidecar_Secrets:
		s.secrets = m.Secrets
	case *stream.ToSidecar_Peers:
		s.peers = m.Peers
	case *stream.ToSidecar_Snapshot:
		if s.answer != nil {
			if n := s.answer(m.Snapshot.GetSnapshot()); n != nil {
				n.Hash = m.Snapshot.GetHash()
				return &stream.FromSidecar{Message: &stream.FromSidecar_Nack{Nack: n}}
			}
		}
		s.serving = m.Snapshot
		return &stream.FromSidecar{Message: &stream.FromSidecar_Ack{Ack: &stream.Ack{Hash: m.Snapshot.GetHash()}}}
	}
	return nil
}

// governs returns nil when the sidecar serves exactly these policies, as
// name@generation, and kind/name@generation of other kinds than RateLimitPolicy.
func (s *sidecar) governs(want ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving == nil {
		return fmt.Errorf("no snapshot; stream error %w", s.err)
	}
	got := []string{}
	for p := range snapshot.Policies(s.serving.GetSnapshot()) {
		name := p.GetName()
		if kind := snapshot.IDOf(p).Kind; kind != snapshot.KindRateLimitPolicy {
			name = kind + "/" + name
		}
		got = append(got, fmt.Sprintf("%s@%d", name, p.GetGeneration()))
	}
	if fmt.Sprint(got) != fmt.Sprint(append([]string{}, want...)) {
		return fmt.Errorf("serves %v, want %v", got, want)
	}
	return nil
}

func (s *sidecar) report(t *testing.T, r *stream.Report) {
	t.Helper()
	s.sending.Lock()
	defer s.sending.Unlock()
	if err := s.out.Send(&stream.FromSidecar{Message: &stream.FromSidecar_Report{Report: r}}); err != nil {
		t.Fatal(err)
	}
}

func (s *sidecar) close() {
	s.stop()
	<-s.done
	_ = s.conn.Close()
}
