// SPDX-License-Identifier: Apache-2.0

// Package stand is what a benchmark stands on: a machine with two cores that no other
// benchmark uses, programs that are installed, the application, a folder.
//
// In: how long all may take. Out: a Stand, and what there is to say of the machine.
// What a benchmark measures is its own affair.
package stand
