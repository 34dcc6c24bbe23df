// SPDX-License-Identifier: Apache-2.0

// Package socket reads and writes TCP connections cheaply, and keeps idle ones for the
// next request.
//
// In: connections. Out: reads and writes by system calls that the scheduler is not told
// of (docs/design/2026-11-24-half-load.md), a wait that holds no buffer, and a Pool that
// hands out only connections on which the other side has neither ended nor spoken.
//
// It must never block in a system call, and never hand out a connection twice.
package socket
