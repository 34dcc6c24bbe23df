// SPDX-License-Identifier: Apache-2.0

// Package telemetry makes the observers of ports from a snapshot's settings: the
// access log and the traces.
//
// In: snapshot.Telemetry, and where lines go. Out: an exchange.Observer, nil when
// nobody looks, so that a request costs nothing more then. What observers share
// (the buffer of lines, the queue of spans) outlives them: an observer that
// settings have replaced still hears of the requests that began with it.
package telemetry
