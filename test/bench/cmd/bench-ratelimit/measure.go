// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"weir.dev/weir/test/bench/load"
	"weir.dev/weir/test/bench/peer"
	"weir.dev/weir/test/bench/report"
	"weir.dev/weir/test/bench/stand"
)

// connections of a closed loop.
const connections = 32

// client is the value that requests are limited by: one key for all of them.
const client = "X-Client-Id: bench"

// warm is how long a peer is loaded before it is measured: a burst that is there at
// first is spent by then.
const warm = time.Second

// scenario is one kind of load on all peers.
type scenario struct {
	id, title string
	open      bool
	// half of the load is denied.
	half bool
	// without: the port without a limit is measured beside it.
	without bool
}

func scenarios(rate float64) []scenario {
	return []scenario{
		{id: report.Never, title: "One limit for all that is never reached, 32 connections"},
		{id: "half", title: fmt.Sprintf("Half denied: open loop at %.0f requests/s on a limit of %.0f", rate, rate/2), open: true, half: true},
		{id: "latency", title: fmt.Sprintf("What the limit adds: open loop at %.0f requests/s", rate), open: true, without: true},
	}
}

// scenario measures all in turn, round by round, each round in another order, so that
// what else the machine does weighs on all alike.
func (b *bench) scenario(ctx context.Context, s scenario) error {
	b.Say("\n%s", s.title)
	series := report.SharedSeries{ID: s.id, Title: s.title, Latency: s.without}
	for _, c := range b.all {
		series.Lines = append(series.Lines, report.SharedLine{Peer: c.name})
	}
	for round := range b.Rounds {
		for i := range b.all {
			i = (i + round) % len(b.all)
			c := b.all[i]
			r, err := b.measure(ctx, s, c)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			b.Say("  %d  %-28s %7.0f requests/s  %6.1f µs/request  %.4f calls  p99 %6.0f µs", round+1, c.name,
				r.PerSecond, r.Proxy+r.Service+r.Redis, r.Calls, r.P99)
			series.Lines[i].Rounds = append(series.Lines[i].Rounds, r)
			b.doubt(s, c, round+1, r)
		}
	}
	b.report.Sections = append(b.report.Sections, series)
	return nil
}

// doubt notes what makes a measurement one of something else than it says.
func (b *bench) doubt(s scenario, c *contender, round int, r report.SharedRound) {
	switch {
	case s.half && (r.Denied < 0.4 || r.Denied > 0.6):
		b.Note("%s, %s, round %d: %.0f %% were denied, not half.", c.name, s.id, round, 100*r.Denied)
	// Denials of a key over its limit are remembered; where nothing is denied, only a store
	// that is late saves calls.
	case c.id != "leased" && !s.half && r.Calls < 0.98:
		b.Note("%s, %s, round %d: the Redis was late, and %.0f %% of the requests were decided without it.", c.name, s.id, round, 100*(1-r.Calls))
	}
}

// measure loads one contender for a while and returns what it took.
func (b *bench) measure(ctx context.Context, s scenario, c *contender) (report.SharedRound, error) {
	address := c.peer.Open
	if s.half {
		address = c.peer.Half
	}
	d := time.Duration(b.Seconds) * time.Second
	var without load.Result
	if s.without {
		var err error
		if without, err = b.send(ctx, s, c.peer.Spliced, d); err != nil {
			return report.SharedRound{}, err
		}
	}
	if _, err := b.send(ctx, s, address, warm); err != nil {
		return report.SharedRound{}, err
	}
	before, err := b.costs(c.peer)
	if err != nil {
		return report.SharedRound{}, err
	}
	r, err := b.send(ctx, s, address, d)
	if err != nil {
		return report.SharedRound{}, err
	}
	after, err := b.costs(c.peer)
	if err != nil {
		return report.SharedRound{}, err
	}
	if err := s.check(r); err != nil {
		return report.SharedRound{}, err
	}
	each := func(d time.Duration) float64 { return stand.Micros(d) / float64(r.Requests) }
	return report.SharedRound{
		PerSecond: r.PerSecond,
		Proxy:     each(after.proxy - before.proxy), Service: each(after.service - before.service), Redis: each(after.redis - before.redis),
		Calls:  float64(after.calls-before.calls) / float64(r.Requests),
		Denied: float64(r.NotOK) / float64(r.Requests),
		P50:    stand.Micros(r.P50), P99: stand.Micros(r.P99),
		P50Without: stand.Micros(without.P50), P99Without: stand.Micros(without.P99),
	}, nil
}

func (b *bench) send(ctx context.Context, s scenario, address string, d time.Duration) (load.Result, error) {
	r := load.Request{Method: "GET", URL: "http://" + address + "/small", Header: client}
	if s.open {
		return load.OpenLoop(ctx, r, 2*connections, b.rate, d)
	}
	return load.Wrk(ctx, b.Folder, r, connections, d)
}

// check refuses a measurement of something else than the scenario's answers.
func (s scenario) check(r load.Result) error {
	switch {
	case r.Requests < 100:
		return fmt.Errorf("only %d requests were answered", r.Requests)
	case r.Errors*1000 > r.Requests:
		return fmt.Errorf("%d requests failed, %d were answered", r.Errors, r.Requests)
	case r.Failed*100 > r.Requests:
		return fmt.Errorf("%d of %d answers are 500 or above: the Redis did not answer in time", r.Failed, r.Requests)
	case !s.half && r.NotOK*100 > r.Requests:
		return fmt.Errorf("%d of %d answers are no success", r.NotOK, r.Requests)
	case s.half && (r.NotOK*100 < r.Requests*5 || r.NotOK*100 > r.Requests*95):
		return fmt.Errorf("%d of %d requests were denied, not half of them", r.NotOK, r.Requests)
	}
	return nil
}

// costs are sums since the beginning.
type costs struct {
	proxy, service, redis time.Duration
	calls                 int64
}

func (b *bench) costs(p *peer.Peer) (c costs, err error) {
	if c.proxy, err = p.CPU(); err != nil {
		return c, err
	}
	if p.Service != nil {
		if c.service, err = p.Service.CPU(); err != nil {
			return c, err
		}
	}
	if c.redis, err = b.shared.Redis.CPU(); err != nil {
		return c, err
	}
	c.calls, err = b.shared.Redis.Calls()
	return c, err
}
