// SPDX-License-Identifier: Apache-2.0

// Package proxy is the servers of all protocols as one.
//
// In: accepted connections and where they were going; the current snapshot as
// exchange.Ports. Out: each connection at the server of what it speaks. What the port
// says decides, and on ports that say nothing the first byte does, which is not taken off
// the connection. Calls of Thrift that come over HTTP are served by a server of HTTP of
// their own, whose filters see the calls.
//
// It must never read a byte, nor serve what no server knows.
package proxy
