// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"weir.dev/weir/test/bench/load"
	"weir.dev/weir/test/bench/peer"
	"weir.dev/weir/test/bench/report"
	"weir.dev/weir/test/bench/stand"
)

const (
	// connections of a closed loop.
	connections = 32
	// few keys are remembered by a sidecar, and many are not: in turn, each is replayed
	// when it has been displaced.
	few  = 256
	many = 24_000
	// probes are how many requests are sent one by one, to count round trips.
	probes = 200
	// warm is how long a peer is loaded before it is measured.
	warm = time.Second
)

// scenario is one kind of load on all peers.
type scenario struct {
	id, title string
	// keys are how many, which are recorded before; 0: each request has another.
	keys int64
	// other has recorded them.
	other bool
	// latency: open loop, at half of what the slowest did in the scenario of.
	of string
}

func scenarios() []scenario {
	return []scenario{
		{id: report.First, title: "First calls: every request has another key"},
		{id: report.Replay, title: "Replays of what the same pod has recorded", keys: few},
		{id: report.Other, title: "Replays of what another pod has recorded", keys: many, other: true},
		{id: "first-latency", title: "First calls, open loop at half of the slowest one's rate", of: report.First},
		{id: "replay-latency", title: "Replays of what another pod has recorded, open loop at half of the slowest one's rate", keys: many, other: true, of: report.Other},
	}
}

func scenarioIDs() []string {
	var out []string
	for _, s := range scenarios() {
		out = append(out, s.id)
	}
	return out
}

