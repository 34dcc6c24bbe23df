// SPDX-License-Identifier: Apache-2.0

// Package load makes HTTP/1.1 load of three kinds: wrk's closed loop, which finds
// how much goes through; an open loop at a fixed rate, which measures latency from
// the time at which a request was due rather than from when it could be sent, so
// that a server which stalls cannot hide it (coordinated omission); and connections
// that are kept without a request.
//
// In: a Request and how long. Out: counts and percentiles. Every wait is bounded. It
// reads no more of HTTP than it needs of a server that frames by Content-Length.
package load
