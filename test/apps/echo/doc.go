// SPDX-License-Identifier: Apache-2.0

// Command echo is the application that Weir's tests put behind a sidecar: a
// plain HTTP server that knows nothing of Weir. It answers with what it was
// asked, and slowly, at length or with an error when told to.
//
// The same binary is the client inside the cluster (`echo get`) and the preStop
// hook of an image without a shell (`echo sleep 5`).
//
// It must never import a package of Weir: what it sees is what any app sees.
package main
