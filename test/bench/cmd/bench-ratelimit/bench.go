// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"

	"weir.dev/weir/test/bench/peer"
	"weir.dev/weir/test/bench/report"
	"weir.dev/weir/test/bench/stand"
)

// bench is one run.
type bench struct {
	*options
	*stand.Bench
	shared peer.Shared
	all    []*contender
	report report.RateLimit
}

// contender takes part in the comparison.
type contender struct {
	id, name string
	start    func(context.Context) (*peer.Peer, error)
	peer     *peer.Peer
}

func (b *bench) run(ctx context.Context) error {
	if err := b.store(ctx); err != nil {
		return err
	}
	b.all = b.contenders()
	for _, c := range b.all {
		if err := b.startOne(ctx, c); err != nil {
			return err
		}
	}
	for _, s := range scenarios(b.rate) {
		if !stand.Chosen(b.Scenarios, s.id) {
			continue
		}
		if err := b.scenario(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.id, err)
		}
	}
	if b.pods > 0 && stand.Chosen(b.Scenarios, "over") {
		if err := b.over(ctx); err != nil {
			return fmt.Errorf("over: %w", err)
		}
	}
	return b.End("ratelimit", b.report)
}

// store starts the Redis beside the load.
func (b *bench) store(ctx context.Context) error {
	binary, err := stand.Look(b.redis)
	if err != nil {
		return err
	}
	r, err := b.Setup.Redis(ctx, binary, stand.LoadCore)
	if err != nil {
		return err
	}
	b.Defer(r.Stop)
	half := int(b.rate / 2)
	over := int(b.offered / 2)
	b.shared = peer.Shared{
		Setup: b.Setup, Redis: r, ServiceCore: b.serviceCore,
		Half: peer.Half{Limit: half, Burst: max(1, half/10)},
		Over: peer.Half{Limit: over, Burst: max(1, over/10)},
	}
	b.report.Peers = append(b.report.Peers, report.Peer{Name: "Redis", Version: r.Version})
	return nil
}

// contenders are those that are installed and chosen; what is not there is said.
func (b *bench) contenders() []*contender {
	out := []*contender{
		{id: "exact", name: report.Exact, start: b.startWeir("exact", false)},
		{id: "leased", name: report.Leased, start: b.startWeir("leased", true)},
	}
	envoy := &contender{id: "envoy", name: report.Gateway, start: func(ctx context.Context) (*peer.Peer, error) {
		weir, err := stand.Look(b.Weir)
		if err != nil {
			return nil, err
		}
		program, err := stand.Look(b.envoy)
		if err != nil {
			return nil, err
		}
		return b.shared.EnvoyGlobal(ctx, program, weir)
	}}
	redisrate := &contender{id: "redisrate", name: report.RedisRate, start: func(ctx context.Context) (*peer.Peer, error) {
		program, err := stand.Look(b.redisrate)
		if err != nil {
			return nil, err
		}
		return b.shared.RedisRate(ctx, program)
	}}
	for _, o := range []struct {
		*contender
		binary, how string
	}{
		{envoy, b.envoy, "hack/bench/envoy.sh, which needs python3 with venv"},
		{redisrate, b.redisrate, "go build ./test/bench/peer/redisrate"},
	} {
		if _, err := stand.Look(o.binary); err != nil && stand.Chosen(b.Peers, o.id) {
			b.Note("%s is not there and was left out; it comes with %s.", o.name, o.how)
			continue
		}
		out = append(out, o.contender)
	}
	kept := out[:0]
	for _, c := range out {
		if stand.Chosen(b.Peers, c.id) {
			kept = append(kept, c)
		}
	}
	return kept
}

func (b *bench) startWeir(id string, leased bool) func(context.Context) (*peer.Peer, error) {
	return func(ctx context.Context) (*peer.Peer, error) {
		binary, err := stand.Look(b.Weir)
		if err != nil {
			return nil, err
		}
		return b.shared.Weir(ctx, "weir-"+id, id, binary, leased)
	}
}

// startOne starts a contender and verifies that it limits through the Redis.
func (b *bench) startOne(ctx context.Context, c *contender) error {
	p, err := c.start(ctx)
	if err != nil {
		return err
	}
	b.Defer(p.Stop)
	c.peer = p
	before, err := b.shared.Redis.Calls()
	if err != nil {
		return err
	}
	_, err = p.Verify(ctx)
	if err != nil {
		// Once more: a fixed window may have begun anew between two requests.
		_, err = p.Verify(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s %s cannot be compared: %w", c.name, p.Version, err)
	}
	after, err := b.shared.Redis.Calls()
	if err != nil {
		return err
	}
	if after == before {
		return fmt.Errorf("%s cannot be compared: it did not ask the Redis", c.name)
	}
	if (c.id == "exact" || c.id == "leased") && b.Version != "" {
		p.Version = b.Version
	}
	b.Say("%-28s %-12s %d of a client pass, the next get 429, another client passes; %d calls of the Redis", c.name, p.Version, peer.Tight, after-before)
	version := p.Version
	if c.id == "envoy" {
		version += fmt.Sprintf("; the service is weir-sidecar rls, with fixed windows, on core %d", b.serviceCore)
		b.Note("The rate limit service beside Envoy is Weir's own: envoyproxy/ratelimit was not to be had as a Go module.")
	}
	b.report.Peers = append(b.report.Peers, report.Peer{Name: c.name, Version: version})
	return nil
}
