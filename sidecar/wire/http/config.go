// SPDX-License-Identifier: Apache-2.0

package http

import (
	"context"
	"log/slog"
	"net"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

// MissingConfig is what happens on a port while there is no first snapshot.
type MissingConfig uint8

const (
	// Deny answers 503 once MissingConfigWait is over.
	Deny MissingConfig = iota
	// PassThrough splices, once MissingConfigWait is over.
	PassThrough
)

// Config is what a Server is made of. Only Ports is needed; zero means the
// default that is named.
type Config struct {
	Ports exchange.Ports

	OnMissingConfig MissingConfig
	// MissingConfigWait is how long after New connections wait for the first
	// snapshot: 10 s; negative: not at all. Later ones are decided at once.
	MissingConfigWait time.Duration

	// HeadBytes bounds the head of a request and of a response: 16 KiB. A
	// longer one is 431 or 502.
	HeadBytes int
	// BufferedBytes bounds what all requests together hold of bodies that
	// filters have asked for: 64 MiB. Beyond it: 503.
	BufferedBytes int64
	// MaxConns bounds the connections served at once: 65536, or one for every 24
	// KiB of the process's memory limit when that is less. One more is 503.
	MaxConns int

	Timeouts Timeouts

	// HTTP2 makes what serves connections that begin with HTTP/2's preface. Where it
	// is nil they are answered with 505.
	HTTP2 func(*Server) HTTP2

	// Thrift serves connections of ports with Calls that begin with a call; nil: they are
	// closed.
	Thrift Handler

	// Dial opens connections to applications; a net.Dialer's by default.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Logger defaults to slog's.
	Logger *slog.Logger
	// Metrics are told what happened; each may be nil.
	Metrics Metrics
}

// Handler serves a connection, of which no byte was read, until it ends, and closes it.
type Handler interface {
	ServeConn(c net.Conn, target Target)
}

// Timeouts of a Server.
type Timeouts struct {
	// Idle is how long a client's connection may stay without a request: 1 h.
	Idle time.Duration
	// Head is how long the head of a request may take from its first byte: 60 s.
	Head time.Duration
	// Stall is how long a client may keep a body or a response waiting: 5 min.
	Stall time.Duration
	// Connect bounds the dial to the application: 5 s. Beyond it: 502.
	Connect time.Duration
	// UpstreamIdle is how long a connection to the application is kept for the
	// next request: 4 s, below the 5 s after which Node closes it.
	UpstreamIdle time.Duration
}

// Metrics are called from many goroutines and must not block.
type Metrics struct {
	// Request is called once for each request with the status that the client
	// got, 0 when it got none, and when its head had been read; zero for a head
	// that could not be. For GRPC the status is that of the call, -1 when the
	// client got none.
	Request func(port uint16, protocol Protocol, status int, start time.Time)
	// UpstreamError is called for each request that the application did not
	// answer, or not whole.
	UpstreamError func(port uint16, reason UpstreamError)
	// Encrypted is called for each connection that began with a TLS ClientHello
	// on a governed port.
	Encrypted func(port uint16)
	// Refused is called for each connection that was refused, encrypted ones too.
	Refused func(port uint16, why Refusal)
}

// Protocol is what a request is counted as.
type Protocol uint8

const (
	HTTP1 Protocol = iota
	H2C
	GRPC
)

// UpstreamError is why an application did not answer.
type UpstreamError string

const (
	UpstreamUnreachable UpstreamError = "unreachable"
	UpstreamTimeout     UpstreamError = "timeout"
	// UpstreamClosed: the connection ended before the response's head.
	UpstreamClosed UpstreamError = "closed"
	// UpstreamInvalid: the response is no HTTP/1.
	UpstreamInvalid UpstreamError = "invalid"
	// UpstreamAborted: the response ended before its end.
	UpstreamAborted UpstreamError = "aborted"
)

func orDuration(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}

func (c *Config) setDefaults() {
	orDuration(&c.MissingConfigWait, 10*time.Second)
	orDuration(&c.Timeouts.Idle, time.Hour)
	orDuration(&c.Timeouts.Head, time.Minute)
	orDuration(&c.Timeouts.Stall, 5*time.Minute)
	orDuration(&c.Timeouts.Connect, 5*time.Second)
	orDuration(&c.Timeouts.UpstreamIdle, 4*time.Second)
	if c.HeadBytes == 0 {
		c.HeadBytes = 16 << 10
	}
	if c.BufferedBytes == 0 {
		c.BufferedBytes = 64 << 20
	}
	if c.MaxConns == 0 {
		c.MaxConns = defaultMaxConns()
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Metrics.Request == nil {
		c.Metrics.Request = func(uint16, Protocol, int, time.Time) {}
	}
	if c.Metrics.UpstreamError == nil {
		c.Metrics.UpstreamError = func(uint16, UpstreamError) {}
	}
	if c.Metrics.Encrypted == nil {
		c.Metrics.Encrypted = func(uint16) {}
	}
	if c.Metrics.Refused == nil {
		c.Metrics.Refused = func(uint16, Refusal) {}
	}
}
