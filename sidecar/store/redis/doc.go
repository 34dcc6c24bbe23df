// SPDX-License-Identifier: Apache-2.0

// Package redis keeps counters that all pods share, in Redis or Valkey: alone,
// behind Sentinel, or as a cluster.
//
// In: batches of limits to take from. Out: decisions, taken by one Lua script by
// the server's clock, all or nothing over the limits of a batch. The calls of
// concurrent requests share pipelines.
//
// A key is `<prefix>:<cluster>:<namespace>:{<hash>}:rl:<policy>/<limit>`; limits
// that count by the same values share a slot. In a Redis Cluster a batch is one
// script call per slot, sent together; what some have spent when another denies
// is refunded. No key holds a version of the configuration, so that a changed
// limit goes on from what was counted.
//
// Bans lie beside the counter, as `{<hash>}:ban:…`, permits of requests in progress as
// `{<hash>}:held:…`: a hash of who holds how many, and until when without a further
// sign of life, which is sent in the background. Tokens are leased, and given back, in
// the background too, and so is what requests have cost in the end: corrections that find
// the queue half full are dropped.
//
// Take never waits longer than the timeout. One call that exceeds it, or a broken
// connection, opens the breaker: from then on Take fails at once, until a probe
// in the background, at jittered intervals, has found the server answering in
// time. An error of the server (READONLY, OOM, NOPERM) fails the call alone.
// Redis being away delays nobody who makes a Store.
package redis
