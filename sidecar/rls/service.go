// SPDX-License-Identifier: Apache-2.0

package rls

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weir.dev/weir/api/rls"
	"weir.dev/weir/sidecar/exchange"
)

const (
	// maxDescriptors of a request.
	maxDescriptors = 16
	// maxComplaints are how many different ones go into the log.
	maxComplaints = 64
)

// Metrics counts calls.
type Metrics interface {
	// RateLimitCall counts a call by its overall code, OK or OVER_LIMIT, or by the
	// name of the gRPC status that it failed with.
	RateLimitCall(code string, d time.Duration)
	// UnknownDomain counts a call for a domain that is not there.
	UnknownDomain()
}

// Options of a Service.
type Options struct {
	Log *slog.Logger
	// Metrics may be nil.
	Metrics Metrics
}

// Service decides. Safe for concurrent use.
type Service struct {
	opts    Options
	domains atomic.Pointer[Domains]
	ready   chan struct{}

	mu        sync.Mutex
	complaint map[string]bool
}

var _ rls.Server = (*Service)(nil)

// New returns a service that answers UNAVAILABLE until Serve.
func New(opts Options) *Service {
	return &Service{opts: opts, complaint: map[string]bool{}, ready: make(chan struct{})}
}

// Serve makes d the domains, which must not be changed afterwards.
func (s *Service) Serve(d Domains) {
	if s.domains.Swap(&d) == nil {
		close(s.ready)
	}
}

// Ready is closed by the first Serve.
func (s *Service) Ready() <-chan struct{} { return s.ready }

// ShouldRateLimit implements rls.Server.
func (s *Service) ShouldRateLimit(ctx context.Context, r *rls.Request) (*rls.Response, error) {
	start := time.Now()
	out, err := s.decide(ctx, r, start)
	if s.opts.Metrics != nil {
		code := "OK"
		switch {
		case err != nil:
			code = exchange.GRPCStatusName(int(status.Code(err)))
		case out.GetOverallCode() == rls.Response_CODE_OVER_LIMIT:
			code = "OVER_LIMIT"
		}
		s.opts.Metrics.RateLimitCall(code, time.Since(start))
	}
	return out, err
}

func (s *Service) decide(ctx context.Context, r *rls.Request, start time.Time) (*rls.Response, error) {
	if n := len(r.GetDescriptors()); n < 1 || n > maxDescriptors {
		return nil, s.refused(codes.InvalidArgument, "the request has %d descriptors, 1 to %d are possible", n, maxDescriptors)
	}
	domains := s.domains.Load()
	if domains == nil {
		return nil, status.Error(codes.Unavailable, "there is no configuration yet")
	}
	out := &rls.Response{OverallCode: rls.Response_CODE_OK}
	at, known := (*domains)[string(r.GetDomain())]
	if at.refused != "" {
		return nil, s.refused(codes.FailedPrecondition, "domain %s: %s", bounded(r.GetDomain()), at.refused)
	}
	port := at.port
	if !known {
		s.unknown(r.GetDomain())
		for range r.GetDescriptors() {
			out.Statuses = append(out.Statuses, &rls.Status{Code: rls.Response_CODE_OK})
		}
		return out, nil
	}
	// A caller that does not wait any more has asked all the same: what a request
	// costs is not its client's to choose.
	ctx = context.WithoutCancel(ctx)
	all := make([]described, len(r.GetDescriptors()))
	denials := make([]*exchange.Denial, len(all))
	// What is wrong with one of them is found before anything is spent.
	for i, desc := range r.GetDescriptors() {
		d := &all[i]
		d.x.Context, d.x.Start = ctx, start
		denial, denied, err := d.describe(desc, uint64(max(1, r.GetHitsAddend())), port)
		if err != nil {
			return nil, s.refused(codes.InvalidArgument, "domain %s, descriptor %d: %v", bounded(r.GetDomain()), i, err)
		}
		if denied {
			denials[i] = &denial
		}
	}
	for i := range all {
		x := &all[i].x
		if out.OverallCode == rls.Response_CODE_OVER_LIMIT {
			out.Statuses = append(out.Statuses, &rls.Status{})
			continue
		}
		denial := denials[i]
		if denial == nil && run(port.Chain, x) {
			denial = &x.Denial
		}
		if denial != nil {
			out.Statuses = append(out.Statuses, statusOf(x, rls.Response_CODE_OVER_LIMIT))
			deny(out, x, *denial)
			continue
		}
		out.Statuses = append(out.Statuses, statusOf(x, rls.Response_CODE_OK))
		addFields(out, x)
	}
	return out, nil
}

// run reports whether the chain denies x.
func run(c exchange.Chain, x *exchange.Exchange) bool {
	var p exchange.Progress
	v := c.Head(x, &p)
	c.End(x, &p, exchange.Replied)
	return v == exchange.Respond
}

func (s *Service) refused(code codes.Code, format string, args ...any) error {
	err := status.Errorf(code, format, args...)
	s.complain("a rate limit request is refused: " + status.Convert(err).Message())
	return err
}

func (s *Service) unknown(domain []byte) {
	if s.opts.Metrics != nil {
		s.opts.Metrics.UnknownDomain()
	}
	s.complain("nothing is limited in domain " + string(bounded(domain)) + ": no port of a Service is known by this name, <namespace>/<service>/<port>")
}

// complain says once what is wrong with a caller's configuration.
func (s *Service) complain(what string) {
	s.mu.Lock()
	again := s.complaint[what] || len(s.complaint) >= maxComplaints
	s.complaint[what] = s.complaint[what] || !again
	s.mu.Unlock()
	if !again {
		s.opts.Log.Warn(what)
	}
}
