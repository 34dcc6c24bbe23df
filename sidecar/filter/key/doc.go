// SPDX-License-Identifier: Apache-2.0

// Package key puts what requests are counted by, or whose they are, into one form.
//
// In: the members of a key as policies name them, and exchanges. Out: each member's
// value with its kind and its length before it, so that no header can be made to count
// as somebody's address, and no two lists of values have the same bytes. What a value
// is, is the same for all policies: decoded where applications decode, and doubtful
// where they may differ in what they read.
//
// Nothing is hashed here, and nothing allocated for a request.
package key
