// SPDX-License-Identifier: Apache-2.0

// Package idempotency holds an IdempotencyPolicy to what others expect of idempotency
// keys: the scenarios of idempot-dev's specification, clients that repeat requests by
// themselves (Go's net/http), and an SDK with keys and retries of its own
// (stripe-python, where hack/conformance/stripe.sh has installed it).
//
// In: a real `weir run` over a real Redis, with a tap on each side. Out: failures, and
// docs/conformance.md says where Weir differs and why.
//
// It must never hold text of the specification: its scenarios are made anew from the
// facts.
package idempotency
