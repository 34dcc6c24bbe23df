// SPDX-License-Identifier: Apache-2.0

// Package stand is what a benchmark stands on: the flags that all have, a machine with
// two cores that no other benchmark uses, programs that are installed, the
// application, a folder; and in the end a report on the terminal and in files.
//
// In: the flags, how long all may take. Out: a Bench, and what there is to say of the
// machine. What a benchmark measures is its own affair.
package stand
