// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/hub"
	"weir.dev/weir/controllers/rollout"
)

const (
	// DefaultMaxAge is how long a stream lasts, give or take a fifth: sidecars
	// then spread over the replicas there are.
	DefaultMaxAge = 30 * time.Minute

	helloTimeout = 10 * time.Second
	stopTimeout  = 5 * time.Second
	// idle is how long a connection may have no call: whoever may reach the port
	// can open one without a token.
	idle = time.Minute
	// maxReceive bounds a message of a sidecar, or of another replica.
	maxReceive = 1 << 20
	maxSend    = 16 << 20
)

// Options of a Server. All but Gateways, MaxAge and Metrics are needed.
type Options struct {
	Hub     *hub.Hub
	Rollout *rollout.Service
	Auth    Authenticator
	// Pod returns a pod's metadata, from a cache; an error that is
	// apierrors.IsNotFound when there is none.
	Pod func(ctx context.Context, namespace, name string) (metav1.Object, error)
	// Injected reports whether the webhook has injected the pod.
	Injected func(metav1.Object) bool
	// Synced reports whether the hub knows all there is: caches are synced and
	// every workload has been published once.
	Synced func() bool
	// Certificate returns the serving certificate as it is now.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Gateways is the ServiceAccount of rate limit services, which get what governs all
	// namespaces, with all credentials; zero: none does.
	Gateways Account
	// MaxAge of a stream; 0: DefaultMaxAge.
	MaxAge  time.Duration
	Metrics *Metrics
	Log     *slog.Logger
}

// Server is the operator's gRPC server.
type Server struct {
	stream.UnimplementedConfigServer

	opts Options
	grpc *grpc.Server
	stop chan struct{}
	once sync.Once

	mu      sync.Mutex
	streams map[hub.Pod]chan struct{}
}

// New returns a server of the services Config and Rollout.
func New(opts Options) *Server {
	if opts.MaxAge == 0 {
		opts.MaxAge = DefaultMaxAge
	}
	s := &Server{opts: opts, stop: make(chan struct{}), streams: map[hub.Pod]chan struct{}{}}
	s.grpc = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(&tls.Config{
			GetCertificate: opts.Certificate,
			MinVersion:     tls.VersionTLS13,
		})),
		grpc.MaxRecvMsgSize(maxReceive),
		grpc.MaxSendMsgSize(maxSend),
		grpc.MaxConcurrentStreams(8),
		grpc.ConnectionTimeout(helloTimeout),
		// Thousands of connections carry a few messages an hour: buffers of their own
		// would be most of the operator's memory.
		grpc.ReadBufferSize(4<<10),
		grpc.WriteBufferSize(4<<10),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 20 * time.Second, Timeout: 10 * time.Second, MaxConnectionIdle: idle}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)
	stream.RegisterConfigServer(s.grpc, s)
	stream.RegisterRolloutServer(s.grpc, opts.Rollout)
	return s
}

// Serve accepts connections on l until ctx ends; it closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	done := make(chan struct{})
	defer close(done)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		s.once.Do(func() { close(s.stop) })
		force := time.AfterFunc(stopTimeout, s.grpc.Stop)
		defer force.Stop()
		s.grpc.GracefulStop()
	}()
	err := s.grpc.Serve(l)
	if ctx.Err() != nil {
		<-stopped
		return nil
	}
	return err
}
