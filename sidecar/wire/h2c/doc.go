// SPDX-License-Identifier: Apache-2.0

// Package h2c is the HTTP/2 data plane: connections that begin with HTTP/2's
// preface, without TLS, on ports that policies govern; gRPC is HTTP/2.
//
// In: such a connection, from sidecar/wire/http, whose configuration, memory for
// bodies and shutdown it shares. Out: requests to the application, over HTTP/2
// where the port is one of h2c, grpc or auto, else over HTTP/1.1 through the leg of
// sidecar/wire/http; Weir's own answers as problem+json or, for gRPC calls, as
// Trailers-Only responses; to every filter the true outcome of its request.
//
// Frames, flow control and HPACK are net/http's, both ways. Each stream has a
// goroutine of net/http's server, which runs the filters and relays. Towards
// applications each connection is a net/http ClientConn, which sends a request once
// or not at all: net/http's Transport repeats what RST_STREAM(PROTOCOL_ERROR) has
// ended, and such a request may have been processed.
//
// What may be repeated is what the application says it has not processed
// (REFUSED_STREAM, a GOAWAY that does not cover the stream) and what was never
// written, as long as nothing of its body was taken from the client.
//
// A response that a recorder wants (exchange.Exchange.Record) is read to its end even
// when its stream has ended, within bounds: then the application's part does not hang
// on the client's context. Where the client was answered 504 meanwhile, what is left
// of the exchange has a goroutine of its own, for which the connection waits as for a
// stream, and of which it has no more than it may have streams.
//
// It must never send a request twice that the application may have processed,
// never hold a body that no filter has asked for, and never let one stream keep
// another waiting but by HTTP/2's own flow control.
package h2c
