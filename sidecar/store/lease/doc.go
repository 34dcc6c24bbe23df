// SPDX-License-Identifier: Apache-2.0

// Package lease spends tokens of cluster-wide limits in this process that the store
// has granted ahead of need: see limiter.Lease.
//
// In: keys under leased rules, and what a store grants. Out: decisions, without a
// call on the path of a request while tokens are held. A token is spent neither
// before its time nor after the lease's life, which begins when it was asked for; its
// time counts from when the answer came: both err on the safe side, and no clock but
// this process's monotonic one is read, so that steps of clocks play no part. What is
// not spent is given back.
//
// How much is asked for follows each key's demand. Where the store has less than was
// wanted, it is left alone for a pause; requests are denied meanwhile. Keys that find
// no room in the table are decided by the store, each time.
package lease
