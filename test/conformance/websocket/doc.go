// SPDX-License-Identifier: Apache-2.0

// Websocket is what Autobahn's test suite is pointed at, directly and through
// Weir, and what compares its two reports. hack/conformance/autobahn.sh runs both.
//
//	websocket serve HOST:PORT
//	websocket compare REPORT/index.json
//
// The server echoes every message, in pieces as they come, with permessage-deflate
// where the client offers it. That it passes the suite is not the point: whatever it
// does, a client must see the same through the tunnel.
package main
