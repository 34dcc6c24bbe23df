// SPDX-License-Identifier: Apache-2.0

// Package splice joins two connections byte by byte, both ways.
//
// In: two open connections. Out: when each side has said all it will, and both
// closed. It never looks at a byte: on Linux the kernel moves them from socket to
// socket.
package splice
