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
	once   peer.Once
	all    []*contender
	report report.Idempotency
	// keys numbers the prefixes of keys, so that none comes twice by chance.
	keys int
}

// contender takes part in the comparison.
type contender struct {
	id, name string
	start    func(context.Context, string) (*peer.Peer, error)
	peer     *peer.Peer
	// other has the same records: what it executes, peer replays.
	other *peer.Peer
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
	for _, s := range scenarios() {
		if !stand.Chosen(b.Scenarios, s.id) {
			continue
		}
		if err := b.scenario(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.id, err)
		}
	}
	if err := b.memory(ctx); err != nil {
		return err
	}
	return b.End("idempotency", b.report)
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
	b.once = peer.Once{Setup: b.Setup, Redis: r}
	b.report.Peers = append(b.report.Peers, report.Peer{Name: "Redis", Version: r.Version})
	return nil
}

// contenders are those that are there and chosen; what is not there is said.
func (b *bench) contenders() []*contender {
	var out []*contender
	if stand.Chosen(b.Peers, "weir") {
		out = append(out, &contender{id: "weir", name: report.Weir, start: func(ctx context.Context, name string) (*peer.Peer, error) {
			binary, err := stand.Look(b.Weir)
			if err != nil {
				return nil, err
			}
			return b.once.Weir(ctx, name, binary)
		}})
	}
	if !stand.Chosen(b.Peers, "naive") {
		return out
	}
	binary, err := stand.Look(b.naive)
	if err != nil {
		b.Note("%s is not there and was left out; it comes with go build ./test/bench/peer/naiveidem.", report.Naive)
		return out
	}
	return append(out, &contender{id: "naive", name: report.Naive, start: func(ctx context.Context, _ string) (*peer.Peer, error) {
		return b.once.Naive(ctx, binary)
	}})
}

// startOne starts a contender and verifies that it does what it is to be measured at.
func (b *bench) startOne(ctx context.Context, c *contender) error {
	var err error
	if c.peer, err = c.start(ctx, c.id); err != nil {
		return err
	}
	b.Defer(c.peer.Stop)
	c.other = c.peer
	if c.id == "weir" {
		// It remembers what it has recorded; the other one has nothing in memory but
		// the Redis.
		if c.other, err = c.start(ctx, c.id+"-other"); err != nil {
			return err
		}
		b.Defer(c.other.Stop)
		if b.Version != "" {
			c.peer.Version = b.Version
		}
	}
	for i, replays := range []*peer.Peer{c.peer, c.other} {
		if err := c.peer.VerifyOnce(ctx, fmt.Sprintf("verify-%s-%d", c.id, i), replays); err != nil {
			return fmt.Errorf("%s cannot be compared: %w", c.name, err)
		}
	}
	p := report.Peer{Name: c.name, Version: c.peer.Version}
	if p.MemoryIdle, err = c.peer.Memory(); err != nil {
		return err
	}
	b.Say("%-24s %s: a key is executed once, and its response is replayed", c.name, p.Version)
	b.report.Peers = append(b.report.Peers, p)
	return nil
}

// memory is measured after the load.
func (b *bench) memory(ctx context.Context) error {
	for _, c := range b.all {
		for i := range b.report.Peers {
			if p := &b.report.Peers[i]; p.Name == c.name {
				var err error
				if p.MemoryLoaded, err = c.peer.Memory(); err != nil {
					return err
				}
			}
		}
		if err := b.once.Redis.Empty(ctx); err != nil {
			return err
		}
		if err := b.record(ctx, c.peer, b.newKeys(1000)); err != nil {
			return err
		}
		n, err := b.once.Redis.KeyBytes(ctx)
		if err != nil {
			return err
		}
		b.report.Records = append(b.report.Records, report.Stored{Peer: c.name, Bytes: n})
	}
	return nil
}
