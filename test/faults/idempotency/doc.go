// SPDX-License-Identifier: Apache-2.0

// Package idempotency proves what an IdempotencyPolicy promises, with two real `weir
// run` processes over one real Redis, an application whose ledger is append-only, and
// clients that retry as Stripe's SDKs do, while a nemesis kills and stops processes
// at every point of their conversations, cuts connections, and restarts and fails over
// Redis. What clients have seen is checked with porcupine against a model of one key;
// what the application has done, against its ledger.
//
// A run prints its seed and, at the end, what was hit how often. -faults.keys makes it
// longer; `make soak-idempotency` runs 10,000.
package idempotency
