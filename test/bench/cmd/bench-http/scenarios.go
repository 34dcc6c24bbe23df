// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"weir.dev/weir/test/bench/load"
	"weir.dev/weir/test/bench/report"
)

// connections of a closed loop.
const connections = 32

// client is the value that requests are limited by.
const client = "X-Client-Id: bench"

// scenario is one kind of load on all proxies.
type scenario struct {
	id, title    string
	method, path string
	body         int
	// denied: on the port with the small limit.
	denied bool
	// variants are measured too: Weir with everything on, and without a policy.
	variants bool
	// full: takes --seconds, others half.
	full bool
	open openLoop
}

type openLoop int

const (
	closed openLoop = iota
	// ownHalf is half of what the proxy did in the scenario report.Get.
	ownHalf
	// slowestHalf is half of what the slowest did there.
	slowestHalf
	// fixed is --rate; by default what many a pod sees on a busy day.
	fixed
)

func scenarios() []scenario {
	return []scenario{
		{id: report.Get, title: "GET, 68 bytes, 32 connections, a limit that is never reached", method: "GET", path: "/small", variants: true, full: true},
		{id: "denied", title: "The same over the limit: 429", method: "GET", path: "/small", denied: true},
		{id: "post", title: "POST of 4 KiB", method: "POST", path: "/post", body: 4 << 10},
		{id: "large", title: "GET of 64 KiB", method: "GET", path: "/large"},
		{id: "half", title: "GET, 68 bytes, open loop at half of each proxy's own rate", method: "GET", path: "/small", open: ownHalf},
		{id: "same", title: "GET, 68 bytes, open loop at one rate for all: half of the slowest's", method: "GET", path: "/small", open: slowestHalf},
		{id: "low", title: "GET, 68 bytes, open loop at %.0f requests/s", method: "GET", path: "/small", open: fixed},
	}
}

func scenarioIDs() []string {
	var out []string
	for _, s := range scenarios() {
		out = append(out, s.id)
	}
	return out
}

// request of the scenario to a contender.
func (s scenario) request(c *contender) load.Request {
	address := c.peer.Open
	switch {
	case c.spliced:
		address = c.peer.Spliced
	case s.denied:
		address = c.peer.Denying
	}
	return load.Request{Method: s.method, URL: "http://" + address + s.path, Header: client, Body: s.body}
}
