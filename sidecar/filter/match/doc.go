// SPDX-License-Identifier: Apache-2.0

// Package match decides whether a policy's `match` list covers a request.
//
// In: the snapshot's Match list, once; then exchanges, any number, from any
// goroutine. Out: which rule matched, and where in the path the parameters of
// its template lie. A Match never allocates.
//
// A match selects what a limit holds for, so every doubt is settled in favour of
// matching: no way to write a request that the application routes to the same
// place may lie outside.
//
//   - Paths are compared by segments of Exchange.Path, percent-decoded one by
//     one and without ASCII case: net/http's router decodes, Express's ignores
//     case. Parameters keep theirs.
//   - A header that is sent more than once matches any value.
//   - Methods are compared as they are; an unknown method matches only a rule
//     without methods.
//   - A call of Thrift is covered by rules for Thrift only, and these cover nothing
//     else. Without the name of a service it belongs to any.
package match
