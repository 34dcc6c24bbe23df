// SPDX-License-Identifier: Apache-2.0

// Package ratelimit is the filter that enforces one RateLimitPolicy.
//
// In: the compiled policy, once; then exchanges. Out: Continue or Respond,
// RateLimit fields on every answer (draft-ietf-httpapi-ratelimit-headers-11),
// counts of decisions. For each exchange it finds the limits that match, hashes
// what each counts by, and asks all of them at once:
//
//   - Limits are all or nothing: a request that one of them denies spends none.
//     Those of scope Pod are asked first; what they have reserved is given back
//     when the store denies, and the store is not asked when they deny.
//   - A shadow limit spends by itself, denies nothing, shows in no field, and
//     takes no part in what the others decide.
//   - A member of a key that is missing, empty, or a header sent more than once
//     is replaced by the client's address (ClientIP), takes the request out of
//     the limit (Skip) or is answered with 400 (Deny). A header sent more than
//     once is never skipped but counted by address: applications differ in which
//     of the values they read, so that a second field would be a way out.
//     RFC 9110 section 5.3 lets a proxy join such fields into one; it then counts
//     as that one value.
//   - What is exempt is not looked at. Overrides give single keys other terms, under
//     the same counter.
//   - Leases decide without the store while tokens are held; a store's denial is
//     remembered until its time. What a limit of concurrency lets through is given
//     back at End, where it was taken from.
//   - What the application's response says that a request has cost is debited, or given
//     back, where the request was counted, without waiting; a debit can go beyond the
//     limit, so that later requests are denied. What a replay has cost is given back at
//     End, where replays are free.
//   - Denials can bring a ban, which the store shares.
//   - A store that cannot decide is replaced by this pod's share of the limit
//     (LocalFallback), or the limit passes (Open) or denies with 503 (Closed).
//     Share and store count apart: each change from one to the other can admit up
//     to a share more than the limit says.
//
// Nothing is allocated for a request that passes. The package does no I/O of its
// own and keeps no counters: those are in tables and stores, by
// `<policy>/<limit>`, so that they outlive the filter when a policy changes.
package ratelimit
