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
	envoy, haproxy, baseline string
	connections              int
	rate                     float64
}

func main() {
	o := &options{Options: stand.Options{
		Rounds: 5, Seconds: 6, Scenarios: strings.Join(scenarioIDs(), ","), Peers: "weir,baseline,weir-all,spliced,envoy,haproxy,nginx",
	}}
	o.Register(flag.CommandLine, "http")
	flag.Lookup("seconds").Usage = "of a measurement of the first scenario; half of it for the others"
	flag.StringVar(&o.baseline, "baseline", "", "another weir-sidecar, to compare with (default: none)")
	flag.StringVar(&o.envoy, "envoy", "", "an Envoy `program` (default: left out); hack/bench/envoy.sh prints one")
	flag.StringVar(&o.haproxy, "haproxy", "haproxy", "an HAProxy `program`")
	flag.Float64Var(&o.rate, "rate", 1000, "requests per second of the scenario low")
	flag.IntVar(&o.connections, "idle", 4000, "idle connections that memory is measured with; 0: not measured")
	stand.Main("bench-http", &o.Options, func(ctx context.Context) error {
		b := &bench{options: o}
		var err error
		if b.Bench, err = stand.Begin(ctx, "make bench-http", &o.Options, o.Needs(), &b.report.Run, &b.report.LeftOut); err != nil {
			return err
		}
		defer b.Close()
		return b.run(ctx)
	})
}
