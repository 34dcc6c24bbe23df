// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weir.dev/weir/test/bench/peer"
	"weir.dev/weir/test/bench/report"
)

// bench is one run.
type bench struct {
	*options
	folder string
	files  uint64

	setup     peer.Setup
	collector *peer.Collector
	all       []*contender
	stops     []func()
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

// stop ends what runs, the last first.
func (b *bench) stop() {
	for _, stop := range slices.Backward(b.stops) {
		stop()
	}
	b.stops = nil
}

func (b *bench) run(ctx context.Context) error {
	if err := b.programs(); err != nil {
		return err
	}
	begin := time.Now()
	b.report.Date = begin.UTC().Format(time.DateOnly)
	b.report.Command = "make bench-http"
	b.report.Rounds, b.report.Seconds = b.rounds, b.seconds
	var err error
	if b.report.Machine, err = machine(); err != nil {
		return err
	}
	if l, err := loadAverage(); err == nil && l > 1 {
		b.leaveOut("The load average was %.1f when it began: others use these cores, and the figures are rough.", l)
	}
	defer b.stop()
	if err := b.origin(ctx); err != nil {
		return err
	}
	if b.collector, err = peer.NewCollector(); err != nil {
		return err
	}
	b.stops = append(b.stops, b.collector.Stop)
	b.all = b.contenders()
	if err := b.startAll(ctx); err != nil {
		return err
	}
	for _, s := range scenarios() {
		if !chosen(b.scenarios, s.id) {
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

// machine says what this is, without its name.
func machine() (report.Machine, error) {
	m := report.Machine{Cores: runtime.NumCPU(), CPU: "processor of an unknown kind"}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return m, err
	}
	m.Kernel = regexp.MustCompile(`^\d+\.\d+`).FindString(unix.ByteSliceToString(u.Release[:]))
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	if found := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(info); found != nil {
		m.CPU = strings.TrimSpace(string(found[1]))
	}
	return m, nil
}

// loadAverage of the last minute.
func loadAverage() (float64, error) {
	s, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	var l float64
	_, err = fmt.Sscan(string(s), &l)
	return l, err
}
