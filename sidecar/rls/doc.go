// SPDX-License-Identifier: Apache-2.0

// Package rls answers Envoy's rate limit protocol from rate limit policies: the
// gateway layer.
//
// In: ports of sidecar/engine, by domain, and calls. Out: verdicts with the fields
// and the problem document that a sidecar would have sent. A domain is a port of a
// Service, `<namespace>/<service>/<port>`; each descriptor is an exchange, on which
// the port's rate limit filter decides:
//
//   - The entries method, path, header:<name> and remote_address are what the
//     filter reads. What no entry names is not there: a limit that asks for it does
//     not match, a key that needs it is missing.
//   - Several descriptors are asked in their order. The first that is over the limit
//     ends it: those after it are not asked, those before it stay spent. All or
//     nothing are only the limits within one.
//   - There is no response: what one would say about its cost, or that it is a replay,
//     has no effect. A request costs what it takes at first.
//   - What cannot be done is an error and never ignored: entries of other keys, a
//     limit of the caller's own, hits of 0 or below.
//   - A domain that is not known is not limited, as with envoyproxy/ratelimit. It is
//     counted, and said in the log once.
//
// Values need not be UTF-8, and a path that servers read differently is over the
// limit: what Envoy does with an error is to let the request pass.
//
// The package must never decide by itself, keep counters, or run filters other than
// that of rate limits: it sees no request and no response.
package rls
