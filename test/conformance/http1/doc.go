// SPDX-License-Identifier: Apache-2.0

// Package http1 is a corpus of HTTP/1 requests and responses that servers read
// differently, and the tests that hold the proxy to it.
//
// In: corpus/*.yaml, each case with the bytes that go over a raw socket and what
// the proxy is to do with them. Each is run through sidecar/wire/http in front of
// an origin that records every byte. What was forwarded is then read by net/http,
// nginx, HAProxy and Node: all must see the requests that the filters saw, no
// more, no fewer, with the same bodies. The bytes of the case go to each of them
// too, without the proxy, for the table in docs/conformance.md.
//
// Out: failures, and with -update that table. Readers that are not installed are
// left out and named in the log; net/http always reads.
//
// It must never hold what other suites have written: cases are made from the
// facts that their `from` names.
package http1
