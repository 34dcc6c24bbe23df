// SPDX-License-Identifier: Apache-2.0

// Package fuzz holds Weir against what stands behind it: net/http's parser, its
// ServeMux and Express's router.
//
// In: bytes as a client or an application might send them, through a whole Server.
// What is held: Weir may refuse more than others, but what it forwards is read by
// net/http as the same requests, what a client gets as one response each, and no
// spelling of a path that a router leads to a route escapes a limit on it.
//
// Express's answers are kept in testdata; hack/fuzz/express.sh asks again.
package fuzz
