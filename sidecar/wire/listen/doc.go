// SPDX-License-Identifier: Apache-2.0

// Package listen accepts connections and finds out where they were going.
//
// In: a listener and a Route, one for each way traffic reaches the sidecar: Fixed
// (`weir run`), Named (capture NamedPort) and Original (capture Redirect, the
// destination before nftables turned it to us). Out: calls of a Handler with the
// connection and its target.
//
// It must never dial a loopback address for a connection that was not sent to
// one, nor hand on a connection that was meant for the listener itself: that
// would go round in a circle.
package listen
