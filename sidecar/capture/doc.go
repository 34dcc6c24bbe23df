// SPDX-License-Identifier: Apache-2.0

// Package capture leads the connections that reach a pod to its sidecar, with
// nftables rules in the pod's network namespace. The init container weir-capture
// calls it, once.
//
// In: the ports to spare. Out: table `inet weir` with one nat chain at prerouting
// that redirects TCP of both IP families to podspec.PortCapture. The sidecar finds
// where a connection wanted to go by SO_ORIGINAL_DST.
//
// Nothing at output: what the pod's own processes send, also to the pod's own
// address, is never redirected, so that the sidecar reaches the app. The package
// must never touch another table.
package capture
