// SPDX-License-Identifier: Apache-2.0

// Package http is the HTTP/1.1 data plane: it reads requests from a connection,
// runs the filters of the port over them and forwards them to the application.
//
// In: accepted connections with the container port and the address of the
// application behind them; the current snapshot as exchange.Ports. Out: requests
// to the application, responses to the client, problem+json (RFC 9457) for what
// Weir answers by itself, and to every filter the true outcome of its request.
//
// fasthttp's codec reads heads; the connection loop and the upstream leg are ours,
// because fasthttp's server reads the beginning of a body before it lets anyone
// look at the head, answers `Expect: 100-continue` by itself and writes header
// fields in an order and a spelling of its own. Chunks are read by ours, too:
// net/http's reader keeps what has come of one until the caller's buffer is full.
//
// A head is accepted only when two parsers agree on it: fasthttp's and the strict
// index in head.go, whose slices are what is forwarded. Header names, their order
// and their values go through unchanged, except:
//
//   - Message framing (Content-Length, Transfer-Encoding, chunk lines) is written
//     by us from what was parsed. Chunk extensions are dropped.
//   - Hop-by-hop fields (Connection, Keep-Alive, Proxy-Connection, TE but for
//     "trailers", HTTP2-Settings, Upgrade but for one that may open a tunnel) and
//     those that Connection names are removed, both ways. Connection cannot
//     remove X-Forwarded-*, Forwarded, Idempotency-Key, Authorization, Cookie,
//     Host, Content-*, traceparent, weir-* or identity headers.
//   - Identity headers of peers that are no trusted proxies are removed, spelt
//     with hyphens or underscores.
//   - The peer's address is appended to X-Forwarded-For. X-Forwarded-Proto is
//     set to "http" when there is none; what an ingress has set stays.
//
// Trailers are held to the rules of heads; a message with one that frames, routes
// or authenticates is refused.
//
// A client that closes its side, even only for writing, while it waits is taken
// for gone within a second, and so the application's part ends too. Exchange's
// Context ends with the server only.
//
// A response that a recorder wants (exchange.Exchange.Record) is read to its end
// without a client, too, for at most as long as a client may stand still, or as the
// exchange's Timeout and Late say when that is longer. Its last byte, or all of it
// where it came as a whole, is written when recorders have ended. A client that was
// answered 504 meanwhile was told that its connection ends.
//
// After 101 to an Upgrade that was passed on, a connection is a tunnel: see
// tunnel.go.
//
// A spliced connection whose port a policy comes to govern is ended between two
// of its requests, after ten seconds at the latest: see retire_linux.go.
//
// It must never send a byte to the application before the filters have let the
// request through, never send a request twice of which a byte may have been seen,
// and never append an answer of its own to a response that has begun.
package http
