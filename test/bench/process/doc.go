// SPDX-License-Identifier: Apache-2.0

// Package process starts the processes of a benchmark and measures them from
// /proc.
//
// In: a command, the core it is pinned to, a folder for what it prints. Out: a
// Process with the CPU time and the memory of itself and its children. It ends what
// it has started, by process id, and nothing else; whatever it started ends with it.
package process
