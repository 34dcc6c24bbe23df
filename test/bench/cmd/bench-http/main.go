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
	"strings"
	"syscall"
	"time"

	"weir.dev/weir/test/bench/stand"
)

// options are the flags.
type options struct {
	weir, envoy, haproxy, nginx string
	baseline, version           string
	rounds, seconds             int
	connections                 int
	rate                        float64
	scenarios, peers            string
	write                       string
	timeout                     time.Duration
}

func flags() *options {
	o := &options{}
	flag.StringVar(&o.weir, "weir", "bin/weir-sidecar", "`program` to measure")
	flag.StringVar(&o.baseline, "baseline", "", "another weir-sidecar, to compare with (default: none)")
	flag.StringVar(&o.version, "version", "", "what --weir is, such as a commit (default: what it says)")
	flag.StringVar(&o.envoy, "envoy", "", "an Envoy `program` (default: left out); hack/bench/envoy.sh prints one")
	flag.StringVar(&o.haproxy, "haproxy", "haproxy", "an HAProxy `program`")
	flag.StringVar(&o.nginx, "nginx", "nginx", "an nginx `program`, which is the application too")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each measurement is made, all proxies in turn")
	flag.IntVar(&o.seconds, "seconds", 6, "of a measurement of the first scenario; half of it for the others")
	flag.Float64Var(&o.rate, "rate", 1000, "requests per second of the scenario low")
	flag.IntVar(&o.connections, "idle", 4000, "idle connections that memory is measured with; 0: not measured")
	flag.StringVar(&o.scenarios, "scenarios", "", "ids with commas (default: all): "+strings.Join(scenarioIDs(), ","))
	flag.StringVar(&o.peers, "peers", "", "proxies with commas (default: all that are installed): weir,baseline,weir-all,spliced,envoy,haproxy,nginx")
	flag.StringVar(&o.write, "write", "", "`folder` for http.md, http.svg and http.json (default: only the terminal)")
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
		fmt.Fprintln(os.Stderr, "bench-http:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if o.rounds < 1 || o.seconds < 1 {
		return errors.New("--rounds and --seconds are at least 1")
	}
	st, err := stand.New(ctx, o.nginx, map[string]string{
		"wrk":     "it makes the load: apt-get install wrk",
		"taskset": "it pins to cores: apt-get install util-linux",
		o.nginx:   "it is the application: apt-get install nginx",
		o.weir:    "it is what is measured: make build",
	})
	if err != nil {
		return err
	}
	defer st.Close()
	b := &bench{options: o, Stand: st}
	return b.run(ctx)
}
