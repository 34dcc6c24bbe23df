// SPDX-License-Identifier: Apache-2.0

// Package rules is what holds for a request of HTTP, whatever version of it: which
// fields end at a proxy, which only trusted peers may set, what is added, which
// paths are refused, and how Weir's own answers look.
//
// In: names and values as bytes, an exchange with its port. Out: verdicts, and
// bytes appended to a caller's slice. It is pure: no I/O, no clock, and no
// allocation on the way of a usual request.
//
// Two codecs use it, HTTP/1 and HTTP/2. It must never know which.
package rules
