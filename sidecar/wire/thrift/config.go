// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"context"
	"log/slog"
	"net"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http"
)

// Config is what a Server is made of. Only Ports is needed; zero means the default that
// is named.
type Config struct {
	Ports exchange.Ports

	// HTTP serves connections that begin with a request of HTTP; nil: they are closed.
	HTTP Handler
	// Lax takes messages without version, too. Whatever begins with a length and a name
	// is one, so it is not the default.
	Lax bool
	// Names are the methods of a port that are counted by name: "Service:method" or
	// "method", each with its label. The others are "other". nil: none is.
	Names func(port uint16) map[string]string

	// FrameBytes bounds a message: 16,384,000.
	FrameBytes int
	// InflateBytes bounds a compressed message, before and after: 4 MiB.
	InflateBytes int
	// BufferedBytes bounds what all calls together hold of messages that filters have
	// asked for, or that are compressed: 64 MiB. Beyond it they are denied.
	BufferedBytes int64
	// MaxConns bounds the connections served at once: 65536.
	MaxConns int

	Timeouts Timeouts

	// Dial opens connections to applications; a net.Dialer's by default.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Logger defaults to slog's.
	Logger *slog.Logger
	// Metrics are told what happened; each may be nil.
	Metrics Metrics
}

// Handler serves a connection until it ends, and closes it.
type Handler interface {
	ServeConn(c net.Conn, target http.Target)
}

// Timeouts of a Server.
type Timeouts struct {
	// Idle is how long a client's connection may stay without a call: 1 h.
	Idle time.Duration
	// Sniff is how long a connection may leave open what it speaks, from its first
	// byte: 2 s.
	Sniff time.Duration
	// Head is how long the head of a call may take from its first byte: 60 s.
	Head time.Duration
	// Stall is how long either side may keep a message waiting: 5 min.
	Stall time.Duration
	// Connect bounds the dial to the application: 5 s.
	Connect time.Duration
	// UpstreamIdle is how long a connection to the application is kept for the next
	// call: 4 s.
	UpstreamIdle time.Duration
}

// Result is what became of a call, for metrics.
type Result string

// The results.
const (
	// Success: a reply, of whatever it says, that no TApplicationException is.
	Success Result = "success"
	// Declared: a reply with an exception that the method declares.
	Declared Result = "declared"
	// Exception: the application's TApplicationException.
	Exception Result = "exception"
	// Oneway: a oneway call, passed on.
	Oneway Result = "oneway"
	// Denied: Weir's own answer, or none where the call is oneway.
	Denied Result = "denied"
	// Replayed: an answer that was recorded.
	Replayed Result = "replayed"
	// Failed: the application gave no reply, or not whole.
	Failed Result = "failed"
	// Unanswered: the client has gone on without waiting for a reply, as after a oneway
	// call that it does not mark as one.
	Unanswered Result = "unanswered"
	// ClientGone: the client left before its answer.
	ClientGone Result = "client_gone"
)

// Refusal is why a connection was closed without an answer.
type Refusal string

// The refusals.
const (
	// RefusedTLS: it began with a ClientHello.
	RefusedTLS Refusal = "tls"
	// RefusedHTTP: it began with a request of HTTP, which nobody serves here.
	RefusedHTTP Refusal = "http"
	// RefusedUnknown: it began with what is no Thrift.
	RefusedUnknown Refusal = "unknown"
	// RefusedLax: it began with a message without version.
	RefusedLax Refusal = "lax"
	// RefusedTimeout: it left open what it speaks.
	RefusedTimeout Refusal = "timeout"
	// RefusedMalformed: a message could not be read.
	RefusedMalformed Refusal = "malformed"
	// RefusedUnsupported: a message needs what is not to be had here.
	RefusedUnsupported Refusal = "unsupported"
	// RefusedFull: there are as many connections as there may be.
	RefusedFull Refusal = "full"
	// RefusedUnconfigured: nothing is known of the port yet.
	RefusedUnconfigured Refusal = "unconfigured"
)

// Other is the label of methods that Names does not have.
const Other = "other"

// Metrics are called from many goroutines and must not block.
type Metrics struct {
	// Call is called once for each call with the label of its method, and when its head
	// had been read.
	Call func(port uint16, method string, result Result, start time.Time)
	// UpstreamError is called for each call that the application did not answer, or not
	// whole.
	UpstreamError func(port uint16, reason http.UpstreamError)
	// Encrypted is called for each connection that began with a TLS ClientHello.
	Encrypted func(port uint16)
	// Refused is called for each connection that was refused.
	Refused func(port uint16, why Refusal)
}

func orDuration(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}

func orInt(n *int, def int) {
	if *n == 0 {
		*n = def
	}
}

func (c *Config) setDefaults() {
	orDuration(&c.Timeouts.Idle, time.Hour)
	orDuration(&c.Timeouts.Sniff, 2*time.Second)
	orDuration(&c.Timeouts.Head, time.Minute)
	orDuration(&c.Timeouts.Stall, 5*time.Minute)
	orDuration(&c.Timeouts.Connect, 5*time.Second)
	orDuration(&c.Timeouts.UpstreamIdle, 4*time.Second)
	orInt(&c.FrameBytes, maxFrame)
	c.FrameBytes = min(c.FrameBytes, maxFrame)
	orInt(&c.InflateBytes, 4<<20)
	orInt(&c.MaxConns, 65536)
	if c.BufferedBytes == 0 {
		c.BufferedBytes = 64 << 20
	}
	if c.Names == nil {
		c.Names = func(uint16) map[string]string { return nil }
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Metrics.Call == nil {
		c.Metrics.Call = func(uint16, string, Result, time.Time) {}
	}
	if c.Metrics.UpstreamError == nil {
		c.Metrics.UpstreamError = func(uint16, http.UpstreamError) {}
	}
	if c.Metrics.Encrypted == nil {
		c.Metrics.Encrypted = func(uint16) {}
	}
	if c.Metrics.Refused == nil {
		c.Metrics.Refused = func(uint16, Refusal) {}
	}
}
