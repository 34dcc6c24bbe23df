// SPDX-License-Identifier: Apache-2.0

// Command bench-ratelimit measures one limit that many share through one Redis: Weir
// beside Envoy with a rate limit service, and beside redis_rate in a proxy of
// net/http. A proxy and its rate limit service take turns on core 0; the Redis, the load and
// the application are on core 1. `make bench-ratelimit` runs it.
//
// Everything it starts ends with it, every wait is bounded, and only one benchmark
// runs at a time on a machine.
package main
