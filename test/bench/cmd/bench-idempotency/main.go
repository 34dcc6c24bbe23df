// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"flag"
	"strings"

	"weir.dev/weir/test/bench/stand"
)

// options are the flags.
type options struct {
	stand.Options
	naive, redis string
}

func main() {
	o := &options{Options: stand.Options{Rounds: 4, Seconds: 3, Scenarios: strings.Join(scenarioIDs(), ","), Peers: "weir,naive"}}
	o.Register(flag.CommandLine, "idempotency")
	flag.StringVar(&o.naive, "naive", "", "the `program` test/bench/peer/naiveidem (default: left out)")
	flag.StringVar(&o.redis, "redis", "redis-server", "a Redis `program`, 6.2 or later")
	stand.Main("bench-idempotency", &o.Options, func(ctx context.Context) error { return run(ctx, o) })
}

func run(ctx context.Context, o *options) error {
	needs := o.Needs()
	needs[o.redis] = "it is what records are kept in: apt-get install redis-server"
	b := &bench{options: o}
	var err error
	if b.Bench, err = stand.Begin(ctx, "make bench-idempotency", &o.Options, needs, &b.report.Run, &b.report.Notes); err != nil {
		return err
	}
	defer b.Close()
	return b.run(ctx)
}
