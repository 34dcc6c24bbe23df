// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/stream"
)

const (
	// reportEvery is the least time between two reports.
	reportEvery = 10 * time.Second
	// connectTimeout bounds the time until the server has answered the first
	// time, which it does not before it knows what the pod gets.
	connectTimeout = 10 * time.Second
	// maxServing bounds the snapshot in Hello.
	maxServing = 256 << 10
	// maxReceive is what the engine takes, and some more.
	maxReceive = 16 << 20
)

// dialer makes a connection; the first call on it opens it.
type dialer func() (*grpc.ClientConn, error)

func (o *Options) dialTLS() (*grpc.ClientConn, error) {
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return nil, fmt.Errorf("address of the operator: %w", err)
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca certificates: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca certificates: %s has none", o.CAFile)
	}
	return grpc.NewClient("passthrough:///"+o.Address, append(dialOptions(),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
			ServerName: host,
			RootCAs:    roots,
			MinVersion: tls.VersionTLS13,
		})))...)
}

// dialOptions keep a connection small: it carries a few messages an hour.
func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceive)),
		grpc.WithReadBufferSize(4 << 10),
		grpc.WithWriteBufferSize(4 << 10),
		grpc.WithDisableServiceConfig(),
		// The operator is in the cluster; HTTPS_PROXY is for what is not.
		grpc.WithNoProxy(),
	}
}

// token is the value of the header authorization.
func (o *Options) token() (string, error) {
	b, err := os.ReadFile(o.TokenFile)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return "Bearer " + strings.TrimSpace(string(b)), nil
}

// connect opens a stream and serves it until it breaks.
func (s *Source) connect(ctx context.Context) error {
	token, err := s.opts.token()
	if err != nil {
		return err
	}
	conn, err := s.opts.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A server that accepts and says nothing is no server.
	timeout := time.AfterFunc(connectTimeout, cancel)
	defer timeout.Stop()
	call := metadata.AppendToOutgoingContext(ctx, "authorization", token)
	out, err := stream.NewConfigClient(conn).Connect(call)
	if err != nil {
		return err
	}
	if err := out.Send(&stream.FromSidecar{Message: &stream.FromSidecar_Hello{Hello: s.hello()}}); err != nil {
		return reason(out)
	}
	if md, err := out.Header(); err != nil {
		return err
	} else if md == nil {
		return reason(out)
	}
	timeout.Stop()
	s.up.Store(true)
	s.opts.Log.Info("config stream open", "operator", s.opts.Address)
	return s.serve(out)
}

func (s *Source) hello() *stream.Hello {
	h := &stream.Hello{Version: s.opts.Version, Features: s.opts.Features, LastHash: s.state.GetSnapshot().GetHash()}
	if snap := s.state.GetSnapshot().GetSnapshot(); proto.Size(snap) <= maxServing {
		h.Serving = snap
	}
	return h
}

// received is a message, or the error that ends the stream.
type received struct {
	message *stream.ToSidecar
	err     error
}

// serve ends with the stream, which ends with the context it was opened with.
func (s *Source) serve(out stream.Config_ConnectClient) error {
	in := make(chan received)
	left, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			m, err := out.Recv()
			select {
			case in <- received{message: m, err: err}:
			case <-left:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		close(left)
		<-ended
	}()
	report := time.NewTicker(reportEvery)
	defer report.Stop()
	var reported *stream.Report
	for {
		var answer *stream.FromSidecar
		select {
		case r := <-in:
			if r.err != nil {
				return r.err
			}
			answer = s.take(r.message)
		case <-report.C:
			r := s.changed(reported)
			if r == nil {
				continue
			}
			reported = r
			answer = &stream.FromSidecar{Message: &stream.FromSidecar_Report{Report: r}}
		}
		if answer == nil {
			continue
		}
		if err := out.Send(answer); err != nil {
			return drain(in)
		}
	}
}

// drain returns why a stream broke: the status comes after the last message.
func drain(in <-chan received) error {
	for {
		if r := <-in; r.err != nil {
			return r.err
		}
	}
}

// reason is drain for a stream that nobody reads yet.
func reason(out stream.Config_ConnectClient) error {
	for {
		if _, err := out.Recv(); err != nil {
			return err
		}
	}
}
