// SPDX-License-Identifier: Apache-2.0

package message

import (
	"errors"

	"weir.dev/weir/sidecar/wire/sniff"
)

// Protocol is how a message is written.
type Protocol uint8

// The protocols. Only heads of Binary and BinaryLax differ.
const (
	Binary Protocol = iota + 1
	// BinaryLax has no version: the form before Thrift 0.2.
	BinaryLax
	Compact
	JSON
)

// String is for logs.
func (p Protocol) String() string {
	switch p {
	case Binary:
		return "binary"
	case BinaryLax:
		return "lax binary"
	case Compact:
		return "compact"
	case JSON:
		return "JSON"
	}
	return "no protocol"
}

// Transport is what stands around messages.
type Transport uint8

// The transports. Messages over HTTP are bodies without frame: Unframed.
const (
	Unframed Transport = iota + 1
	Framed
	// Header is THeader (HeaderFormat.md).
	Header
	// TTHeader is Kitex's.
	TTHeader
)

// String is for logs.
func (t Transport) String() string {
	switch t {
	case Unframed:
		return "unframed"
	case Framed:
		return "framed"
	case Header:
		return "THeader"
	case TTHeader:
		return "TTHeader"
	}
	return "no transport"
}

// Form is the form in which calls come. With Header and TTHeader each message says
// its protocol, and Protocol is 0.
type Form struct {
	Transport Transport
	Protocol  Protocol
}

// FormOf is the form that v has found, and whether it is one of Thrift's.
func FormOf(v sniff.Verdict) (Form, bool) {
	switch v {
	case sniff.ThriftBinary:
		return Form{Unframed, Binary}, true
	case sniff.ThriftBinaryLax:
		return Form{Unframed, BinaryLax}, true
	case sniff.ThriftCompact:
		return Form{Unframed, Compact}, true
	case sniff.ThriftJSON:
		return Form{Unframed, JSON}, true
	case sniff.ThriftFramedBinary:
		return Form{Framed, Binary}, true
	case sniff.ThriftFramedBinaryLax:
		return Form{Framed, BinaryLax}, true
	case sniff.ThriftFramedCompact:
		return Form{Framed, Compact}, true
	case sniff.ThriftFramedJSON:
		return Form{Framed, JSON}, true
	case sniff.ThriftHeader:
		return Form{Transport: Header}, true
	case sniff.ThriftTTHeader:
		return Form{Transport: TTHeader}, true
	}
	return Form{}, false
}

const (
	// MaxFrame bounds a message, with and without a frame around it.
	MaxFrame = sniff.MaxFrame
	// MaxName bounds the name of a method, with that of its service.
	MaxName = 256
	// MaxDepth bounds how deep structs and containers lie in each other; the
	// arguments are the first.
	MaxDepth = 64
	// MaxInfos bounds the infos of a THeader or TTHeader.
	MaxInfos = 128
	// maxTransforms bounds the transforms of a THeader.
	maxTransforms = 4
)

// ErrShort says that the bytes end before it is clear: more are needed.
var ErrShort = errors.New("the message goes on")

// Malformed says what is wrong with a message. Nobody knows where the next begins.
type Malformed string

// Error implements error.
func (m Malformed) Error() string { return "malformed Thrift: " + string(m) }

// Unsupported says what a message needs that is not to be had here.
type Unsupported string

// Error implements error.
func (u Unsupported) Error() string { return "Thrift that is not supported: " + string(u) }