// scenario measures all in turn, round by round, each round in another order, so that
// what else the machine does weighs on all alike.
func (b *bench) scenario(ctx context.Context, s scenario) error {
	rate, err := b.rate(s)
	if err != nil {
		return err
	}
	if s.of != "" {
		s.title += fmt.Sprintf(" (%.0f requests/s)", rate)
	}
	b.Say("\n%s", s.title)
	series := report.OnceSeries{ID: s.id, Title: s.title, Latency: s.of != ""}
	for _, c := range b.all {
		l := report.OnceLine{Peer: c.name}
		if s.of == "" {
			if l.RoundTrips, err = b.roundTrips(ctx, s, c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		series.Lines = append(series.Lines, l)
	}
	for round := range b.Rounds {
		for i := range b.all {
			i = (i + round) % len(b.all)
			c := b.all[i]
			r, err := b.measure(ctx, s, c, rate)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			b.Say("  %d  %-24s %7.0f requests/s  %6.1f µs/request  %.2f reads  p99 %6.0f µs", round+1, c.name, r.PerSecond, r.Proxy, r.Reads, r.P99)
			series.Lines[i].Rounds = append(series.Lines[i].Rounds, r)
		}
	}
	b.report.Sections = append(b.report.Sections, series)
	return nil
}

// rate of an open loop; 0 for a closed one.
func (b *bench) rate(s scenario) (float64, error) {
	if s.of == "" {
		return 0, nil
	}
	least := math.Inf(1)
	for _, c := range b.all {
		l, ok := b.report.Line(s.of, c.name)
		if !ok {
			return 0, fmt.Errorf("its rate follows from the scenario %s, which was not measured", s.of)
		}
		least = min(least, l.Rate())
	}
	return math.Round(least / 2), nil
}

// newKeys are ones that nobody has used.
func (b *bench) newKeys(count int64) load.Key {
	b.keys++
	return load.Key{Name: "Idempotency-Key", Prefix: fmt.Sprintf("bench-%d-", b.keys), Count: count}
}

func request(address string, k load.Key) load.Request {
	return load.Request{Method: "POST", URL: "http://" + address + peer.PaymentPath, Header: "X-Client-Id: bench", Text: peer.Payment, Key: k}
}

// record has p execute each of the keys once.
func (b *bench) record(ctx context.Context, p *peer.Peer, k load.Key) error {
	return load.Each(ctx, request(p.Open, k), connections, k.Count)
}

// prepare makes the keys of a measurement, in a Redis that has no others.
func (b *bench) prepare(ctx context.Context, s scenario, c *contender, count int64) (load.Key, error) {
	if err := b.once.Redis.Empty(ctx); err != nil {
		return load.Key{}, err
	}
	k := b.newKeys(count)
	if count == 0 {
		return k, nil
	}
	if s.other {
		return k, b.record(ctx, c.other, k)
	}
	return k, b.record(ctx, c.peer, k)
}

// roundTrips counts what the Redis reads while requests come one by one: as many as
// there are round trips, since nobody sends anything more before the answer is there.
func (b *bench) roundTrips(ctx context.Context, s scenario, c *contender) (float64, error) {
	// The first makes the connections.
	for probing := false; ; probing = true {
		k, err := b.prepare(ctx, s, c, min(s.keys, probes))
		if err != nil {
			return 0, err
		}
		before, err := b.once.Redis.Traffic()
		if err != nil {
			return 0, err
		}
		if err := load.Each(ctx, request(c.peer.Open, k), 1, probes); err != nil {
			return 0, err
		}
		after, err := b.once.Redis.Traffic()
		if err != nil {
			return 0, err
		}
		if probing {
			return float64(after.Reads-before.Reads-1) / probes, nil
		}
	}
}

// measure loads one contender for a while and returns what it took.
func (b *bench) measure(ctx context.Context, s scenario, c *contender, rate float64) (report.OnceRound, error) {
	d := time.Duration(b.Seconds) * time.Second
	send := func(address string, k load.Key, d time.Duration) (load.Result, error) {
		if rate > 0 {
			return load.OpenLoop(ctx, request(address, k), 2*connections, rate, d)
		}
		return load.Wrk(ctx, b.Folder, request(address, k), connections, d)
	}
	count := s.keys
	if c.other == c.peer {
		count = min(count, few) // it has no memory
	}
	k, err := b.prepare(ctx, s, c, count)
	if err != nil {
		return report.OnceRound{}, err
	}
	var without load.Result
	if rate > 0 {
		if without, err = send(c.peer.Spliced, k, d); err != nil {
			return report.OnceRound{}, err
		}
	}
	first := k
	if s.keys == 0 {
		first = b.newKeys(0)
	}
	if _, err := send(c.peer.Open, first, warm); err != nil {
		return report.OnceRound{}, err
	}
	before, err := b.costs(c.peer)
	if err != nil {
		return report.OnceRound{}, err
	}
	r, err := send(c.peer.Open, k, d)
	if err != nil {
		return report.OnceRound{}, err
	}
	after, err := b.costs(c.peer)
	if err != nil {
		return report.OnceRound{}, err
	}
	switch {
	case r.Requests < 100:
		return report.OnceRound{}, fmt.Errorf("only %d requests were answered", r.Requests)
	case r.Errors*1000 > r.Requests:
		return report.OnceRound{}, fmt.Errorf("%d requests failed, %d were answered", r.Errors, r.Requests)
	case r.NotOK*1000 > r.Requests:
		return report.OnceRound{}, fmt.Errorf("%d of %d answers are no success", r.NotOK, r.Requests)
	case r.NotOK > 0:
		b.Note("%s, %s: %d of %d answers are no success.", c.name, s.id, r.NotOK, r.Requests)
	}
	n := float64(r.Requests)
	return report.OnceRound{
		PerSecond: r.PerSecond,
		Proxy:     stand.Micros(after.proxy-before.proxy) / n, Redis: stand.Micros(after.redis-before.redis) / n,
		Reads: float64(after.Reads-before.Reads-1) / n, In: float64(after.In-before.In) / n, Out: float64(after.Out-before.Out) / n,
		P50: stand.Micros(r.P50), P99: stand.Micros(r.P99),
		P50Without: stand.Micros(without.P50), P99Without: stand.Micros(without.P99),
	}, nil
}

// costs are sums since the beginning.
type costs struct {
	peer.Traffic
	proxy, redis time.Duration
}

func (b *bench) costs(p *peer.Peer) (c costs, err error) {
	if c.proxy, err = p.CPU(); err != nil {
		return c, err
	}
	if c.redis, err = b.once.Redis.CPU(); err != nil {
		return c, err
	}
	c.Traffic, err = b.once.Redis.Traffic()
	return c, err
}
