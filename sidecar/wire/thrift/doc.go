// SPDX-License-Identifier: Apache-2.0

// Package thrift is the Thrift data plane: it reads calls from a connection, runs the
// filters of the port over them, forwards them to the application and its replies back.
//
// In: accepted connections with the container port and the address of the application
// behind them; the current snapshot as exchange.Ports. Out: calls to the application,
// replies to the client, TApplicationExceptions (or exceptions that a method declares)
// for what Weir answers by itself, in the caller's own protocol, transport and sequence
// number, and to every filter the true outcome of its call.
//
// The form of a connection, transport and protocol, is that of its first bytes
// (package sniff); all that follows must have it, but for the protocol that a THeader or
// TTHeader names for each message. Thrift over HTTP goes to Config.HTTP, whose filters
// come from OverHTTP.
//
// Nothing is decoded. A message goes through as it comes, in pieces of a buffer, while
// message.Scanner walks over it: within a frame, too, because servers read what follows
// a message in its frame as the next call, which no policy would have seen. Only what a
// filter asks for is kept whole, and compressed messages are, for who wants to know
// their end must decompress them. Calls are served in order, one at a time on each
// connection to the application, so sequence numbers go through untouched. Replies are
// not walked over where a frame bounds them: the application is trusted.
//
// Some clients, Apache's for Go among them, do not mark oneway calls as such. Where a
// client sends its next call while no byte of a reply has come, that is noticed within
// a second: the call counts as unanswered, the next goes out on the same connection
// behind it, and should the reply come after all it is passed on. If it does, the client
// pipelines, and is made to wait from then on; if the next reply comes first, 20 ms are
// enough from then on. A filter that knows the method (onewayMethods) saves the wait with Call.Oneway.
//
// What cannot be read ends the connection: nobody knows where the next message begins.
// A call whose head could be read gets a TApplicationException first.
//
// Finagle's clients ask whether a server understands their headers with a call of
// __can__finagle__trace__v3__. They are told that there is no such method, which makes
// them go on without.
//
// It must never send a byte to the application before the filters have let the call
// through, never send a call twice of which a byte may have been seen, never answer a
// oneway call, and never append an answer of its own to a reply that has begun.
package thrift
