// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"weir.dev/weir/test/bench/peer"
	"weir.dev/weir/test/bench/report"
	"weir.dev/weir/test/bench/stand"
)

// bench is one run.
type bench struct {
	*options
	*stand.Stand
	collector *peer.Collector
	all       []*contender
	report    report.Report
}

func (b *bench) say(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
}

func (b *bench) leaveOut(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	b.report.LeftOut = append(b.report.LeftOut, s)
	b.say("%s", s)
}

func (b *bench) run(ctx context.Context) error {
	begin := time.Now()
	b.report.Date = begin.UTC().Format(time.DateOnly)
	b.report.Command = "make bench-http"
	b.report.Rounds, b.report.Seconds = b.rounds, b.seconds
	var err error
	if b.report.Machine, err = stand.Machine(); err != nil {
		return err
	}
	if busy := stand.Busy(); busy != "" {
		b.leaveOut("%s", busy)
	}
	if b.collector, err = peer.NewCollector(); err != nil {
		return err
	}
	b.Defer(b.collector.Stop)
	b.all = b.contenders()
	if err := b.startAll(ctx); err != nil {
		return err
	}
	for _, s := range scenarios() {
		if !stand.Chosen(b.scenarios, s.id) {
			continue
		}
		if err := b.scenario(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.id, err)
		}
	}
	if err := b.memory(ctx); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	fmt.Print(b.report.Text())
	b.say("\nIt took %v.", time.Since(begin).Round(time.Second))
	if b.write == "" {
		return nil
	}
	return b.save()
}

// save writes the page, the plot and the raw results.
func (b *bench) save() error {
	if err := os.MkdirAll(b.write, 0o755); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(b.report, "", " ")
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"http.md": b.report.Markdown(), "http.svg": b.report.SVG(), "http.json": string(raw) + "\n",
	} {
		if err := os.WriteFile(filepath.Join(b.write, name), []byte(text), 0o644); err != nil {
			return err
		}
		b.say("wrote %s", filepath.Join(b.write, name))
	}
	return nil
}
