// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Dialer connects to other replicas.
type Dialer struct {
	// ServerName is what the replicas' certificates are for.
	ServerName string
	// Roots returns the CA's certificates as they are now.
	Roots func() *x509.CertPool
	// TokenFile is a projected token of the operator's own ServiceAccount.
	TokenFile string
}

// Dial makes a connection; it is opened by the first call on it.
func (d *Dialer) Dial(id Identity) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+id.Address.String(),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
			ServerName: d.ServerName,
			RootCAs:    d.Roots(),
			MinVersion: tls.VersionTLS13,
		})),
		grpc.WithNoProxy(),
		grpc.WithPerRPCCredentials(tokenFile(d.TokenFile)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
	)
}

// tokenFile is read for each call: the kubelet replaces it.
type tokenFile string

func (f tokenFile) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	b, err := os.ReadFile(string(f))
	if err != nil {
		return nil, fmt.Errorf("service account token: %w", err)
	}
	return map[string]string{"authorization": "Bearer " + strings.TrimSpace(string(b))}, nil
}

func (tokenFile) RequireTransportSecurity() bool { return true }

// LeaseHolder returns a Follower's Leader that reads a Lease.
func LeaseHolder(r client.Reader, namespace, name string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		var lease coordinationv1.Lease
		err := r.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &lease)
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("lease %s/%s: %w", namespace, name, err)
		}
		if lease.Spec.HolderIdentity == nil {
			return "", nil
		}
		return *lease.Spec.HolderIdentity, nil
	}
}
