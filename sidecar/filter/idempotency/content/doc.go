// SPDX-License-Identifier: Apache-2.0

// Package content reads keys out of requests and makes one digest of all the bodies
// that mean the same.
//
// In: bytes of a request. Out: keys, values at JSON pointers (RFC 6901), digests.
// It is pure, builds no tree, and reads what it does not understand as bytes.
//
// Two JSON bodies (RFC 8259) have the same digest exactly when they differ in white
// space, in the order of members, in how the characters of strings are escaped, or in
// what an excluded pointer names. Numbers are compared as they are written: 1, 1.0 and
// 1e0 are three numbers, since applications read them differently (a decimal's scale, a
// float's precision) and a client that retries writes what it wrote. A body is not
// read as JSON, but byte for byte, when it is none, has bytes that are no UTF-8, nests
// deeper than MaxDepth or has two members of one name in an object, which applications
// read differently.
//
// A body of multipart/form-data, for which clients make up another boundary each time,
// has the digest of its parts. Any other body is its bytes.
package content
