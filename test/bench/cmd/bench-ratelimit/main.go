// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"flag"

	"weir.dev/weir/test/bench/stand"
)

// options are the flags.
type options struct {
	stand.Options
	envoy, redisrate, redis string
	rate                    float64
	pods                    int
	offered                 float64
	serviceCore             int
}

func main() {
	o := &options{Options: stand.Options{Rounds: 5, Seconds: 5, Scenarios: "open,half,latency,over", Peers: "exact,leased,envoy,redisrate"}}
	o.Register(flag.CommandLine, "ratelimit")
	flag.StringVar(&o.envoy, "envoy", "", "an Envoy `program` (default: left out); hack/bench/envoy.sh prints one")
	flag.StringVar(&o.redisrate, "redisrate", "", "the `program` test/bench/peer/redisrate (default: left out)")
	flag.StringVar(&o.redis, "redis", "redis-server", "a Redis `program`")
	flag.Float64Var(&o.rate, "rate", 1000, "requests per second of the open loops; half of it is the limit of the scenario half")
	flag.IntVar(&o.pods, "pods", 10, "sidecars that share one limit; 0: not measured")
	flag.Float64Var(&o.offered, "offered", 10_000, "requests per second to all of these; half of it is the limit")
	flag.IntVar(&o.serviceCore, "service-core", stand.ProxyCore, "core of the rate limit service beside Envoy: 0 with Envoy, 1 with the load and the Redis")
	stand.Main("bench-ratelimit", &o.Options, func(ctx context.Context) error { return run(ctx, o) })
}

func run(ctx context.Context, o *options) error {
	if o.rate < 100 || o.pods > 0 && o.offered < 100 {
		return errors.New("--rate and --offered are at least 100")
	}
	if o.serviceCore != stand.ProxyCore && o.serviceCore != stand.LoadCore {
		return errors.New("--service-core is 0 or 1")
	}
	needs := o.Needs()
	needs[o.redis] = "it is what limits are kept in: apt-get install redis-server"
	b := &bench{options: o}
	var err error
	if b.Bench, err = stand.Begin(ctx, "make bench-ratelimit", &o.Options, needs, &b.report.Run, &b.report.Notes); err != nil {
		return err
	}
	defer b.Close()
	return b.run(ctx)
}
