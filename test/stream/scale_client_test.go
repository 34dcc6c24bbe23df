// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"weir.dev/weir/api/stream"
)

// envCrowd makes the test binary a crowd of sidecars: first pod, number of pods, port
// and CA file, so that what an operator needs is measured without them.
const envCrowd = "WEIR_TEST_CROWD"

// crowd acks what it is told until its standard input ends.
func crowd(spec string) error {
	f := strings.Fields(spec)
	first, err1 := strconv.Atoi(f[0])
	n, err2 := strconv.Atoi(f[1])
	bundle, err3 := os.ReadFile(f[3])
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return err
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var failed atomic.Int64
	atOnce := make(chan struct{}, 64)
	for i := range n {
		name := fmt.Sprintf("pod-%d", first+i)
		wg.Go(func() {
			atOnce <- struct{}{}
			leave := sync.OnceFunc(func() { <-atOnce })
			defer leave()
			for ctx.Err() == nil {
				if err := extra(ctx, name, f[2], roots, leave); err != nil && ctx.Err() == nil {
					failed.Add(1)
					time.Sleep(100 * time.Millisecond)
				}
			}
		})
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	cancel()
	wg.Wait()
	fmt.Printf("%d streams ended early\n", failed.Load())
	return nil
}

// extra is one sidecar of the crowd; it has a connection of its own, as they do.
func extra(ctx context.Context, name, port string, roots *x509.CertPool, connected func()) error {
	conn, err := grpc.NewClient("passthrough:///127.0.0.1:"+port,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{ServerName: "localhost", RootCAs: roots, MinVersion: tls.VersionTLS13})),
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10), grpc.WithDisableServiceConfig())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	out, err := stream.NewConfigClient(conn).Connect(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+name))
	if err != nil {
		return err
	}
	err = out.Send(&stream.FromSidecar{Message: &stream.FromSidecar_Hello{Hello: &stream.Hello{
		Version: "v0.1.0", Features: []string{stream.FeatureRateLimit},
	}}})
	for err == nil {
		var m *stream.ToSidecar
		if m, err = out.Recv(); err != nil {
			break
		}
		if u := m.GetSnapshot(); u != nil {
			connected()
			err = out.Send(&stream.FromSidecar{Message: &stream.FromSidecar_Ack{Ack: &stream.Ack{Hash: u.GetHash()}}})
		}
	}
	return err
}

func testMain(m *testing.M, run func(*testing.M)) {
	spec := os.Getenv(envCrowd)
	if spec == "" {
		run(m)
		return
	}
	if err := crowd(spec); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
