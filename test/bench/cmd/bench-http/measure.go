// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"weir.dev/weir/test/bench/load"
	"weir.dev/weir/test/bench/report"
	"weir.dev/weir/test/bench/stand"
)

// scenario measures all contenders in turn, round by round, each round in another
// order, so that what else the machine does weighs on all alike.
func (b *bench) scenario(ctx context.Context, s scenario) error {
	if s.open == fixed {
		s.title = fmt.Sprintf(s.title, b.rate)
	}
	var take []*contender
	for _, c := range b.all {
		if s.variants || !c.variant {
			take = append(take, c)
		}
	}
	b.Say("\n%s", s.title)
	series := report.Series{ID: s.id, Title: s.title, OpenLoop: s.open != closed}
	for _, c := range take {
		series.Lines = append(series.Lines, report.Line{Peer: c.name})
	}
	rates, err := b.rates(s, take)
	if err != nil {
		return err
	}
	for round := range b.Rounds {
		for i := range take {
			i = (i + round) % len(take)
			c := take[i]
			if round == 0 && s.open == closed {
				if _, err := load.Wrk(ctx, b.Folder, s.request(c), connections, time.Second); err != nil {
					return err
				}
			}
			r, err := b.measure(ctx, s, c, rates[i])
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			b.Say("  %d  %-32s %6.1f µs/request  %7.0f requests/s  p99 %6.0f µs", round+1, c.name, r.CPU, r.PerSecond, r.P99)
			series.Lines[i].Rounds = append(series.Lines[i].Rounds, r)
		}
	}
	b.report.Sections = append(b.report.Sections, series)
	return nil
}

// rates are those of an open loop, for each contender; nil for a closed one.
func (b *bench) rates(s scenario, take []*contender) ([]float64, error) {
	out := make([]float64, len(take))
	switch s.open {
	case closed:
		return out, nil
	case fixed:
		for i := range out {
			out[i] = b.rate
		}
		return out, nil
	}
	get, ok := b.report.Section(report.Get)
	if !ok {
		return nil, fmt.Errorf("its rate follows from the scenario %s, which was not measured", report.Get)
	}
	for i, c := range take {
		line, ok := get.Line(c.name)
		if !ok {
			return nil, fmt.Errorf("%s was not measured in the scenario %s", c.name, report.Get)
		}
		out[i] = math.Round(line.Rate() / 2)
	}
	if s.open == slowestHalf {
		least := slices.Min(out)
		for i := range out {
			out[i] = least
		}
	}
	return out, nil
}

// measure loads one contender for a while and returns what it took.
func (b *bench) measure(ctx context.Context, s scenario, c *contender, rate float64) (report.Round, error) {
	d := time.Duration(b.Seconds) * time.Second
	if !s.full {
		d = max(time.Second, (d / 2).Round(time.Second))
	}
	cpu, err := c.peer.CPU()
	if err != nil {
		return report.Round{}, err
	}
	lines, spans := c.peer.Lines(), b.collector.Calls()
	begin := time.Now()
	var r load.Result
	if s.open == closed {
		r, err = load.Wrk(ctx, b.Folder, s.request(c), connections, d)
	} else {
		r, err = load.OpenLoop(ctx, s.request(c), 2*connections, rate, d)
	}
	if err != nil {
		return report.Round{}, err
	}
	took := time.Since(begin)
	after, err := c.peer.CPU()
	if err != nil {
		return report.Round{}, err
	}
	if err := s.check(r); err != nil {
		return report.Round{}, err
	}
	if c.logs {
		written := c.peer.Lines() - lines
		if written*10 < r.Requests*9 || b.collector.Calls() == spans {
			return report.Round{}, fmt.Errorf("%d lines of the access log and %d calls with spans for %d requests",
				written, b.collector.Calls()-spans, r.Requests)
		}
	}
	return report.Round{
		CPU:       stand.Micros(after-cpu) / float64(r.Requests),
		PerSecond: r.PerSecond,
		Busy:      float64(after-cpu) / float64(took),
		P50:       stand.Micros(r.P50),
		P99:       stand.Micros(r.P99),
	}, nil
}

// check refuses a measurement of something else than the scenario's answers.
func (s scenario) check(r load.Result) error {
	switch {
	case r.Requests < 100:
		return fmt.Errorf("only %d requests were answered", r.Requests)
	case r.Errors*1000 > r.Requests:
		return fmt.Errorf("%d requests failed, %d were answered", r.Errors, r.Requests)
	case !s.denied && r.NotOK > 0:
		return fmt.Errorf("%d of %d answers are no success", r.NotOK, r.Requests)
	case s.denied && r.NotOK*100 < r.Requests*99:
		return fmt.Errorf("only %d of %d requests were denied", r.NotOK, r.Requests)
	}
	return nil
}
