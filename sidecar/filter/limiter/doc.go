// SPDX-License-Identifier: Apache-2.0

// Package limiter is the pure core of rate limiting: four algorithms over a
// small state value, penalties, leases, and the operation that stores carry out with them.
//
// In: a Rule, the State of one key, the time in microseconds. Out: a Decision and
// the changed State. Nothing here reads a clock, locks, logs or allocates; the
// Lua script of sidecar/store/redis computes the same, step by step, and a
// property test holds the two together.
//
// What each algorithm promises, for a limit of L requests per window W and for
// every key:
//
//   - SlidingWindow: never more than L in any window of length W, wherever it
//     begins. Counts are kept in 16 slots per window and the slot that is only
//     partly inside the window counts whole, so a request may be denied up to one
//     slot (W/16) too early.
//   - TokenBucket (GCRA): never more than L+B in any window, for a burst of B; in
//     the long run L per W, evenly.
//   - FixedWindow: never more than L in a window aligned to 2020-01-01T00:00Z, or
//     to the calendar of some time zone, which is up to 2L in one that straddles two.
//   - Concurrency: never more than L that have been taken and not refunded.
//   - Where requests are debited and given back afterwards, each is let through only
//     when the charges of the window before it leave room for it: see Rule.Postpaid.
//   - A leased TokenBucket: never more than L + B + 2·L·H/W in any window, for the
//     horizon H.
//
// A rule may change under a state: what was counted is kept and heals by
// clamping, it is never reset. Only a change of algorithm begins afresh.
package limiter
