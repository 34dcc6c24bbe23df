// SPDX-License-Identifier: Apache-2.0

// Package soak runs the HTTP data plane for a while with clients and applications of
// every kind at once, and with a new snapshot on every second request.
//
// In: -soak.duration, how long; 12 s where it is not said. What is held: a request
// whose client and application behave has its own answer, whole; filters are told
// the true end of each request, once; afterwards no connection, goroutine or memory
// is left.
package soak
