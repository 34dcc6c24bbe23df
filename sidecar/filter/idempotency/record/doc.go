// SPDX-License-Identifier: Apache-2.0

// Package record is the state machine of idempotency: what is kept of a request, and
// what may be done next.
//
// It is pure: no I/O, no clock, no lock.
package record
