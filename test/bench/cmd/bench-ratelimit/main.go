// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"weir.dev/weir/test/bench/stand"
)

// options are the flags.
type options struct {
	weir, envoy, redisrate, redis, nginx string
	version                              string
	rounds, seconds                      int
	rate                                 float64
	pods                                 int
	offered                              float64
	serviceCore                          int
	scenarios, peers                     string
	write                                string
	timeout                              time.Duration
}

func flags() *options {
	o := &options{}
	flag.StringVar(&o.weir, "weir", "bin/weir-sidecar", "`program` to measure")
	flag.StringVar(&o.version, "version", "", "what --weir is, such as a commit (default: what it says)")
	flag.StringVar(&o.envoy, "envoy", "", "an Envoy `program` (default: left out); hack/bench/envoy.sh prints one")
	flag.StringVar(&o.redisrate, "redisrate", "", "the `program` test/bench/peer/redisrate (default: left out)")
	flag.StringVar(&o.redis, "redis", "redis-server", "a Redis `program`")
	flag.StringVar(&o.nginx, "nginx", "nginx", "an nginx `program`, which is the application")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each measurement is made, all in turn")
	flag.IntVar(&o.seconds, "seconds", 5, "of a measurement")
	flag.Float64Var(&o.rate, "rate", 1000, "requests per second of the open loops; half of it is the limit of the scenario half")
	flag.IntVar(&o.pods, "pods", 10, "sidecars that share one limit; 0: not measured")
	flag.Float64Var(&o.offered, "offered", 10_000, "requests per second to all of these; half of it is the limit")
	flag.IntVar(&o.serviceCore, "service-core", stand.ProxyCore, "core of the rate limit service beside Envoy: 0 with Envoy, 1 with the load and the Redis")
	flag.StringVar(&o.scenarios, "scenarios", "", "ids with commas (default: all): open,half,latency,over")
	flag.StringVar(&o.peers, "peers", "", "with commas (default: all there are): exact,leased,envoy,redisrate")
	flag.StringVar(&o.write, "write", "", "`folder` for ratelimit.md, ratelimit.svg and ratelimit.json (default: only the terminal)")
	flag.DurationVar(&o.timeout, "timeout", 20*time.Minute, "for all of it")
	flag.Parse()
	return o
}

func main() {
	// Children are told to end when the thread that has started them does: this one.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	o := flags()
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-ratelimit:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if o.rounds < 1 || o.seconds < 1 || o.rate < 100 || o.pods > 0 && o.offered < 100 {
		return errors.New("--rounds and --seconds are at least 1, --rate and --offered at least 100")
	}
	if o.serviceCore != stand.ProxyCore && o.serviceCore != stand.LoadCore {
		return errors.New("--service-core is 0 or 1")
	}
	st, err := stand.New(ctx, o.nginx, map[string]string{
		"wrk":     "it makes the load: apt-get install wrk",
		"taskset": "it pins to cores: apt-get install util-linux",
		o.nginx:   "it is the application: apt-get install nginx",
		o.redis:   "it is what limits are kept in: apt-get install redis-server",
		o.weir:    "it is what is measured: make build",
	})
	if err != nil {
		return err
	}
	defer st.Close()
	b := &bench{options: o, Stand: st}
	return b.run(ctx)
}
