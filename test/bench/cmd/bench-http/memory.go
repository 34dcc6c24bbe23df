// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"weir.dev/weir/test/bench/load"
	"weir.dev/weir/test/bench/report"
)

// settle is longer than proxies keep connections to the application that nobody
// uses, and than collectors of garbage wait.
const settle = 6 * time.Second

// memory is measured after the load, and then of proxies that were just started:
// idle, and with idle connections that have had one request each.
func (b *bench) memory(ctx context.Context) error {
	for i, c := range b.owners() {
		n, err := c.peer.Memory()
		if err != nil {
			return err
		}
		b.report.Peers[i].MemoryLoaded = n
	}
	n := b.connections
	// A proxy that pairs connections needs two files for each.
	if most := int(b.Files)/2 - 500; n > most {
		n = most
		b.Note("Idle connections were %d and not %d: no more files may be open.", n, b.connections)
	}
	if n <= 0 {
		return nil
	}
	b.Say("\nMemory with %d idle connections", n)
	for i, c := range b.owners() {
		if err := b.idle(ctx, c, n, &b.report.Peers[i]); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		p := b.report.Peers[i]
		b.Say("  %-32s %5.1f MiB idle, %6.1f KiB for a connection", c.name, float64(p.MemoryIdle)/(1<<20), float64(p.ConnectionBytes)/(1<<10))
	}
	return nil
}

// owners are the contenders that are processes, in the order of the report's peers.
func (b *bench) owners() []*contender {
	var out []*contender
	for _, c := range b.all {
		if !c.spliced {
			out = append(out, c)
		}
	}
	return out
}

// idle starts a contender once more, for itself.
func (b *bench) idle(ctx context.Context, c *contender, n int, into *report.Peer) error {
	p, err := c.start(ctx)
	if err != nil {
		return err
	}
	defer p.Stop()
	if _, err := p.Verify(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	if into.MemoryIdle, err = p.Memory(); err != nil {
		return err
	}
	conns, err := load.OpenIdle(ctx, load.Request{Method: "GET", URL: "http://" + p.Open + "/small", Header: client}, n)
	if err != nil {
		return err
	}
	defer conns.Close()
	if err := sleep(ctx, settle); err != nil {
		return err
	}
	with, err := p.Memory()
	if err != nil {
		return err
	}
	into.Connections, into.ConnectionBytes = n, (with-into.MemoryIdle)/int64(n)
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
