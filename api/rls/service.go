// SPDX-License-Identifier: Apache-2.0

package rls

import (
	"context"

	"google.golang.org/grpc"
)

// ServiceName is how Envoy calls the service, and a health check asks for it.
const ServiceName = "envoy.service.ratelimit.v3.RateLimitService"

const shouldRateLimit = "ShouldRateLimit"

// Server answers the one call of the protocol. Errors are status errors.
type Server interface {
	ShouldRateLimit(ctx context.Context, r *Request) (*Response, error)
}

// Register makes s the rate limit service of a gRPC server.
func Register(r grpc.ServiceRegistrar, s Server) {
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: ServiceName,
		HandlerType: (*Server)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: shouldRateLimit, Handler: handle}},
		Metadata:    "rls/rls.proto",
	}, s)
}

// handle has the signature that grpc.MethodDesc asks for.
//
//nolint:revive // the context is second there.
func handle(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	r := &Request{}
	if err := decode(r); err != nil {
		return nil, err
	}
	call := func(ctx context.Context, r any) (any, error) { return srv.(Server).ShouldRateLimit(ctx, r.(*Request)) }
	if intercept == nil {
		return call(ctx, r)
	}
	return intercept(ctx, r, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/" + ServiceName + "/" + shouldRateLimit}, call)
}
