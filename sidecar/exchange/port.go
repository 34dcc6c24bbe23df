// SPDX-License-Identifier: Apache-2.0

package exchange

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
	// Identity says who the client is.
	Identity *Identity
	// PassEncodedSlashes lets %2F, %5C and %00 through in paths.
	PassEncodedSlashes bool
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
