// SPDX-License-Identifier: Apache-2.0

package exchange

import "time"

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
