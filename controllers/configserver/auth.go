// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Identity is who a token belongs to.
type Identity struct {
	Namespace      string
	ServiceAccount string
	// Pod and UID are of the pod the token is bound to; empty when it is bound
	// to none.
	Pod string
	UID string
}

// Authenticator turns a token into an identity. ErrUnauthenticated says that the
// token is not accepted, every other error that it could not be checked.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (Identity, error)
}

// ErrUnauthenticated is the error for a token that is not accepted.
var ErrUnauthenticated = errors.New("token not accepted")

// identify authenticates the caller of an RPC; errors are status errors.
func identify(ctx context.Context, a Authenticator) (Identity, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) != 1 {
		return Identity{}, status.Error(codes.Unauthenticated, "one authorization header is needed: Bearer <token>")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return Identity{}, status.Error(codes.Unauthenticated, "the authorization header is not Bearer <token>")
	}
	id, err := a.Authenticate(ctx, token)
	switch {
	case errors.Is(err, ErrUnauthenticated):
		return Identity{}, status.Error(codes.Unauthenticated, err.Error())
	case err != nil:
		return Identity{}, status.Errorf(codes.Unavailable, "the token could not be checked: %v", err)
	}
	return id, nil
}

// Only returns a check that lets one ServiceAccount pass: for rollout.Service,
// the operator's own.
func Only(a Authenticator, namespace, serviceAccount string) func(context.Context) error {
	return func(ctx context.Context) error {
		id, err := identify(ctx, a)
		if err != nil {
			return err
		}
		if id.Namespace != namespace || id.ServiceAccount != serviceAccount {
			return status.Errorf(codes.PermissionDenied, "ServiceAccount %s/%s may not call this", id.Namespace, id.ServiceAccount)
		}
		return nil
	}
}
