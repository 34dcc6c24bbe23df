// SPDX-License-Identifier: Apache-2.0

// Command bench-idempotency measures requests that are executed once for each
// Idempotency-Key: first calls, and replays of what the same sidecar or another has
// recorded, by Weir and by a proxy of net/http with go-redis. What is measured is alone
// on core 0; the Redis, the load and the application are on core 1. `make
// bench-idempotency` runs it.
//
// Everything it starts ends with it, every wait is bounded, and only one benchmark
// runs at a time on a machine.
package main
