// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/transcode"
)

// transcodedBytes bounds what all connections hold of bodies that become calls, beside
// what filters have asked for.
const transcodedBytes = 64 << 20

// transcode gives a port what makes requests into calls, where its application speaks
// Thrift.
func (b *build) transcode(p *snapshot.Port, port *exchange.Port) error {
	in := p.GetTranscoding()
	if in == nil {
		return nil
	}
	if p.GetProtocol() != snapshot.Protocol_PROTOCOL_HTTP {
		return refuse("Port %d makes calls of Thrift out of HTTP, which is not what it speaks.", p.GetNumber())
	}
	if n := proto.Size(in); n > snapshot.MaxTranscoding {
		return refuse("Port %d: the mapping to Thrift has %d bytes, %d are possible.", p.GetNumber(), n, snapshot.MaxTranscoding)
	}
	table, err := transcode.Compile(in, transcode.Limits{})
	if err != nil {
		return refuse("Port %d: the mapping to Thrift: %s.", p.GetNumber(), err)
	}
	port.Transcoder = transcode.NewTranslator(table, b.e.bodies)
	return nil
}
