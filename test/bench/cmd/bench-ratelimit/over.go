// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir.dev/weir/test/bench/load"
	"weir.dev/weir/test/bench/peer"
	"weir.dev/weir/test/bench/report"
	"weir.dev/weir/test/bench/stand"
)

// over loads several sidecars that share one limit with twice as much as it allows.
func (b *bench) over(ctx context.Context) error {
	b.Say("\n%d sidecars share a limit of %d/s, of %.0f/s that are offered", b.pods, b.shared.Over.Limit, b.offered)
	for _, c := range b.all {
		if c.id != "exact" && c.id != "leased" {
			continue
		}
		o, err := b.overOne(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		b.Say("  %-28s %d passed of %d, worst second %d, %d failed, %.4f calls", c.name, o.Passed, o.Allowed, o.Worst, o.Failed, o.Calls)
		b.report.Over = append(b.report.Over, o)
	}
	return nil
}

func (b *bench) overOne(ctx context.Context, c *contender) (report.Over, error) {
	binary, err := stand.Look(b.Weir)
	if err != nil {
		return report.Over{}, err
	}
	var pods []*peer.Peer
	defer func() {
		for _, p := range pods {
			p.Stop()
		}
	}()
	for i := range b.pods {
		p, err := b.shared.Weir(ctx, fmt.Sprintf("%s-pod-%d", c.id, i), c.id+"-over", binary, c.id == "leased")
		if err != nil {
			return report.Over{}, err
		}
		pods = append(pods, p)
	}
	before, err := b.shared.Redis.Calls()
	if err != nil {
		return report.Over{}, err
	}
	d := time.Duration(2*b.Seconds) * time.Second
	begin := time.Now()
	results, err := b.sendAll(ctx, pods, d)
	if err != nil {
		return report.Over{}, err
	}
	took := time.Since(begin)
	after, err := b.shared.Redis.Calls()
	if err != nil {
		return report.Over{}, err
	}
	o := report.Over{
		Peer: c.name, Pods: b.pods, Offered: b.offered, Limit: b.shared.Over.Limit, Burst: b.shared.Over.Burst, Seconds: int(d / time.Second),
		// Of all the time in which anything may have passed.
		Allowed: int64(took.Seconds()*float64(b.shared.Over.Limit)) + int64(b.shared.Over.Burst),
	}
	var requests int64
	seconds := map[int64]int64{}
	for _, r := range results {
		requests += r.Requests
		o.Failed += r.Failed
		for second, n := range r.Passed {
			seconds[second] += n
		}
	}
	for _, n := range seconds {
		o.Passed += n
		o.Worst = max(o.Worst, n)
	}
	if requests < 100 || o.Passed == 0 {
		return o, fmt.Errorf("%d of %d requests passed", o.Passed, requests)
	}
	o.Calls = float64(after-before) / float64(requests)
	if o.Failed > 0 {
		b.Note("%s: %d of %d requests to %d sidecars got no answer of the Redis in time.", c.name, o.Failed, requests, b.pods)
	}
	return o, nil
}

// sendAll loads all at once.
func (b *bench) sendAll(ctx context.Context, pods []*peer.Peer, d time.Duration) ([]load.Result, error) {
	results, failed := make([]load.Result, len(pods)), make([]error, len(pods))
	done := make(chan struct{})
	for i, p := range pods {
		go func() {
			r := load.Request{Method: "GET", URL: "http://" + p.Shared + "/small", Header: client}
			results[i], failed[i] = load.OpenLoop(ctx, r, connections, b.offered/float64(len(pods)), d)
			done <- struct{}{}
		}()
	}
	for range pods {
		<-done
	}
	return results, errors.Join(failed...)
}
