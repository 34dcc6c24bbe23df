// SPDX-License-Identifier: Apache-2.0

// Package tap is TCP proxies for tests of faults: they stand between a process under
// test and what it talks to, know at which point of a conversation they are, and ask
// a hook at each of them before anything goes on. The hook may kill or stop the
// process, or have the connection cut, so that an unchanged binary fails at exactly
// the points that a table of faults names.
package tap
