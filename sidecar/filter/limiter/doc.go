// SPDX-License-Identifier: Apache-2.0

// Package limiter is the pure core of rate limiting: three algorithms over a
// small state value, and the operation that stores carry out with them.
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
//   - FixedWindow: never more than L in a window aligned to 2020-01-01T00:00Z,
//     which is up to 2L in one that straddles two.
//
// A rule may change under a state: what was counted is kept and heals by
// clamping, it is never reset. Only a change of algorithm begins afresh.
package limiter
