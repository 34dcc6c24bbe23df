// SPDX-License-Identifier: Apache-2.0

// Package memory keeps the counters of limits in this process: those of scope
// Pod, those of a cluster-wide limit while its store is away, and all of them
// under `weir run` without Redis.
//
// In: a limit's identity `<policy>/<limit>`, which names its table, then keys
// and rules. Out: decisions. A table is sharded and bounded. A key that finds no
// room shares one bucket with all others that do not: it is never given a fresh
// one, and nobody is evicted for it, since a client that can make up keys would
// have no limit then. Keys that count nothing any more are swept out.
//
// Besides it remembers what a store elsewhere has denied, until its time.
//
// Tables outlive the programs that use them: a swap of configuration resets
// nothing. Nothing is written to disk.
package memory
