// SPDX-License-Identifier: Apache-2.0

// Package engine turns snapshots into what serves.
//
// In: snapshots, secrets and pod counts from sidecar/source (or `weir run`).
// Out: exchange.Ports for the listeners, and counters for reports. Apply checks
// everything, since it trusts nobody, and builds an immutable program beside the
// one that serves; only a program without fault takes its place, in one store of
// a pointer. Otherwise it returns a Refusal and the old program serves on.
//
// What must outlive a swap does: tables of counters and shadow counts are kept
// by `<policy>/<limit>`, connections to stores by their address; what no program
// uses any more is let go. No call waits for a store.
package engine
