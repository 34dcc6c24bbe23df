// SPDX-License-Identifier: Apache-2.0

// Package report turns what a benchmark has measured into a table, a page, a plot
// and JSON.
//
// In: a Report, round by round. Out: text. It is pure: no clock, no files, and
// nothing of the machine but what the Report says of it.
package report
