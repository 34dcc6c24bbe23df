// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"net"
	"time"
)

// Protocol is what a port speaks.
type Protocol uint8

// The protocols of api.md "Protocol of a port".
const (
	Auto Protocol = iota
	HTTP
	H2C
	GRPC
	WebSocket
	Thrift
	Opaque
)

// Port is what governs one container port: immutable, made by sidecar/engine.
type Port struct {
	Number   uint16
	Protocol Protocol
	// Chain is empty on a port that is listed for its annotations only.
	Chain Chain
	// Calls of Thrift are governed here: on a port of that protocol, and on one of Auto
	// where every filter knows them.
	Calls bool
	// Methods of Thrift that policies name: "Service:method" or "method", each with its
	// label for metrics.
	Methods map[string]string
	// Identity says who the client is.
	Identity *Identity
	// PassEncodedSlashes lets %2F, %5C and %00 through in paths.
	PassEncodedSlashes bool
	// Timeouts by path, the longest prefix first. No entry fits: no timeout.
	Timeouts []RouteTimeout
	// MaxBody bounds request bodies; 0: not bounded. More is 413.
	MaxBody int64
	// Observer sees every request of the port; nil: nobody looks.
	Observer Observer
	// Transcoder is there where the application speaks something else than the clients'
	// HTTP; Protocol is HTTP then.
	Transcoder Transcoder
}

// Governed reports whether requests of the port are read at all.
func (p *Port) Governed() bool {
	return p != nil && (len(p.Chain) > 0 || p.Transcoder != nil) && p.Protocol != Opaque
}

// Transcoder makes requests of HTTP/1.1 into what the application speaks. It may be used
// by many goroutines.
type Transcoder interface {
	// Attach returns a connection that takes requests of HTTP/1.1 for the application at
	// the other end of c. Where c is one that an Attach has returned, it is c itself,
	// which takes the next request by this Transcoder.
	Attach(c net.Conn) net.Conn
}

// RouteTimeout bounds how long the application may take for requests of some
// paths, from the end of the request to the head of its response.
type RouteTimeout struct {
	// Prefix is a path as Exchange.Path has it, that whole segments of the
	// request's path begin with; "/" fits every path.
	Prefix string
	// Response is 0 where there is no bound.
	Response time.Duration
}

// ResponseTimeout is the bound for path, 0 when there is none.
func (p *Port) ResponseTimeout(path []byte) time.Duration {
	for i := range p.Timeouts {
		if t := &p.Timeouts[i]; underPrefix(path, t.Prefix) {
			return t.Response
		}
	}
	return 0
}

func underPrefix(path []byte, prefix string) bool {
	if prefix == "/" {
		return true
	}
	return len(path) >= len(prefix) && string(path[:len(prefix)]) == prefix &&
		(len(path) == len(prefix) || path[len(prefix)] == '/')
}

// Ports is the current snapshot as codecs see it. Both calls are safe from any
// goroutine and never block.
type Ports interface {
	// Port returns what governs the container port number; nil when nothing
	// does, and the bytes are to be spliced. ready is false until there is a
	// first snapshot.
	Port(number uint16) (port *Port, ready bool)
	// Ready is closed when the first snapshot is there.
	Ready() <-chan struct{}
}
