// SPDX-License-Identifier: Apache-2.0

// Command redisrate is a reverse proxy of net/http that asks redis_rate about each
// request: what a team writes in an afternoon, and what `make bench-ratelimit`
// compares with.
//
// In: ports, each with a limit or without one. Out: the application's answers, or
// 429. It is no part of Weir.
package main
