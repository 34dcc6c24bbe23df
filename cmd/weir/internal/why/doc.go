// SPDX-License-Identifier: Apache-2.0

// Package why asks the data plane about one request and says how it came to its
// answer.
//
// In: a compiled snapshot, a port of it, a request. Out: what governs the port, what
// each limit makes of the request, and the answer as a client would read it. The
// request goes through the sidecar's own codec, engine and filter, over pipes in
// this process, with counters that are fresh and a clock that stands: nothing of the
// data plane is done a second time here. It never asks a store, the cluster or an
// application.
package why
