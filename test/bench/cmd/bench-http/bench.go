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
	collector *peer.Collector
	all       []*contender
	report    report.Report
}

func (b *bench) run(ctx context.Context) error {
	var err error
	if b.collector, err = peer.NewCollector(); err != nil {
		return err
	}
	b.Defer(b.collector.Stop)
	b.all = b.contenders()
	if err := b.startAll(ctx); err != nil {
		return err
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
		return fmt.Errorf("memory: %w", err)
	}
	return b.End("http", b.report)
}
