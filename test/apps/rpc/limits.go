// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	envoy "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/status"
)

// limitResult is what a rate limit service has said.
type limitResult struct {
	Code  string `json:"code"`  // of the call
	Limit string `json:"limit"` // OK or OVER_LIMIT
	Error string `json:"error,omitempty"`
}

// limits asks a rate limit service as Envoy does.
func limits(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("rpc limit", flag.ContinueOnError)
	fs.SetOutput(stderr)
	n := fs.Int("n", 1, "how many times, one after the other")
	descriptor := &common.RateLimitDescriptor{}
	fs.Func("d", "entry of the descriptor, `key=value` (repeatable)", func(s string) error {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("want \"key=value\", got %q", s)
		}
		descriptor.Entries = append(descriptor.Entries, &common.RateLimitDescriptor_Entry{Key: key, Value: value})
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 2 {
		return fmt.Errorf("limit: want DOMAIN HOST:PORT after the flags, got %q", fs.Args())
	}
	conn, err := dial(fs.Arg(1))
	if err != nil {
		return err
	}
	defer conn.Close()
	service := envoy.NewRateLimitServiceClient(conn)
	request := &envoy.RateLimitRequest{Domain: fs.Arg(0), Descriptors: []*common.RateLimitDescriptor{descriptor}}
	for range *n {
		if err := json.NewEncoder(stdout).Encode(ask(ctx, service, request)); err != nil {
			return err
		}
	}
	return nil
}

func ask(ctx context.Context, service envoy.RateLimitServiceClient, request *envoy.RateLimitRequest) limitResult {
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	r, err := service.ShouldRateLimit(ctx, request)
	s := status.Convert(err)
	return limitResult{Code: s.Code().String(), Limit: r.GetOverallCode().String(), Error: s.Message()}
}
