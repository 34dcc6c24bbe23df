// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"net"

	"weir.dev/weir/sidecar/wire/http"
)

// Fixed sends every connection to the application at upstream, host:port, as
// traffic of the container port that the snapshot knows by that number.
func Fixed(port uint16, upstream string) Route {
	target := http.Target{Port: port, Upstream: upstream}
	return func(*net.TCPConn) (http.Target, error) { return target, nil }
}
