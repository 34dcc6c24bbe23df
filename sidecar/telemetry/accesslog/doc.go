// SPDX-License-Identifier: Apache-2.0

// Package accesslog writes a line of JSON for each request that is worth one.
//
// In: exchanges that have ended, from the observer of a port. Out: lines, whole,
// to a writer, in the order in which the exchanges ended.
//
// A request appends its line to a bounded buffer; one goroutine writes. Where the
// writer does not keep up, lines are dropped and counted: a request never waits
// for a log. A line never holds a query, a header but Host and User-Agent, or
// anything that would not be JSON, whatever bytes the client has sent.
package accesslog
