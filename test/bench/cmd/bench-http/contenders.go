// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/test/bench/peer"
	"weir.dev/weir/test/bench/report"
	"weir.dev/weir/test/bench/stand"
)

// contender is a proxy, or one port of it, in the comparison.
type contender struct {
	// id is what --peers knows it by.
	id, name string
	start    func(context.Context) (*peer.Peer, error)
	// variant: only in scenarios with variants. spliced: Weir's port without policy.
	variant, spliced bool
	// logs: it writes a line for every request.
	logs bool

	peer *peer.Peer
}

// contenders are those that are installed and chosen; what is not installed is said.
func (b *bench) contenders() []*contender {
	weir := func(name, binary string, telemetry *snapshot.Telemetry) func(context.Context) (*peer.Peer, error) {
		return func(ctx context.Context) (*peer.Peer, error) {
			path, err := stand.Look(binary)
			if err != nil {
				return nil, err
			}
			return b.Setup.Weir(ctx, name, path, telemetry)
		}
	}
	out := []*contender{
		{id: "weir", name: report.Weir, start: weir("weir", b.Weir, nil)},
		{id: "weir-all", name: report.WeirAll, start: weir("weir-all", b.Weir, b.everything()), variant: true, logs: true},
		{id: "spliced", name: report.Spliced, variant: true, spliced: true},
	}
	if b.baseline != "" {
		out = append(out, &contender{id: "baseline", name: "Weir, baseline", start: weir("weir-baseline", b.baseline, nil)})
	}
	for _, o := range []struct {
		id, name, binary, how string
		start                 func(context.Context, string) (*peer.Peer, error)
	}{
		{"haproxy", report.HAProxy, b.haproxy, "apt-get install haproxy", b.Setup.HAProxy},
		{"nginx", report.Nginx, b.Nginx, "apt-get install nginx", b.Setup.Nginx},
		{"envoy", report.Envoy, b.envoy, "hack/bench/envoy.sh, which needs python3 with venv", b.Setup.Envoy},
	} {
		if !stand.Chosen(b.Peers, o.id) {
			continue
		}
		path, err := stand.Look(o.binary)
		if err != nil {
			b.Note("%s is not installed and was left out; it comes with %s.", o.name, o.how)
			continue
		}
		out = append(out, &contender{id: o.id, name: o.name, start: func(ctx context.Context) (*peer.Peer, error) { return o.start(ctx, path) }})
	}
	kept := out[:0]
	for _, c := range out {
		if stand.Chosen(b.Peers, c.id) {
			kept = append(kept, c)
		}
	}
	return kept
}

// everything is an access log of all requests, and traces of a tenth of them.
func (b *bench) everything() *snapshot.Telemetry {
	return &snapshot.Telemetry{
		AccessLog: &snapshot.AccessLog{Mode: snapshot.AccessLog_MODE_ALL},
		Tracing:   &snapshot.Tracing{Endpoint: b.collector.Address(), SamplePerMillion: 100_000},
	}
}

// startAll starts the contenders and verifies that they are comparable.
func (b *bench) startAll(ctx context.Context) error {
	var weir *peer.Peer
	for _, c := range b.all {
		if c.spliced {
			continue
		}
		p, err := c.start(ctx)
		if err != nil {
			return err
		}
		b.Defer(p.Stop)
		c.peer = p
		if c.id == "weir" {
			weir = p
			if b.Version != "" {
				p.Version = b.Version
			}
		}
		f, err := p.Verify(ctx)
		if err != nil {
			return fmt.Errorf("%s %s cannot be compared: %w", c.name, p.Version, err)
		}
		fields := "no fields"
		if len(f.Fields) > 0 {
			fields = strings.Join(f.Fields, ", ")
		}
		b.Say("%-32s %-12s %d of a client pass, the next get 429, another client passes; %s", c.name, p.Version, peer.Tight, fields)
		b.report.Peers = append(b.report.Peers, report.Peer{Name: c.name, Version: p.Version, Fields: f.Fields})
	}
	for _, c := range b.all {
		if c.spliced {
			if weir == nil {
				return fmt.Errorf("--peers names %s without weir, whose port it is", c.id)
			}
			c.peer = weir
		}
	}
	return nil
}
