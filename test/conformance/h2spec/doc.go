// SPDX-License-Identifier: Apache-2.0

// Command h2spec is what hack/conformance/h2spec.sh needs beside h2spec itself.
//
// `origin ADDRESS` is net/http's HTTP/2 server without TLS, with a handler that
// does next to nothing. It prints the address that it listens at. The script runs
// h2spec against it, and against Weir in front of it.
//
// `compare BARE WEIR` reads the two JUnit reports, prints figures, and fails when
// Weir fails a case that the server alone passes, or when nothing was run.
package main
